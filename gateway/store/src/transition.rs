//! Every change of an order after its creation.
//!
//! One transaction carries many commands: the rows are locked, [`domain::transition::decide`] says
//! what happens to each, orders that change in the same way share an UPDATE, and each change is an
//! event with the next sequence: what the row says from then on (see `timeline`). A lease token is compared while its row is locked, in the
//! transaction that writes, so a stale report cannot slip in between.
//!
//! Rows that this gateway has written last are not read again (see `row_cache`). An UPDATE repeats what was decided
//! for in its WHERE clause: the status, the version, the lease token and, where time decides, the time
//! ([`Condition`]). A row that is different is not changed, the transaction is rolled back, and everything is
//! decided again with locked rows. So memory only confirms what the row says as well.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::OrderMap;
use domain::transition::{
    CLOCK_STEP, CLOCK_TOLERANCE, Change, Command, Decision, OrderState, Refusal, Rules, decide,
};
use domain::{LeaseToken, Order, OrderEvent, OrderId, Status, Timestamp};
use rand::Rng;

use super::columns::{Column, OrderRow};
use super::connection::Connection;
use super::isolate::{LARGEST_ORDER, Unreadable, select_orders};
use super::park::is_parked;
use super::pause::paused;
use super::row_cache::CachedOrder;
use super::rows::{DispatchState, LockedRow};
use super::statement::{MAX_ROWS_PER_STATEMENT, Statement, bucketed_chunks, padded_chunks};
use super::{Error, Store, columns, rows, timeline};

/// What became of one command.
#[derive(Debug, Clone)]
pub enum CommandOutcome {
    /// The order changed.
    Changed {
        /// The new event.
        event: Arc<OrderEvent>,
        /// The order after the change, for commands whose caller wants it.
        order: Option<Arc<Order>>,
        /// What kind of failure the event is, if it is one.
        error_class: Option<String>,
    },
    /// Nothing was left to do: a lease was renewed, or the same command came before.
    Unchanged {
        /// The order, for commands whose caller wants it.
        order: Option<Arc<Order>>,
    },
    /// It cannot be done.
    Refused(Refusal),
    /// The order has more bytes than the worker can receive now. Nothing was changed.
    TooLarge(usize),
    /// There is no such order.
    NotFound,
    /// Another transaction holds the order and does not end; try again later.
    Locked,
    /// Its row cannot be used. Nothing was changed.
    Unreadable(Unreadable),
}

impl Store {
    /// Carries out the commands, all in one transaction, and says what became of each, in their
    /// order. Several commands for one order take effect one after the other.
    ///
    /// It is safe to repeat commands whose outcome got lost: each of them recognises its own effect.
    /// For that reason a lost answer to COMMIT is simply tried once more.
    ///
    /// A transaction of a gateway that hangs keeps its orders locked until the database gives up on
    /// it. The commands for such orders are left out, so that they do not hold up all others; and so are those for
    /// orders whose rows cannot be read. An order whose row cannot be changed makes the whole transaction fail
    /// ([`Error::cause`]).
    ///
    /// # Errors
    /// [`Error`]; nothing was changed, unless it is [`Error::CommitUnknown`].
    pub async fn apply(
        &self,
        commands: Arc<[(OrderId, Command)]>,
        rules: Rules,
    ) -> Result<Vec<CommandOutcome>, Error> {
        let dialect = self.inner.dialect;
        let ids = || commands.iter().map(|(id, _)| id);
        let mut recent = self.inner.row_cache.take(ids());
        let (mut skip_locked, mut lost) = (false, false);
        loop {
            let for_update =
                if skip_locked { dialect.for_update_skip_locked() } else { dialect.for_update() };
            // They count once; after that only what the rows say.
            let remembered = std::mem::take(&mut recent);
            let by_memory = !remembered.is_empty();
            let result = self.try_apply(&commands, rules, remembered, for_update).await;
            if result.is_err() {
                self.inner.row_cache.remove(ids());
            }
            match result {
                Err(Error::CommitUnknown) if !lost => lost = true,
                Err(Error::Locked(_)) if !skip_locked => skip_locked = true,
                Err(Error::Outdated) if by_memory => {}
                Err(error) => return Err(error),
                Ok((applied, orders)) => {
                    let (running, done): (Vec<_>, Vec<_>) =
                        orders.into_values().partition(|row| row.locked.state.status == Status::Processing);
                    self.inner.row_cache.remove(done.iter().map(|row| &row.locked.id));
                    self.inner
                        .row_cache
                        .put(running.into_iter().map(|row| CachedOrder { order: None, ..row }));
                    return Ok(applied);
                }
            }
        }
    }

