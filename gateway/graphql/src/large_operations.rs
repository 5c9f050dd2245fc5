//! Room for large operations: what they may hold in memory together.
//!
//! An order takes up to 64 KiB, several times while it is read and shown. So operations take as much room as
//! they may read orders, and wait until there is as much. Those that read few take none. A page gives most
//! of its room back once it is known that its orders are short, which they nearly always are.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Orders that the large operations of one gateway hold at the same time: one page of the largest size.
const MAX_ORDERS: u32 = 100;
/// The number of orders from which an operation is large.
const MIN_LARGE: u32 = 5;
/// Orders of at most this size together count as an operation that is not large.
const SHORT_BYTES: usize = 256 * 1024;

/// The room of one gateway.
#[derive(Clone)]
pub(crate) struct LargeOperationLimiter(Arc<Semaphore>);

/// The room of one operation.
pub(crate) struct LargeOperationPermit(Mutex<OwnedSemaphorePermit>);

impl Default for LargeOperationLimiter {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_ORDERS as usize)))
    }
}

impl LargeOperationLimiter {
    /// Whether an operation with this number of orders has to wait for capacity.
    pub(crate) fn is_large(orders: usize) -> bool {
        orders >= MIN_LARGE as usize
    }

    /// Waits for the capacity that this number of orders needs, at most the whole capacity.
    pub(crate) async fn acquire(&self, orders: usize) -> Option<Arc<LargeOperationPermit>> {
        let orders = u32::try_from(orders).unwrap_or(MAX_ORDERS).min(MAX_ORDERS);
        // The semaphore is never closed.
        let permit = Arc::clone(&self.0).acquire_many_owned(orders).await.ok()?;
        Some(Arc::new(LargeOperationPermit(Mutex::new(permit))))
    }
}

impl LargeOperationPermit {
    /// Releases the capacity that a page of at most `orders` does not need.
    pub(crate) fn release_unneeded<'a>(&self, orders: usize, found: impl Iterator<Item = &'a domain::Order>) {
        // The bytes of an order and a line item without their strings.
        let line = |line: &domain::LineItem| line.item.len() + 128;
        let bytes: usize = found.map(|order| order.line_items.iter().map(line).sum::<usize>() + 512).sum();
        if bytes > SHORT_BYTES {
            return;
        }
        let mut permit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = orders.min(permit.num_permits()).saturating_sub(MIN_LARGE as usize - 1);
        drop(permit.split(spare));
    }
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
