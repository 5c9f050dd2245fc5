//! Replaces an order that was never started by a new one.
//!
//! One transaction cancels the old order and writes the new one, so neither both nor none of them is processed. Each order
//! names the other. The old one gives its external reference to the new one, where references are unique.

use std::collections::HashSet;
use std::sync::Arc;

use domain::transition::{Command, Refusal, Rules};
use domain::{OrderEvent, OrderId, OrderMap, Requester, Status, Timestamp};

use super::lock::{Obstacles, lock};
use super::update::Changes;
use super::{CommandOutcome, decide_command};
use crate::audit::{self, AuditEntry};
use crate::connection::Connection;
use crate::create_request::{CreateRequest, InsertOutcome, TakenReference};
use crate::idempotency::insert_keys;
use crate::insert::{insert_orders, partition_by_key};
use crate::insert_plan::InsertPlan;
use crate::references::Checked;
use crate::statement::Statement;
use crate::unreadable::Unreadable;
use crate::{Error, Outage, Shard, event_log, references};

/// A request to replace an order.
#[derive(Debug, Clone)]
pub struct ReplaceRequest {
    /// The order to replace.
    pub old: OrderId,
    /// The new order, which names the old one, with its idempotency key.
    pub new: CreateRequest,
    /// The sequences that the old order may have; `None` for any.
    pub expected: Option<Vec<u32>>,
    /// The reason of the cancellation.
    pub reason: String,
    /// The caller, for the audit log.
    pub requester: Arc<Requester>,
}

/// The outcome of a replacement.
#[derive(Debug, Clone)]
pub enum Replacement {
    /// The old order is cancelled and the new one is written. `None` if an earlier try has done that whose response was
    /// lost; subscribers then get the events from the database.
    Replaced(Option<CommandOutcome>),
    /// The same request came before; this is the id of its new order.
    Replayed(OrderId),
    /// The key was used before, for another request.
    KeyConflict,
    /// Another order has the reference of the new one.
    ReferenceTaken(TakenReference),
    /// The old order was started.
    Started(Status),
    /// The old order is final.
    Refused(Refusal),
    /// The old order has this sequence.
    Changed(u32),
    /// There is no such order.
    NotFound,
    /// The row of the old order cannot be used.
    Unreadable(Unreadable),
}

impl Shard {
    /// Cancels an order that was never started and writes another one, in one transaction.
    ///
    /// # Errors
    /// [`Error::CommitUnknown`] when the response to COMMIT was lost twice. Every other error means that nothing was
    /// changed.
    pub async fn replace(&self, request: ReplaceRequest, rules: Rules) -> Result<Replacement, Error> {
        let request = Arc::new(request);
        let mut lost = false;
        loop {
            let result = self.try_replace(&request, rules, lost).await;
            self.inner.row_cache.remove(std::iter::once(&request.old));
            match result {
                Err(Error::CommitUnknown) if !lost => lost = true,
                // The repetition did not begin.
                Err(Error::Unavailable(_) | Error::TimedOut | Error::Locked(_)) if lost => {
                    return Err(Error::CommitUnknown);
                }
                result => return result,
            }
        }
    }

