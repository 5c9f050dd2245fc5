//! Every change of an order after its creation.
//!
//! One transaction applies many commands: the rows are locked, [`domain::transition::decide`] decides about each
//! command, orders that change in the same way share an UPDATE, and each change is an event with the next sequence,
//! which the row then contains (see `timeline`). A lease token is compared while its row is locked, in the transaction
//! that writes, so a stale report cannot be accepted in between.
//!
//! Rows that this gateway has written last are not read again (see `row_cache`). An UPDATE repeats the basis of its
//! decision in the WHERE clause: the status, the version, the lease token and, where time decides, the time
//! ([`Condition`]). If a row differs, the transaction is rolled back and everything is decided again with locked rows.
//! So the cache only confirms what the row contains. The change of a lone order is sent together with its event and
//! COMMIT (see `last_statements`).

mod lock;
mod replace;
mod update;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::transition::{Command, Decision, Refusal, Rules, decide};
use domain::{Order, OrderEvent, OrderId, OrderMap, Status, Timestamp, TraceContext, WorkerName};
use rand::Rng;

pub use self::replace::{ReplaceRequest, Replacement};

use self::lock::{Obstacles, lock, skipped_rows, wants_order};
use self::update::{Changes, Condition};
use super::audit;
use super::outputs::{self, Output};
use super::pause::paused;
use super::row_cache::CachedOrder;
use super::unreadable::Unreadable;
use super::{Error, Shard, event_log};

/// The outcome of one command.
#[derive(Debug, Clone)]
pub enum CommandOutcome {
    /// The order changed.
    Changed {
        /// The new event.
        event: Arc<OrderEvent>,
        /// The order after the change, for commands whose caller wants it.
        order: Option<Arc<Order>>,
        /// The kind of failure, if the event is one.
        error_class: Option<String>,
        /// Of a start: how long the order could have been started before. Of the end of an attempt: how long it took.
        elapsed: Option<Duration>,
        /// The worker of the latest attempt, if it has stated a name.
        worker: Option<WorkerName>,
        /// The span that created the order, if its trace is recorded.
        trace: Option<TraceContext>,
    },
    /// Nothing had to change: a lease was renewed, or the same command came before.
    Unchanged {
        /// The order, for commands whose caller wants it.
        order: Option<Arc<Order>>,
    },
    /// The command is refused.
    Refused(Refusal),
    /// The order has more bytes than the worker can receive now. Nothing was changed.
    TooLarge(usize),
    /// There is no such order.
    NotFound,
    /// Another transaction keeps the order locked; try again later.
    Locked,
    /// Its row cannot be used. Nothing was changed.
    Unreadable(Unreadable),
}

impl Shard {
    /// Applies the commands in one transaction, and returns their outcomes in the same order.
    ///
    /// Several commands for one order take effect one after the other. Commands whose outcome was lost can be repeated,
    /// because each recognises its own effect. A lost response to COMMIT is therefore simply retried once.
    ///
    /// A transaction of a gateway that hangs keeps its orders locked until the database ends it. Commands for such
    /// orders are skipped, so that they do not delay the others; so are those for unreadable orders. An order whose row
    /// cannot be changed makes the whole transaction fail ([`Error::cause`]).
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
            // The cache counts once; after that only the rows count.
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
        let event_log = self.inner.options.event_log;
        let recent = Arc::new(Mutex::new(recent));
        self.write(|connection| {
            let (commands, recent) = (commands.clone(), recent.clone());
            Box::pin(async move {
                let mut rules = rules;
                let passes = passes(&commands);
                let mut recent = std::mem::take(&mut *recent.lock().unwrap_or_else(PoisonError::into_inner));
                // The UPDATE of one start then confirms that the queue is not paused.
                let is_alone = commands.len() == 1 && connection.joins_statements();
                let mut orders = OrderMap::default();
                if is_alone {
                    orders = decide_from_cache(std::mem::take(&mut recent), &commands, &passes, now, &rules);
                }
                let has_starts = commands.iter().any(|(_, command)| starts(command));
                let unless_paused = (has_starts && !orders.is_empty()).then_some(now);
                if has_starts && unless_paused.is_none() {
                    rules.paused = paused(connection, dialect.for_share(), now).await?;
                }
                if !is_alone {
                    orders = decide_from_cache(recent, &commands, &passes, now, &rules);
                }
                let Obstacles { unreadable, parked } =
                    lock(connection, &commands, for_update, &mut orders).await?;
                let locked = skipped_rows(connection, &commands, &orders, &unreadable).await?;
                let mut applied: Vec<Option<CommandOutcome>> = vec![None; commands.len()];
                let (mut audited, mut outputs) = (Vec::new(), Vec::new());
                let is_only_pass = passes.len() == 1;
                for pass in passes {
                    let mut changes = Changes::new(unless_paused);
                    for index in pass {
                        let (id, command) = &commands[index];
                        applied[index] = Some(match (orders.get_mut(id), unreadable.get(id)) {
                            (Some(_), None)
                                if starts(command) && parked.get(id).is_some_and(|end| *end > now) =>
                            {
                                CommandOutcome::Refused(Refusal::NotYet(parked[id]))
                            }
                            // The columns that the command needs can be read.
                            (Some(row), None) => decide_command(row, command, now, &rules, &mut changes),
                            (Some(row), Some(_)) if !wants_order(command) => {
                                decide_command(row, command, now, &rules, &mut changes)
                            }
                            (_, Some(unreadable)) => CommandOutcome::Unreadable(unreadable.clone()),
                            (None, None) if locked.contains(id) => CommandOutcome::Locked,
                            (None, None) => CommandOutcome::NotFound,
                        });
                        if let Some(CommandOutcome::Changed { event, .. }) = &applied[index] {
                            audited.extend(audit::of_command(command, event, now));
                        }
                        if is_written(command, applied[index].as_ref()) {
                            outputs.extend(Output::of_command(*id, command));
                        }
                    }
                    if is_only_pass && audited.is_empty() && outputs.is_empty() {
                        changes.write_last(connection, table).await?;
                    } else {
                        changes.write(connection, table).await?;
                    }
                }
                outputs::write(connection, outputs).await?;
                audit::record_all(connection, &audited).await?;
                if event_log {
                    event_log::append(connection, &events(&applied), now).await?;
                }
                let applied = applied.into_iter().map(|applied| applied.unwrap_or(CommandOutcome::NotFound));
                Ok((applied.collect(), orders))
            })
        })
        .await
    }
}

