//! The statements that write the changes of a batch.

use std::collections::HashMap;
use std::time::Duration;

use domain::transition::{CLOCK_STEP, CLOCK_TOLERANCE, Change, Command, OrderState};
use domain::{LeaseToken, OrderEvent, OrderId, Status, Timestamp, WorkerName};

use crate::connection::Connection;
use crate::rows::{self, DispatchState, LockedRow};
use crate::statement::{MAX_ROWS_PER_STATEMENT, Statement, padded_chunks};
use crate::{Error, pause, timeline};

/// The changes of one pass. Orders that change in the same way are written together.
#[derive(Default)]
pub(super) struct Changes {
    groups: HashMap<Update, Vec<OrderId>, hashlink::DefaultHashBuilder>,
    /// Pending orders whose due time alone changes, by version.
    postponed: HashMap<(u32, Timestamp), Vec<OrderId>>,
    /// Renewed leases, by their new end.
    renewed: HashMap<Timestamp, Vec<(OrderId, i64)>>,
    /// The time at which the queue must not be paused, if that was not read.
    unless_paused: Option<Timestamp>,
}

/// The latest version whose change moves no event out of the row.
const MOVED_AFTER: u32 = 2;

/// What an UPDATE requires of its rows besides the status and the version of the decision.
///
/// After a lost transaction, a restored backup or a manual change, a row can have these and another history.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Condition {
    /// Nothing else.
    None,
    /// A start: the order may be started at this time.
    Startable(Timestamp),
    /// This lease token; 0 is none.
    Lease(i64),
    /// This lease token, and a lease that has ended at this time.
    Expired(i64, Timestamp),
}

impl Condition {
    pub(super) fn of(command: &Command, state: &OrderState, now: Timestamp) -> Self {
        let lease = token(state);
        match command {
            Command::Start { .. } => {
                let latest = (now + CLOCK_TOLERANCE).max(state.not_before);
                Self::Startable(state.process_after.map_or(latest, |at| at.max(latest)))
            }
            Command::Heartbeat { .. }
            | Command::Checkpoint { .. }
            | Command::Finish { .. }
            | Command::Undeliver { .. }
            | Command::Cancel { .. } => Self::Lease(lease),
            Command::Expire => Self::Expired(lease, now),
            Command::Redrive { .. } => Self::None,
        }
    }

    fn push(self, sql: &mut Statement<'_>) {
        match self {
            Self::None => sql,
            Self::Startable(by) => sql
                .push(" AND not_before <= ? AND (process_after IS NULL OR process_after <= ?)")
                .bind(by.as_micros())
                .bind(by.as_micros()),
            Self::Lease(lease) => sql.push(" AND lease_token = ?").bind(lease),
            Self::Expired(lease, now) => {
                sql.push(" AND lease_token = ? AND held_until <= ?").bind(lease).bind(now.as_micros())
            }
        };
    }
}

/// Returns the lease token as it is stored.
fn token(state: &OrderState) -> i64 {
    state.lease.map_or(0, LeaseToken::as_i64)
}

/// The columns that one UPDATE sets; `None` does not set a column.
#[derive(PartialEq, Eq, Hash)]
struct Update {
    from: Status,
    version: u32,
    condition: Condition,
    status: Status,
    attempt: Option<u32>,
    failures: Option<u32>,
    lease: Option<Option<LeaseToken>>,
    due_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    reason: Option<String>,
    error_class: Option<String>,
    /// The worker of a start.
    worker: Option<WorkerName>,
    updated_at: Timestamp,
}

impl Changes {
    pub(super) fn new(unless_paused: Option<Timestamp>) -> Self {
        Self { unless_paused, ..Self::default() }
    }

    /// Adds a later due time of a pending order, without an event.
    pub(super) fn postpone(&mut self, locked: &mut LockedRow, until: Timestamp) {
        self.postponed.entry((locked.state.version, until)).or_default().push(locked.id);
        locked.state.due_at = Some(until);
    }

