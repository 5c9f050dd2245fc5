//! Dead letters: their groups, and the redrive of one or of all that match a filter.

use std::time::Duration;

use domain::query::Filter;
use domain::transition::Command;
use domain::{Order, OrderId, Principal, Scope, Status, Timestamp};

use super::actor::Actor;
use super::use_cases::Orders;
use crate::error::Error;
use gateway_store::{CommandOutcome, DeadLetterGroups};

/// Maximum number of orders that one request can redrive.
pub const MAX_REDRIVEN: u32 = 1_000;
/// Maximum rate of a redrive, in starts per second; a higher one has no effect.
pub const MAX_RATE: u32 = 10_000;

/// The dead letters to redrive, and how.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// The filter. Its statuses are ignored: only failed orders are redriven.
    pub filter: Filter,
    /// Only orders with ids below this one, to continue after the previous request.
    pub after: Option<OrderId>,
    /// Maximum number of orders, 1 to [`MAX_REDRIVEN`].
    pub limit: u32,
    /// Whether to return the orders without redriving them.
    pub dry_run: bool,
    /// Earliest start of the first order; immediately when absent or past.
    pub start_at: Option<Timestamp>,
    /// Maximum starts per second, 1 to [`MAX_RATE`]; unlimited when absent.
    pub rate: Option<u32>,
    /// The actor.
    pub requester: Actor,
    /// The reason, if given.
    pub reason: Option<String>,
}

/// The result of a redrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// The redriven orders, or those of a dry run; newest first.
    pub orders: Vec<OrderId>,
    /// The last checked order, when more follow; the next request continues after it.
    pub next: Option<OrderId>,
    /// Earliest start of the order after the last one, to continue at the same rate.
    pub next_start_at: Timestamp,
}

impl Orders {
    /// Groups the failed orders of the caller's tenant that match, by error class and by the normal form of the reason.
    ///
    /// The statuses of the filter are ignored. `complete` of the result states whether a limit ended the search.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:read`, and [`Error::Unavailable`], as overloaded while
    /// [`SEARCHES`](gateway_store::SEARCHES) other searches run.
    pub async fn dead_letter_groups(
        &self,
        principal: &Principal,
        filter: &Filter,
    ) -> Result<DeadLetterGroups, Error> {
        principal.require(Scope::OrdersRead)?;
        if filter.waits_for.is_some() {
            // A failed order waits for nothing.
            return Ok(DeadLetterGroups { groups: Vec::new(), orders: 0, complete: true });
        }
        Ok(self.store.dead_letter_groups(principal, filter).await?)
    }

    /// Gives a failed order a new set of attempts.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:manage`, [`Error::NotFound`], [`Error::Refused`] when the order is not
    /// failed, [`Error::TooManyOpen`], and [`Error::Unavailable`].
    pub async fn redrive(
        &self,
        principal: &Principal,
        id: OrderId,
        requester: &Actor,
        reason: Option<&str>,
    ) -> Result<Order, Error> {
        principal.require(Scope::OrdersManage)?;
        let _running = self.open_orders.admit(&self.store, principal, 1).await?;
        let reason = Some(redrive_reason(&requester.described(principal), reason));
        let requester = Some(requester.requester(principal));
        self.change(principal, id, Command::Redrive { reason, not_before: None, requester }).await
    }

    /// Redrives the matching dead letters of the caller's tenant, newest first.
    ///
    /// With a rate, each order stores its earliest start, so the rate survives restarts. An order that another request
    /// has redriven meanwhile is skipped.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:manage`, [`Error::TooManyOpen`], and [`Error::Unavailable`]. Orders redriven before the error stay
    /// redriven; repeating the request continues.
    pub async fn redrive_all(&self, principal: &Principal, redrive: &Redrive) -> Result<Redriven, Error> {
        principal.require(Scope::OrdersManage)?;
        let filter = Filter { statuses: vec![Status::Failed], ..redrive.filter.clone() };
        if filter.waits_for.is_some() {
            // A failed order waits for nothing.
            let next_start_at = redrive.start_at.unwrap_or_else(|| self.store.now());
            return Ok(Redriven { orders: Vec::new(), next: None, next_start_at });
        }
        let limit = redrive.limit.min(MAX_REDRIVEN);
        // One more than requested shows whether there are more.
        let mut ids = self.store.list_ids(principal, &filter, redrive.after, limit.saturating_add(1)).await?;
        let more = ids.len() > limit as usize;
        ids.truncate(limit as usize);
        let next = ids.last().copied().filter(|_| more);
        let now = self.store.now();
        let first = redrive.start_at.map_or(now, |at| at.max(now));
        let pause = redrive.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        let turn = |n: usize| first + pause.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
        let next_start_at = turn(ids.len());
        if redrive.dry_run {
            return Ok(Redriven { orders: ids, next, next_start_at });
        }
        let _running = self.open_orders.admit(&self.store, principal, ids.len()).await?;
        let reason = redrive_reason(&redrive.requester.described(principal), redrive.reason.as_deref());
        let requester = redrive.requester.requester(principal);
        let commands = ids.iter().enumerate().map(|(n, id)| {
            let (reason, requester) = (Some(reason.clone()), Some(requester.clone()));
            (*id, Command::Redrive { reason, not_before: Some(turn(n)), requester })
        });
        let changed = self
            .apply(principal, commands.collect(), |_, applied| {
                Ok(matches!(applied, CommandOutcome::Changed { .. }))
            })
            .await?;
        let mut orders = Vec::with_capacity(ids.len());
        for (id, changed) in ids.into_iter().zip(changed) {
            if changed? {
                orders.push(id);
            }
        }
        Ok(Redriven { orders, next, next_start_at })
    }
}

/// Returns the reason in the event of a redrive.
fn redrive_reason(requester: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("redriven {requester}: {reason}"),
        None => format!("redriven {requester}"),
    }
}