/// Returns the orders that can be decided from the cache: each has one command, which changes it.
fn decide_from_cache(
    mut recent: OrderMap<CachedOrder>,
    commands: &[(OrderId, Command)],
    passes: &[Vec<usize>],
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
    for index in passes.iter().skip(1).flatten() {
        orders.remove(&commands[*index].0);
    }
    orders
}

/// Returns the events of the commands that changed an order, those of one order in their sequence.
fn events(applied: &[Option<CommandOutcome>]) -> Vec<Arc<OrderEvent>> {
    let event = |outcome: &Option<CommandOutcome>| match outcome {
        Some(CommandOutcome::Changed { event, .. }) => Some(event.clone()),
        _ => None,
    };
    applied.iter().filter_map(event).collect()
}

/// Returns whether the output of a command is written. A repeated report is unchanged, and keeps the first result.
fn is_written(command: &Command, outcome: Option<&CommandOutcome>) -> bool {
    matches!(
        (command, outcome),
        (Command::Finish { .. }, Some(CommandOutcome::Changed { .. }))
            | (Command::Checkpoint { .. }, Some(CommandOutcome::Unchanged { .. }))
    )
}

fn starts(command: &Command) -> bool {
    matches!(command, Command::Start { .. })
}

/// Groups the indexes of the commands into passes: within a pass each order has at most one command.
fn passes(commands: &[(OrderId, Command)]) -> Vec<Vec<usize>> {
    let mut seen: OrderMap<usize> = OrderMap::with_capacity_and_hasher(commands.len(), Default::default());
    let mut passes: Vec<Vec<usize>> = Vec::new();
    for (index, (id, _)) in commands.iter().enumerate() {
        let pass = seen.entry(*id).and_modify(|pass| *pass += 1).or_insert(0);
        if *pass == passes.len() {
            passes.push(Vec::new());
        }
        passes[*pass].push(index);
    }
    passes
}

/// Decides about one command and adds its change.
fn decide_command(
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
            let before = row.locked.state;
            let worker = match command {
                Command::Start { worker, .. } => worker.clone(),
                _ => None,
            };
            let event = Arc::new(changes.add(&mut row.locked, change, worker, condition, now));
            if let Some(order) = row.order.as_mut().map(Arc::make_mut) {
                order.status = event.status;
                order.version = event.sequence;
                order.attempt = event.attempt;
                order.failures = row.locked.state.failures;
                order.not_before = row.locked.state.not_before;
                order.reason.clone_from(&event.reason);
                order.error_class.clone_from(&error_class);
                if event.status == Status::Processing {
                    order.worker.clone_from(&event.worker);
                }
                order.updated_at = event.occurred_at;
            }
            let elapsed = match (before.status, event.status) {
                (_, Status::Processing) => Some(event.occurred_at.since(before.not_before)),
                (Status::Processing, _) => Some(event.occurred_at.since(before.updated_at)),
                _ => None,
            };
            CommandOutcome::Changed {
                event,
                order: wanted(row),
                error_class,
                elapsed,
                worker: row.locked.worker.clone(),
                trace: row.locked.trace,
            }
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

/// Returns the size of an order that is larger than its start permits.
fn exceeds_limit(row: &CachedOrder, command: &Command) -> Option<usize> {
    let (Command::Start { max_bytes, .. }, Some(order)) = (command, &row.order) else { return None };
    Some(order.approximate_bytes()).filter(|bytes| bytes > max_bytes)
}