    /// Adds a new end of the lease of an order.
    pub(super) fn renew(&mut self, locked: &mut LockedRow, until: Timestamp) {
        self.renewed.entry(until).or_default().push((locked.id, token(&locked.state)));
        locked.state.due_at = Some(until);
    }

    /// Adds a change, updates `locked` and returns the event.
    pub(super) fn add(
        &mut self,
        locked: &mut LockedRow,
        change: Change,
        worker: Option<WorkerName>,
        condition: Condition,
        now: Timestamp,
    ) -> OrderEvent {
        let state = locked.state;
        fn differs<T: PartialEq>(new: T, old: T) -> Option<T> {
            (new != old).then_some(new)
        }
        // The times of a timeline do not decrease, even when the database's clock was set back.
        let at = now.max(state.updated_at);
        // The start of a wait is stored by the later clock, so that the wait can still be computed if the clock is set
        // back again (`wait_after_clock_step`). Its due time is a time of the present clock.
        let begins = change.not_before != state.not_before && at > now + CLOCK_STEP;
        let ahead = if begins { at.since(now) } else { Duration::ZERO };
        let not_before = change.not_before + ahead;
        let event = OrderEvent {
            order_id: locked.id,
            tenant_id: locked.tenant.clone(),
            sequence: state.version + 1,
            status: change.status,
            previous_status: Some(state.status),
            attempt: change.attempt,
            reason: change.reason.clone(),
            error_class: change.error_class.clone(),
            worker: worker.clone(),
            occurred_at: at,
        };
        let update = Update {
            from: state.status,
            version: state.version,
            condition,
            status: change.status,
            attempt: differs(change.attempt, state.attempt),
            failures: differs(change.failures, state.failures),
            lease: differs(change.lease, state.lease),
            due_at: change.due_at,
            not_before: differs(not_before, state.not_before),
            reason: change.reason,
            error_class: change.error_class,
            worker,
            updated_at: at,
        };
        locked.state = OrderState {
            status: change.status,
            version: event.sequence,
            attempt: change.attempt,
            failures: change.failures,
            max_attempts: state.max_attempts,
            lease: change.lease,
            due_at: change.due_at,
            not_before,
            process_after: state.process_after,
            updated_at: at,
        };
        if change.status == Status::Processing {
            locked.worker.clone_from(&event.worker);
        }
        self.groups.entry(update).or_default().push(locked.id);
        event
    }

    /// As [`Self::write`]. The change of one order is sent with its event and COMMIT; nothing else may be written before.
    pub(super) async fn write_last(self, connection: &mut Connection, table: &str) -> Result<(), Error> {
        let mut groups = self.groups.iter();
        match (groups.next(), groups.next()) {
            (Some((update, ids)), None)
                if ids.len() == 1
                    && update.version <= MOVED_AFTER
                    && self.postponed.is_empty()
                    && self.renewed.is_empty() =>
            {
                update.statement(ids, table, self.unless_paused).change_last_row(connection).await
            }
            _ => self.write(connection, table).await,
        }
    }

    pub(super) async fn write(self, connection: &mut Connection, table: &str) -> Result<(), Error> {
        for (update, ids) in &self.groups {
            for piece in ids.chunks(MAX_ROWS_PER_STATEMENT) {
                let change = update.statement(piece, table, self.unless_paused);
                for sql in [update.move_event(piece, table), Some(change)] {
                    let Some(sql) = sql else { continue };
                    all_changed(sql.execute(connection).await?, piece.len())?;
                }
            }
        }
        for ((version, until), ids) in &self.postponed {
            let stage = DispatchState::waiting(*until);
            for piece in ids.chunks(MAX_ROWS_PER_STATEMENT) {
                let mut sql = Statement::new("UPDATE ");
                sql.push(table).push(" SET held_until = ?, stage = ?, due_at = ?").bind(stage.held_until);
                sql.bind(stage.name).bind(stage.due_at);
                sql.push(" WHERE status = 'pending' AND version = ? AND id").bind(i64::from(*version));
                sql.push_in_padded(piece.iter().copied());
                all_changed(sql.execute(connection).await?, piece.len())?;
            }
        }
        for (until, leases) in &self.renewed {
            for piece in leases.chunks(MAX_ROWS_PER_STATEMENT) {
                all_changed(renewal(piece, *until, table).execute(connection).await?, piece.len())?;
            }
        }
        Ok(())
    }
}

