//! Limits the memory that large operations use together.
//!
//! An order has up to 64 KiB, and several copies exist while it is read and written as JSON. A large operation acquires
//! one permit for each order that it may read, and waits until the permits are available. Small operations need none.
//! After a page is read and its orders are short, as nearly all are, it releases most of its permits.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of orders of all large operations of a gateway together: one page of the maximum size.
const MAX_ORDERS: u32 = 100;
/// Minimum number of orders of a large operation.
const MIN_LARGE: u32 = 5;
/// Maximum size of all orders of a page that counts as small, in bytes.
const SHORT_BYTES: usize = 256 * 1024;

/// The permits of one gateway.
#[derive(Clone)]
pub(crate) struct LargeOperationLimiter(Arc<Semaphore>);

/// The permits of one operation.
pub(crate) struct LargeOperationPermit(Mutex<OwnedSemaphorePermit>);

impl Default for LargeOperationLimiter {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_ORDERS as usize)))
    }
}

impl LargeOperationLimiter {
    /// Returns whether an operation with this number of orders needs a permit.
    pub(crate) fn is_large(orders: usize) -> bool {
        orders >= MIN_LARGE as usize
    }

    /// Waits for one permit per order, at most for all permits.
    pub(crate) async fn acquire(&self, orders: usize) -> Option<Arc<LargeOperationPermit>> {
        let orders = u32::try_from(orders).unwrap_or(MAX_ORDERS).min(MAX_ORDERS);
        // The semaphore is never closed.
        let permit = Arc::clone(&self.0).acquire_many_owned(orders).await.ok()?;
        Some(Arc::new(LargeOperationPermit(Mutex::new(permit))))
    }
}

impl LargeOperationPermit {
    /// Releases most permits of a page of at most `orders` if its orders are short: `bytes` together.
    pub(crate) fn release_unneeded(&self, orders: usize, bytes: usize) {
        if bytes > SHORT_BYTES {
            return;
        }
        let mut permit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = orders.min(permit.num_permits()).saturating_sub(MIN_LARGE as usize - 1);
        drop(permit.split(spare));
    }
}

/// Returns about the bytes that an order uses.
pub(crate) fn order_size(order: &domain::Order) -> usize {
    // 128 and 512 are the bytes of a line item and of an order without their strings.
    order.line_items.iter().map(|line| line.item.len() + 128).sum::<usize>() + 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "orders that the large operations of a gateway may hold together",
            &format!("{MAX_ORDERS}; others wait"),
        );
    }
}
