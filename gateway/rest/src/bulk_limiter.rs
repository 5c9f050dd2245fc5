//! Limits the bulk creates that are processed at the same time.

use std::time::Duration;

use metrics::counter;
use tokio::sync::{Semaphore, SemaphorePermit};

use gateway_http::problem::Problem;

/// Maximum time that a bulk create waits for others, in addition to its own timeout.
pub const MAX_BULK_WAIT: Duration = Duration::from_secs(30);
/// Limits the total size of the bodies of concurrent bulk creates.
///
/// The orders, statements and responses of a body take several times its memory. The total is therefore limited to the
/// maximum size of one body, and the other requests wait.
#[derive(Debug)]
pub(crate) struct BulkLimiter {
    /// One permit for each KiB.
    permits: Semaphore,
    most: u32,
}

impl BulkLimiter {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let most = u32::try_from(max_bytes.div_ceil(1024)).unwrap_or(u32::MAX).max(1);
        Self { permits: Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)), most }
    }

    /// Waits until the body fits.
    ///
    /// # Errors
    /// `overloaded` after [`MAX_BULK_WAIT`].
    pub(crate) async fn enter(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Problem> {
        let size = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.most);
        let permits = tokio::time::timeout(MAX_BULK_WAIT, self.permits.acquire_many(size)).await;
        permits.ok().and_then(Result::ok).ok_or_else(|| {
            counter!("orders_http_rejections_total", "reason" => "bulk_work").increment(1);
            Problem::overloaded()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        use limits_page::{bytes, row, time};
        let bulk = format!(
            "{} (`--max-bulk-body-size`); the others wait for up to {}",
            bytes(crate::Config::default().max_bulk_body_size),
            time(MAX_BULK_WAIT)
        );
        row("concurrent bulk creates: bytes of their bodies", &bulk);
    }
}