    async fn try_apply(
        &self,
        commands: &Arc<[(OrderId, Command)]>,
        rules: Rules,
        recent: OrderMap<CachedOrder>,
        for_update: &'static str,
    ) -> Result<(Vec<CommandOutcome>, OrderMap<CachedOrder>), Error> {
        let now = self.now();
        let dialect = self.inner.dialect;
        let table = dialect.orders_by_id();
        let recent = Arc::new(Mutex::new(recent));
        self.write(|connection| {
            let (commands, recent) = (commands.clone(), recent.clone());
            Box::pin(async move {
                let mut rules = rules;
                if commands.iter().any(|(_, command)| starts(command)) {
                    rules.paused = paused(connection, dialect.for_share(), now).await?;
                }
                let rounds = rounds(&commands);
                let recent = std::mem::take(&mut *recent.lock().unwrap_or_else(PoisonError::into_inner));
                let mut orders = decide_from_cache(recent, &commands, &rounds, now, &rules);
                let Obstacles { unreadable, parked } =
                    lock(connection, &commands, for_update, &mut orders).await?;
                let locked = skipped_rows(connection, &commands, &orders, &unreadable).await?;
                let mut applied: Vec<Option<CommandOutcome>> = vec![None; commands.len()];
                for round in rounds {
                    let mut changes = Changes::default();
                    for index in round {
                        let (id, command) = &commands[index];
                        applied[index] = Some(match (orders.get_mut(id), unreadable.get(id)) {
                            (Some(_), None)
                                if starts(command) && parked.get(id).is_some_and(|end| *end > now) =>
                            {
                                CommandOutcome::Refused(Refusal::NotYet(parked[id]))
                            }
                            // What the command needs of the order can be read.
                            (Some(row), None) => run(row, command, now, &rules, &mut changes),
                            (Some(row), Some(_)) if !wants_order(command) => {
                                run(row, command, now, &rules, &mut changes)
                            }
                            (_, Some(unreadable)) => CommandOutcome::Unreadable(unreadable.clone()),
                            (None, None) if locked.contains(id) => CommandOutcome::Locked,
                            (None, None) => CommandOutcome::NotFound,
                        });
                    }
                    changes.write(connection, table).await?;
                }
                let applied = applied.into_iter().map(|applied| applied.unwrap_or(CommandOutcome::NotFound));
                Ok((applied.collect(), orders))
            })
        })
        .await
    }
}

/// Those of the orders about which can be decided by what is remembered: each has one command, and that
/// changes it.
fn decide_from_cache(
    mut recent: OrderMap<CachedOrder>,
    commands: &[(OrderId, Command)],
    rounds: &[Vec<usize>],
    now: Timestamp,
    rules: &Rules,
) -> OrderMap<CachedOrder> {
    let mut orders = OrderMap::with_capacity_and_hasher(commands.len(), Default::default());
    for (id, command) in commands {
        let Some(row) = recent.remove(id) else { continue };
        let shown = row.order.is_some() || !wants_order(command);
        if shown && matches!(decide(&row.locked.state, command, now, rules, 0), Decision::Change(_)) {
            orders.insert(*id, row);
        }
    }
    for index in rounds.iter().skip(1).flatten() {
        orders.remove(&commands[*index].0);
    }
    orders
}

/// Orders that a batch cannot treat like the others.
#[derive(Default)]
struct Obstacles {
    /// Those that cannot be read.
    unreadable: OrderMap<Unreadable>,
    /// Pending ones that are parked, with the end of it. A job that is left of such an order starts nothing.
    parked: OrderMap<Timestamp>,
}

/// Reads and locks the orders that are not among `orders` yet. Of those that cannot be read, the ones whose state can be
/// read are among `orders` all the same, for commands that need no more.
async fn lock(
    connection: &mut Connection,
    commands: &[(OrderId, Command)],
    for_update: &str,
    orders: &mut OrderMap<CachedOrder>,
) -> Result<Obstacles, Error> {
    let whole = commands.iter().any(|(_, command)| wants_order(command));
    // Rows are locked in the order of their ids, so that two transactions do not wait for each other.
    let mut ids: Vec<OrderId> =
        commands.iter().map(|(id, _)| *id).filter(|id| !orders.contains_key(id)).collect();
    ids.sort_unstable();
    ids.dedup();
    let columns = if whole { &columns::ORDER } else { &columns::STATE };
    let rows = select_orders(connection, columns, &ids, for_update).await?;
    let mut all = OrderMap::default();
    let mut parked = OrderMap::default();
    for row in rows.iter() {
        let id = row.id()?;
        match columns::state(&row) {
            Ok(locked) => {
                if locked.state.status == Status::Pending && row.get(Column::DueAt).is_ok_and(is_parked) {
                    parked.insert(id, row.time(Column::HeldUntil)?);
                }
                let order = whole.then(|| whole_order(&row));
                let order = order.transpose().unwrap_or_else(|error| {
                    all.insert(id, Unreadable::new(id, &error));
                    None
                });
                orders.insert(id, CachedOrder { locked, order });
            }
            Err(error) => {
                all.insert(id, Unreadable::new(id, &error));
            }
        }
    }
    all.extend(rows.unreadable.into_iter().map(|one| (one.order_id, one)));
    Ok(Obstacles { unreadable: all, parked })
}

