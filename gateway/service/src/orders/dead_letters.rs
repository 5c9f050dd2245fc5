//! Redriving dead letters: one, or all that match a filter.

use std::fmt;
use std::time::Duration;

use domain::query::Filter;
use domain::transition::Command;
use domain::{Order, OrderId, Status, Timestamp};

use super::use_cases::Orders;
use crate::error::Error;
use gateway_store::CommandOutcome;

/// The most orders that one request can redrive.
pub const MAX_REDRIVEN: u32 = 1_000;
/// The highest rate that a redrive can be spread at; above that it makes no difference.
pub const MAX_RATE: u32 = 10_000;

/// Who asks for something, for the timeline of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The name that they give.
    pub name: Option<String>,
    /// The interface that they use, which has to do when they give none: `REST`, `GraphQL`.
    pub via: &'static str,
}

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "by {name}"),
            None => write!(f, "over {}", self.via),
        }
    }
}

/// Which dead letters to redrive, and how.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Which ones. The statuses are not looked at: it is always the failed orders.
    pub filter: Filter,
    /// Only those with ids below this one, to go on behind the last request.
    pub after: Option<OrderId>,
    /// At most so many, 1 to [`MAX_REDRIVEN`].
    pub limit: u32,
    /// Only look which ones it would be.
    pub dry_run: bool,
    /// When the first of them may be started; at once when absent or past.
    pub start_at: Option<Timestamp>,
    /// So many may be started in each second, 1 to [`MAX_RATE`]; all at once when absent.
    pub rate: Option<u32>,
    /// Who asks.
    pub requester: Requester,
    /// Why, if they say.
    pub reason: Option<String>,
}

/// What a redrive has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// The orders that were redriven or, in a dry run, would be; newest first.
    pub orders: Vec<OrderId>,
    /// Where to go on: the last order that was looked at, when there are more behind it.
    pub next: Option<OrderId>,
    /// When the order behind the last one may be started, to go on at the same rate.
    pub next_start_at: Timestamp,
}

impl Orders {
    /// Gives a failed order a new set of attempts.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when the order is not failed, and
    /// [`Error::Unavailable`].
    pub async fn redrive(
        &self,
        id: OrderId,
        requester: &Requester,
        reason: Option<&str>,
    ) -> Result<Order, Error> {
        let reason = Some(why(requester, reason));
        self.change(id, Command::Redrive { reason, not_before: None }).await
    }

    /// Redrives the dead letters that match, newest first. With a rate each gets a time of its own
    /// before which it is not started, so the spreading survives whatever happens to this gateway.
    /// An order that has been redriven by somebody else meanwhile is left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`]. What was redriven before the error stays so; asking again goes on.
    pub async fn redrive_all(&self, redrive: &Redrive) -> Result<Redriven, Error> {
        let filter = Filter { statuses: vec![Status::Failed], ..redrive.filter.clone() };
        let limit = redrive.limit.min(MAX_REDRIVEN);
        // One more than asked for tells whether there are more.
        let mut ids = self.store.list_ids(&filter, redrive.after, limit.saturating_add(1)).await?;
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
        let reason = why(&redrive.requester, redrive.reason.as_deref());
        let commands = ids.iter().enumerate().map(|(n, id)| {
            (*id, Command::Redrive { reason: Some(reason.clone()), not_before: Some(turn(n)) })
        });
        let changed = self
            .apply(commands.collect(), |_, applied| Ok(matches!(applied, CommandOutcome::Changed { .. })))
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

/// What the event of a redrive says.
fn why(requester: &Requester, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("redriven {requester}: {reason}"),
        None => format!("redriven {requester}"),
    }
}
