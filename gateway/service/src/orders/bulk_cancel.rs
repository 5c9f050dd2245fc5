//! Cancels the orders that match a filter.

use domain::query::Filter;
use domain::transition::Command;
use domain::{OrderId, Principal, Scope, Status};

use super::actor::Actor;
use super::use_cases::Orders;
use crate::error::Error;
use gateway_store::CommandOutcome;

/// Maximum number of orders that one request can cancel.
pub const MAX_CANCELLED: u32 = 1_000;
/// The statuses of orders that can be cancelled.
const CANCELLABLE: [Status; 2] = [Status::Pending, Status::Processing];

/// The orders to cancel, and how.
#[derive(Debug, Clone)]
pub struct BulkCancel {
    /// The filter. Of its statuses, only `pending` and `processing` have an effect.
    pub filter: Filter,
    /// Only orders with ids below this one, to continue after the previous request.
    pub after: Option<OrderId>,
    /// Maximum number of orders, 1 to [`MAX_CANCELLED`].
    pub limit: u32,
    /// Whether to return the orders without cancelling them.
    pub dry_run: bool,
    /// The actor.
    pub requester: Actor,
    /// The reason, if given.
    pub reason: Option<String>,
}

/// The result of a cancellation by filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkCancelled {
    /// The cancelled orders, or those of a dry run; newest first.
    pub orders: Vec<OrderId>,
    /// The last checked order, when more follow; the next request continues after it.
    pub next: Option<OrderId>,
}

impl Orders {
    /// Cancels the matching orders of the caller's tenant that are not final, newest first.
    ///
    /// An order that became final or was removed meanwhile is skipped.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:write`, and [`Error::Unavailable`]. Orders cancelled before the error stay
    /// cancelled; repeating the request continues.
    pub async fn cancel_all(
        &self,
        principal: &Principal,
        cancel: &BulkCancel,
    ) -> Result<BulkCancelled, Error> {
        principal.require(Scope::OrdersWrite)?;
        let wanted = &cancel.filter.statuses;
        let statuses: Vec<Status> =
            CANCELLABLE.into_iter().filter(|status| wanted.is_empty() || wanted.contains(status)).collect();
        if statuses.is_empty() {
            return Ok(BulkCancelled::default());
        }
        let filter = Filter { statuses, ..cancel.filter.clone() };
        let limit = cancel.limit.min(MAX_CANCELLED);
        // One more than requested shows whether there are more.
        let mut ids = self.store.list_ids(principal, &filter, cancel.after, limit.saturating_add(1)).await?;
        let more = ids.len() > limit as usize;
        ids.truncate(limit as usize);
        let next = ids.last().copied().filter(|_| more);
        if cancel.dry_run {
            return Ok(BulkCancelled { orders: ids, next });
        }
        let reason = reason(&cancel.requester.described(principal), cancel.reason.as_deref());
        let requester = cancel.requester.requester(principal);
        let commands = ids.iter().map(|id| {
            let (reason, requester) = (Some(reason.clone()), Some(requester.clone()));
            (*id, Command::Cancel { reason, requester })
        });
        let changed = self
            .apply(principal, commands.collect(), |_, applied| {
                Ok(matches!(applied, CommandOutcome::Changed { .. }))
            })
            .await?;
        let mut orders = Vec::with_capacity(ids.len());
        for (id, changed) in ids.into_iter().zip(changed) {
            match changed {
                Ok(true) => orders.push(id),
                Ok(false) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(BulkCancelled { orders, next })
    }
}

/// Returns the reason in the event of a cancellation by filter.
fn reason(requester: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("cancelled {requester}: {reason}"),
        None => format!("cancelled {requester}"),
    }
}