    async fn try_replace(
        &self,
        request: &Arc<ReplaceRequest>,
        rules: Rules,
        lost: bool,
    ) -> Result<Replacement, Error> {
        let (now, dialect, event_log) = (self.now(), self.inner.dialect, self.inner.options.event_log);
        let known = &self.inner.reference_rules;
        let is_placed = self.inner.place.is_some();
        let reserved = match is_placed {
            true => Arc::new(self.reserve(std::slice::from_ref(&request.new), Some(request.old)).await?),
            false => Arc::default(),
        };
        let replaced = self.write(|connection| {
            let (request, known, reserved) = (request.clone(), known.clone(), reserved.clone());
            Box::pin(async move {
                let ReplaceRequest { old, new, expected, reason, requester } = &*request;
                if lost && exists(connection, new.id()).await? {
                    return Ok(Replacement::Replaced(None));
                }
                let requests = std::slice::from_ref(new);
                let none = HashSet::new();
                let mut outcomes = partition_by_key(connection, requests, &none).await?;
                let command = Command::Cancel { reason: Some(reason.clone()), requester: None };
                let commands = [(*old, command)];
                let mut orders = OrderMap::default();
                if outcomes == [InsertOutcome::Inserted] {
                    let Obstacles { mut unreadable, .. } =
                        lock(connection, &commands, dialect.for_update(), &mut orders).await?;
                    if let Some(unreadable) = unreadable.remove(old) {
                        return Ok(Replacement::Unreadable(unreadable));
                    }
                    let Some(row) = orders.get(old) else { return Ok(Replacement::NotFound) };
                    let state = &row.locked.state;
                    if state.status.is_final() {
                        return Ok(Replacement::Refused(Refusal::Final(state.status)));
                    }
                    if state.status != Status::Pending || state.attempt > 0 {
                        return Ok(Replacement::Started(state.status));
                    }
                    if expected.as_ref().is_some_and(|expected| !expected.contains(&state.version)) {
                        return Ok(Replacement::Changed(state.version));
                    }
                }
                let mut references = Checked::new(connection, dialect, &known, requests).await?;
                if is_placed {
                    references = references.rely_on(&reserved)?;
                    reserved.refuse(requests, &none, &mut outcomes);
                }
                references.refuse(connection, requests, &none, &mut outcomes).await?;
                match outcomes.pop() {
                    Some(InsertOutcome::Inserted) => {}
                    Some(InsertOutcome::ReferenceTaken(taken)) => {
                        let other = taken.into_iter().find(|taken| taken.order != Some(*old));
                        if let Some(taken) = other {
                            return Ok(Replacement::ReferenceTaken(taken));
                        }
                    }
                    Some(InsertOutcome::Replayed(id)) => return Ok(Replacement::Replayed(id)),
                    Some(InsertOutcome::KeyConflict) | None => return Ok(Replacement::KeyConflict),
                    Some(InsertOutcome::ReferenceUnavailable) => {
                        return Err(Error::Unavailable(Outage::Away(sqlx::Error::PoolTimedOut)));
                    }
                }
                let Some(row) = orders.get_mut(old) else { return Ok(Replacement::NotFound) };
                let mut changes = Changes::new(None);
                let cancelled = decide_command(row, &commands[0].1, now, &rules, &mut changes);
                let CommandOutcome::Changed { event, .. } = &cancelled else {
                    return Ok(Replacement::Started(row.locked.state.status));
                };
                let cancelled_event = event.clone();
                changes.write(connection, dialect.orders_by_id()).await?;
                link(connection, *old, new.id()).await?;
                references::delete(connection, &[*old]).await?;
                insert_keys(connection, &[new]).await?;
                references.insert(connection, &[new]).await?;
                insert_orders(connection, &[new], &InsertPlan::default(), false).await?;
                references.confirm(connection, dialect, &known).await?;
                audit::record(connection, &entry(&cancelled_event, new.id(), requester, now)).await?;
                if event_log {
                    let events = [cancelled_event, Arc::new(new.orders[0].event())];
                    event_log::append(connection, &events, now).await?;
                }
                Ok(Replacement::Replaced(Some(cancelled)))
            })
        });
        let replaced = replaced.await;
        if is_placed {
            match &replaced {
                Ok(Replacement::Replaced(_)) if !reserved.is_empty() => {
                    self.pass_references(request.old, &request.new).await;
                }
                Ok(Replacement::Replaced(_)) | Err(Error::CommitUnknown) => {}
                Ok(_) | Err(_) => self.release(&reserved, |_| false).await,
            }
        }
        replaced
    }
}

async fn exists(connection: &mut Connection, id: OrderId) -> Result<bool, Error> {
    let mut sql = Statement::new("SELECT id FROM orders WHERE id = ?");
    sql.bind(id);
    Ok(!sql.fetch(connection).await?.is_empty())
}

/// Stores the successor of an order.
async fn link(connection: &mut Connection, old: OrderId, new: OrderId) -> Result<(), Error> {
    let mut sql = Statement::new("UPDATE orders SET replaced_by = ? WHERE id = ?");
    sql.bind(new).bind(old);
    sql.execute(connection).await.map(drop)
}

fn entry(cancelled: &OrderEvent, new: OrderId, requester: &Requester, now: Timestamp) -> AuditEntry {
    AuditEntry {
        id: OrderId::new(now),
        tenant: cancelled.tenant_id.clone(),
        at: now,
        actor: requester.name.to_string(),
        action: "order.replace".to_owned(),
        target: cancelled.order_id.to_string(),
        request_id: requester.request_id.clone(),
        detail: Some(format!("by {new}")),
    }
}
