//! Limits the bulk creates that are processed at the same time.

use std::time::Duration;

use metrics::counter;
use tokio::sync::{Semaphore, SemaphorePermit};

use gateway_http::problem::Problem;

/// How long a bulk create waits for others, beside the time that it may take itself.
pub const MAX_BULK_WAIT: Duration = Duration::from_secs(30);
/// The bodies of bulk creates that are worked on at once. Their orders, statements and responses take several times
/// their memory, so together they are no longer than one of the longest; the others wait.
#[derive(Debug)]
pub(crate) struct BulkLimiter {
    /// In KiB.
    permits: Semaphore,
    most: u32,
}

impl BulkLimiter {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let most = u32::try_from(max_bytes.div_ceil(1024)).unwrap_or(u32::MAX).max(1);
        Self { permits: Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS)), most }
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// `overloaded` when that takes too long.
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