fn whole_order(row: &OrderRow<'_>) -> Result<Arc<Order>, Error> {
    let order = columns::order(row)?;
    match order.approximate_bytes() {
        bytes if bytes > LARGEST_ORDER => Err(Error::TooLarge(bytes)),
        _ => Ok(Arc::new(order)),
    }
}

/// The orders that exist and were not locked, because somebody else has.
async fn skipped_rows(
    connection: &mut Connection,
    commands: &[(OrderId, Command)],
    orders: &OrderMap<CachedOrder>,
    unreadable: &OrderMap<Unreadable>,
) -> Result<HashSet<OrderId>, Error> {
    let known = |id: &OrderId| orders.contains_key(id) || unreadable.contains_key(id);
    let missing: HashSet<OrderId> = commands.iter().map(|(id, _)| *id).filter(|id| !known(id)).collect();
    let missing = Vec::from_iter(missing);
    let mut found = HashSet::new();
    for piece in bucketed_chunks(&missing) {
        let mut sql = Statement::new("SELECT id FROM orders WHERE id");
        sql.push_in(piece.iter().copied());
        for row in sql.fetch(connection).await? {
            found.insert(rows::id(&row, 0)?);
        }
    }
    Ok(found)
}

/// Whether the answer to a command shows the order.
fn wants_order(command: &Command) -> bool {
    match command {
        Command::Start { .. } | Command::Cancel { .. } | Command::Redrive { .. } => true,
        Command::Heartbeat { .. } | Command::Finish { .. } | Command::Expire => false,
    }
}

fn starts(command: &Command) -> bool {
    matches!(command, Command::Start { .. })
}

/// The indexes of the commands in rounds: within a round each order has at most one command.
fn rounds(commands: &[(OrderId, Command)]) -> Vec<Vec<usize>> {
    let mut seen: OrderMap<usize> = OrderMap::with_capacity_and_hasher(commands.len(), Default::default());
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for (index, (id, _)) in commands.iter().enumerate() {
        let round = seen.entry(*id).and_modify(|round| *round += 1).or_insert(0);
        if *round == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*round].push(index);
    }
    rounds
}

/// Decides about one command and notes what is to be written.
fn run(
    row: &mut CachedOrder,
    command: &Command,
    now: Timestamp,
    rules: &Rules,
    changes: &mut Changes,
) -> CommandOutcome {
    let decision = decide(&row.locked.state, command, now, rules, rand::rng().random());
    if let (Some(bytes), Decision::Change(_) | Decision::Repeat) = (exceeds_limit(row, command), &decision) {
        return CommandOutcome::TooLarge(bytes);
    }
    let wanted = |row: &CachedOrder| row.order.clone().filter(|_| wants_order(command));
    match decision {
        Decision::Change(change) => {
            let error_class = change.error_class.clone();
            let condition = Condition::of(command, &row.locked.state, now);
            let event = Arc::new(changes.add(&mut row.locked, change, condition, now));
            if let Some(order) = row.order.as_mut().map(Arc::make_mut) {
                order.status = event.status;
                order.version = event.sequence;
                order.attempt = event.attempt;
                order.failures = row.locked.state.failures;
                order.not_before = row.locked.state.not_before;
                order.reason.clone_from(&event.reason);
                order.error_class.clone_from(&error_class);
                order.updated_at = event.occurred_at;
            }
            CommandOutcome::Changed { event, order: wanted(row), error_class }
        }
        Decision::Renew(until) => {
            changes.renew(&mut row.locked, until);
            CommandOutcome::Unchanged { order: None }
        }
        Decision::Postpone(refusal, until) => {
            changes.postpone(&mut row.locked, until);
            CommandOutcome::Refused(refusal)
        }
        Decision::Repeat => CommandOutcome::Unchanged { order: wanted(row) },
        Decision::Refuse(refusal) => CommandOutcome::Refused(refusal),
    }
}

/// The size of an order that is larger than its start allows.
fn exceeds_limit(row: &CachedOrder, command: &Command) -> Option<usize> {
    let (Command::Start { max_bytes, .. }, Some(order)) = (command, &row.order) else { return None };
    Some(order.approximate_bytes()).filter(|bytes| bytes > max_bytes)
}