/// Fails if a row has changed since the decision: the UPDATE does not count it.
fn all_changed(rows: u64, orders: usize) -> Result<(), Error> {
    if rows == orders as u64 { Ok(()) } else { Err(Error::Outdated) }
}

/// Builds the UPDATE of renewals, with a token for each order: a batch has the tokens of several workers.
fn renewal(leases: &[(OrderId, i64)], until: Timestamp, table: &str) -> Statement<'static> {
    let mut sql = Statement::new("UPDATE ");
    sql.push(table).push(" SET held_until = ? WHERE status = 'processing' AND (").bind(until.as_micros());
    for (n, (id, lease)) in padded_chunks(leases).next().unwrap_or_default().iter().enumerate() {
        sql.push(if n == 0 { "(id = ? AND lease_token = ?)" } else { " OR (id = ? AND lease_token = ?)" });
        sql.bind(*id).bind(*lease);
    }
    sql.push(")");
    sql
}

impl Update {
    /// Moves the older one of the two latest events out of the row, unless it is the first.
    ///
    /// A sequence that exists in `order_events` is an error, so no change can be recorded twice.
    fn move_event(&self, ids: &[OrderId], table: &str) -> Option<Statement<'static>> {
        if self.version <= MOVED_AFTER {
            return None;
        }
        let mut sql = timeline::moved_events();
        sql.push(table)
            .push(" WHERE version = ? AND id")
            .bind(i64::from(self.version))
            .push_in_padded(ids.iter().copied());
        Some(sql)
    }

    fn statement(&self, ids: &[OrderId], table: &str, unless_paused: Option<Timestamp>) -> Statement<'_> {
        let stage = DispatchState::after(self.status, self.due_at);
        let mut sql = Statement::new("UPDATE ");
        // MySQL assigns from left to right, so the previous values are copied first.
        sql.push(table).push(
            " SET previous_status = status, previous_attempt = attempt, previous_reason = reason, previous_error_class = error_class, \
             previous_at = updated_at, version = ?, status = ?",
        );
        sql.bind(i64::from(self.version + 1)).bind(self.status.as_str());
        if let Some(attempt) = self.attempt {
            sql.push(", attempt = ?").bind(i64::from(attempt));
        }
        if let Some(failures) = self.failures {
            sql.push(", failures = ?").bind(i64::from(failures));
        }
        if let Some(lease) = self.lease {
            sql.push(", lease_token = ?").bind(lease.map_or(0, LeaseToken::as_i64));
        }
        if let Some(not_before) = self.not_before {
            sql.push(", not_before = ?").bind(not_before.as_micros());
        }
        if self.status == Status::Processing {
            sql.push(", worker = ?").bind(rows::padded_worker(self.worker.as_ref().map(WorkerName::as_str)));
        }
        sql.push(
            ", stage = ?, due_at = ?, held_until = ?, reason = ?, error_class = ?, updated_at = ? \
                  WHERE status = ? AND version = ?",
        )
        .bind(stage.name)
        .bind(stage.due_at)
        .bind(stage.held_until)
        .bind(self.reason.as_deref())
        .bind(self.error_class.as_deref())
        .bind(self.updated_at.as_micros())
        .bind(self.from.as_str())
        .bind(i64::from(self.version));
        self.condition.push(&mut sql);
        if let Some(now) = unless_paused {
            pause::push_unless_paused(&mut sql, now);
        }
        sql.push(" AND id").push_in_padded(ids.iter().copied());
        sql
    }
}