/// What one round writes: orders that change in the same way are written together.
#[derive(Default)]
struct Changes {
    groups: HashMap<Update, Vec<OrderId>, hashlink::DefaultHashBuilder>,
    /// Pending orders of which only the due time changes, by version.
    postponed: HashMap<(u32, Timestamp), Vec<OrderId>>,
    /// Leases that are renewed, by their new end.
    renewed: HashMap<Timestamp, Vec<(OrderId, i64)>>,
}

/// What an UPDATE requires of its rows besides the status and the version that the decision was made for. After a
/// lost transaction, a restored backup or a manual change a row can have these and another history all the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Condition {
    /// Nothing else.
    None,
    /// A start: the order may be started by then.
    Startable(Timestamp),
    /// This lease token; 0 is none.
    Lease(i64),
    /// This lease token, and a lease that has ended by then.
    Expired(i64, Timestamp),
}

impl Condition {
    fn of(command: &Command, state: &OrderState, now: Timestamp) -> Self {
        let lease = token(state);
        match command {
            Command::Start { .. } => {
                let latest = (now + CLOCK_TOLERANCE).max(state.not_before);
                Self::Startable(state.process_after.map_or(latest, |at| at.max(latest)))
            }
            Command::Heartbeat { .. } | Command::Finish { .. } | Command::Cancel { .. } => Self::Lease(lease),
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

/// The lease token as it is stored.
fn token(state: &OrderState) -> i64 {
    state.lease.map_or(0, LeaseToken::as_i64)
}

/// The columns that one UPDATE sets; `None` leaves a column as it is.
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
    updated_at: Timestamp,
}

impl Changes {
    /// Notes that a pending order next needs attention at this time, without an event.
    fn postpone(&mut self, locked: &mut LockedRow, until: Timestamp) {
        self.postponed.entry((locked.state.version, until)).or_default().push(locked.id);
        locked.state.due_at = Some(until);
    }

    /// Notes that the lease of an order now ends at this time.
    fn renew(&mut self, locked: &mut LockedRow, until: Timestamp) {
        self.renewed.entry(until).or_default().push((locked.id, token(&locked.state)));
        locked.state.due_at = Some(until);
    }

    /// Notes a change, brings `locked` up to date and returns the event.
    fn add(
        &mut self,
        locked: &mut LockedRow,
        change: Change,
        condition: Condition,
        now: Timestamp,
    ) -> OrderEvent {
        let state = locked.state;
        fn differs<T: PartialEq>(new: T, old: T) -> Option<T> {
            (new != old).then_some(new)
        }
        // The times of a timeline do not run backwards, even when the database's clock was set back.
        let at = now.max(state.updated_at);
        // A wait that begins now is written as one that begins then, so that it can still be told if the clock is set
        // back once more (`wait_after_clock_step`). When it is due is a time of the present clock.
        let begins = change.not_before != state.not_before && at > now + CLOCK_STEP;
        let ahead = if begins { at.since(now) } else { Duration::ZERO };
        let not_before = change.not_before + ahead;
        let event = OrderEvent {
            order_id: locked.id,
            sequence: state.version + 1,
            status: change.status,
            previous_status: Some(state.status),
            attempt: change.attempt,
            reason: change.reason.clone(),
            error_class: change.error_class.clone(),
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
        self.groups.entry(update).or_default().push(locked.id);
        event
    }

    async fn write(self, connection: &mut Connection, table: &str) -> Result<(), Error> {
        for (update, ids) in &self.groups {
            for piece in ids.chunks(MAX_ROWS_PER_STATEMENT) {
                for sql in [update.make_room(piece, table), Some(update.statement(piece, table))] {
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

/// A row that is not as it was when it was decided about is not among those that were changed.
fn all_changed(rows: u64, orders: usize) -> Result<(), Error> {
    if rows == orders as u64 { Ok(()) } else { Err(Error::Outdated) }
}

/// Each order with its own token: the tokens of one batch are those of several workers.
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
    /// Moves the older one of the two latest events out of the row, unless it is the first. A sequence that
    /// `order_events` has already is an error, so no change can be recorded twice.
    fn make_room(&self, ids: &[OrderId], table: &str) -> Option<Statement<'static>> {
        if self.version <= 2 {
            return None;
        }
        let mut sql = timeline::moved_events();
        sql.push(table)
            .push(" WHERE version = ? AND id")
            .bind(i64::from(self.version))
            .push_in_padded(ids.iter().copied());
        Some(sql)
    }

    fn statement(&self, ids: &[OrderId], table: &str) -> Statement<'_> {
        let stage = DispatchState::after(self.status, self.due_at);
        let mut sql = Statement::new("UPDATE ");
        // MySQL assigns from left to right, so what is kept of the present comes first.
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
        sql.push(" AND id").push_in_padded(ids.iter().copied());
        sql
    }
}
