//! Looks whether what the store holds agrees with the rules. For `orders doctor` and for tests; reads
//! every order once, in small pages, and may run beside everything else.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::transition::{OrderState, scheduled_start, wait_after_clock_step};
use domain::{OrderId, Status, Timestamp};

use super::columns::{Column, OrderRow, Selection};
use super::connection::Connection;
use super::isolate::{Cause, LARGEST_ORDER, Unreadable, select_orders};
use super::park::is_parked;
use super::statement::{MAX_ROWS_PER_STATEMENT, Statement};
use super::timeline::{EventRow, InlineEvents};
use super::{Error, Store, columns, rows, timeline};

/// Orders read in one go.
const PAGE: usize = MAX_ROWS_PER_STATEMENT;

/// How long it may take until a step of the clock is noticed and orders are brought in.
const NOTICED: Duration = Duration::from_secs(60);
/// No lease, guard or parking lasts longer, whatever the settings are.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 3_600);

/// Something that cannot be, and yet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrityIssue {
    /// The order.
    pub order_id: OrderId,
    /// What is wrong with it.
    pub kind: IssueKind,
}

/// What can be wrong with an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueKind {
    /// There are events of an order that does not exist.
    #[error("has events but no order")]
    NoOrder,
    /// The sequences between the first event and the two latest are not those that are stored.
    #[error("has version {version} but between its first and its two latest events {sequences:?}")]
    Gap {
        /// The order's version, the sequence of its latest event.
        version: u32,
        /// The sequences that `order_events` has.
        sequences: Vec<u32>,
    },
    /// What an event says is not a declared change of what the event before it says.
    #[error("event {0} does not follow from the one before it")]
    Undeclared(u32),
    /// Nothing would ever happen to the order again.
    #[error("is {0} but never due")]
    NeverDue(Status),
    /// A final order is due.
    #[error("is {0}, which is final, but due")]
    FinalButDue(Status),
    /// An attempt runs that nobody can finish.
    #[error("is processing without a lease")]
    NoLease,
    /// A column of the order or of one of its events cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is larger than what can be handed to a worker.
    #[error("is too large for a worker: {0} bytes")]
    TooLarge(usize),
    /// So many rows have an id that is none.
    #[error("stands for {0} orders whose ids do not have 16 bytes")]
    MalformedIds(u64),
    /// It waits, or is held, for longer than it can be: the clock was set back.
    #[error("waits until {0}, because the clock was set back")]
    Stalled(Timestamp),
    /// It could not be processed when a worker wanted it, and is left alone until a time.
    #[error("is parked until {0}")]
    Parked(Timestamp),
}

impl IssueKind {
    /// Whether [`Store::repair`] can mend it without deciding anything about the order.
    pub fn is_repairable(&self) -> bool {
        match self {
            Self::NeverDue(_) | Self::FinalButDue(_) | Self::Stalled(_) => true,
            Self::NoOrder
            | Self::Gap { .. }
            | Self::Undeclared(_)
            | Self::NoLease
            | Self::Unreadable(_)
            | Self::TooLarge(_)
            | Self::MalformedIds(_)
            | Self::Parked(_) => false,
        }
    }
}

/// What a look at all orders has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntegrityReport {
    /// Orders by status.
    pub by_status: BTreeMap<Status, u64>,
    /// Orders whose row cannot be read, not even its status.
    pub unreadable: u64,
    /// Orders that have been due for longer than `overdue_after`.
    pub overdue: u64,
    /// How long the order that could be started and has waited longest has been waiting.
    pub oldest_claimable: Option<Duration>,
    /// How far the newest order is ahead of the database's clock, if it is: the clock was set back.
    pub clock_behind: Option<Duration>,
    /// What is wrong.
    pub issues: Vec<IntegrityIssue>,
}

impl IntegrityReport {
    /// How many orders there are.
    pub fn accepted(&self) -> u64 {
        self.by_status.values().sum::<u64>() + self.unreadable
    }
}

/// What was read of an order.
#[derive(Default)]
struct InspectedOrder {
    /// Whether it has a row, and not only events.
    exists: bool,
    /// `None` when it cannot be read.
    state: Option<OrderState>,
    /// `None` when they cannot be read.
    ends: Option<InlineEvents>,
    stored: BTreeMap<u32, EventRow>,
    /// What was found while reading.
    problems: Vec<IssueKind>,
}

type Orders = BTreeMap<OrderId, InspectedOrder>;

/// What tells whether an order is parked whose row cannot be received.
static PARKING: Selection = Selection::new(&[Column::Id, Column::DueAt, Column::HeldUntil]);

impl Store {
    /// Looks at every order. What seems wrong is looked at once more: an order may have changed
    /// between the reading of its row and of its events.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn inspect(&self, overdue_after: Duration) -> Result<IntegrityReport, Error> {
        let (oldest_claimable, clock_behind) = (self.oldest_claimable().await?, self.clock_behind().await?);
        let mut report = IntegrityReport { oldest_claimable, clock_behind, ..IntegrityReport::default() };
        let mut after = OrderId::from_bytes([0; 16]);
        loop {
            let (page, last) = self.page(after).await?;
            let now = self.now();
            for (id, seen) in &page {
                if let Some(state) = &seen.state {
                    *report.by_status.entry(state.status).or_default() += 1;
                    report.overdue += u64::from(state.due_at.is_some_and(|due| due + overdue_after < now));
                } else {
                    report.unreadable += u64::from(seen.exists);
                }
                if !problems(seen).is_empty() {
                    let again = self.look(vec![*id]).await?;
                    let still = again.get(id).map(problems).unwrap_or_default();
                    let finding = |kind| IntegrityIssue { order_id: *id, kind };
                    report.issues.extend(still.into_iter().map(finding));
                }
            }
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        report.issues.extend(self.malformed_ids().await?);
        Ok(report)
    }

    /// Those of the orders that no worker can be given, or whose next change would fail.
    pub(super) async fn unusable(&self, ids: &[OrderId]) -> Result<Vec<Unreadable>, Error> {
        let mut unusable = Vec::new();
        for (order_id, seen) in self.look(ids.to_vec()).await? {
            let blocks = |problem: &IssueKind| match problem {
                IssueKind::Unreadable(_) => Some(Cause::Undecodable),
                IssueKind::TooLarge(_) => Some(Cause::TooLarge),
                // The next change moves event `version - 1` there.
                IssueKind::Gap { version, sequences } if sequences.iter().any(|n| n + 1 >= *version) => {
                    Some(Cause::Contradiction)
                }
                _ => None,
            };
            let found = problems(&seen).into_iter().find_map(|problem| Some((blocks(&problem)?, problem)));
            if let Some((cause, problem)) = found {
                unusable.push(Unreadable { order_id, cause, detail: problem.to_string() });
            }
        }
        Ok(unusable)
    }

    /// Rows that no statement can name by the id of an order, all under an id that no order has.
    async fn malformed_ids(&self) -> Result<Option<IntegrityIssue>, Error> {
        let Some(condition) = self.inner.dialect.malformed_id() else { return Ok(None) };
        let sql = Statement::new(format!("SELECT COUNT(*) FROM orders WHERE {condition}"));
        let found = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        let count: u64 = found.first().map_or(Ok(0), |row| rows::number(row, 0))?;
        let order_id = OrderId::from_bytes([0; 16]);
        Ok((count > 0).then_some(IntegrityIssue { order_id, kind: IssueKind::MalformedIds(count) }))
    }

    /// Mends what [`Problem::is_repairable`] says can be mended: an order that is not final becomes
    /// due, one that is final does not stay so. Says for how many orders that was needed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repair(&self) -> Result<u64, Error> {
        let now = self.now().as_micros();
        let held = (self.now() + LONGEST_HOLD).as_micros();
        let mended = self
            .write(|connection| {
                Box::pin(async move {
                    let mut pending = Statement::new(
                        "UPDATE orders SET stage = 'waiting', due_at = not_before, held_until = 0 \
                     WHERE status = 'pending' AND stage <> 'held' AND (stage <> 'waiting' OR due_at = ?)",
                    );
                    pending.bind(rows::NEVER);
                    let mut processing = Statement::new(
                        "UPDATE orders SET stage = 'held', due_at = ?, held_until = ? \
                     WHERE status = 'processing' AND stage <> 'held'",
                    );
                    processing.bind(rows::NEVER).bind(now);
                    let mut done = Statement::new(
                        "UPDATE orders SET stage = status, due_at = ?, held_until = 0 \
                     WHERE status IN ('completed', 'failed', 'cancelled') AND stage <> status",
                    );
                    done.bind(rows::NEVER);
                    // Dispatch finds them at once, and takes back what nobody works on.
                    let mut ahead = Statement::new(
                        "UPDATE orders SET held_until = ? WHERE stage = 'held' AND held_until > ?",
                    );
                    ahead.bind(now).bind(held);
                    let mut mended = 0;
                    for sql in [pending, processing, done, ahead] {
                        mended += sql.execute(connection).await?;
                    }
                    Ok(mended)
                })
            })
            .await?;
        Ok(mended + self.shorten_waits().await?)
    }

    /// The orders that follow `after`, and the id to go on from; with the events between them, and with the last
    /// page also whatever events lie behind the last order.
    async fn page(&self, after: OrderId) -> Result<(Orders, Option<OrderId>), Error> {
        let ids = self
            .read(move |connection| {
                Box::pin(async move {
                    let mut sql = Statement::new("SELECT id FROM orders WHERE id > ? ORDER BY id LIMIT ?");
                    sql.bind(after).bind(PAGE as i64);
                    let rows = sql.fetch(connection).await?;
                    Ok(rows.iter().filter_map(|row| rows::id(row, 0).ok()).collect::<Vec<_>>())
                })
            })
            .await?;
        let last = ids.last().copied().filter(|_| ids.len() == PAGE);
        let mut page = self.look(ids).await?;
        for id in self.orphaned_events(after, last.unwrap_or(OrderId::from_bytes([0xff; 16]))).await? {
            page.entry(id).or_default();
        }
        Ok((page, last))
    }

    /// The ids behind `first`, up to `last`, that have events and no order.
    async fn orphaned_events(&self, first: OrderId, last: OrderId) -> Result<Vec<OrderId>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT DISTINCT order_id FROM order_events WHERE order_id > ? AND order_id <= ? \
                     AND NOT EXISTS (SELECT 1 FROM orders WHERE id = order_id)",
                );
                sql.bind(first).bind(last);
                Ok(sql.fetch(connection).await?.iter().filter_map(|row| rows::id(row, 0).ok()).collect())
            })
        })
        .await
    }

    /// What there is of these orders.
    async fn look(&self, ids: Vec<OrderId>) -> Result<Orders, Error> {
        let now = self.now();
        self.read(move |connection| {
            Box::pin(async move {
                let mut page: Orders = ids.iter().map(|id| (*id, InspectedOrder::default())).collect();
                let rows = select_orders(connection, &columns::ALL, &ids, "").await?;
                let not_received: Vec<OrderId> = rows.unreadable.iter().map(|one| one.order_id).collect();
                for Unreadable { order_id, detail, .. } in rows.unreadable.iter().cloned() {
                    let seen = page.entry(order_id).or_default();
                    seen.exists = true;
                    seen.problems.push(IssueKind::Unreadable(detail));
                }
                for row in select_orders(connection, &PARKING, &not_received, "").await?.iter() {
                    page.entry(row.id()?).or_default().add_parking(&row);
                }
                for row in rows.iter() {
                    page.entry(row.id()?).or_default().add_row(&row, now);
                }
                add_events(connection, &ids, &mut page).await?;
                // An order that has been removed meanwhile, with its events.
                page.retain(|_, seen| seen.exists || !seen.stored.is_empty());
                Ok(page)
            })
        })
        .await
    }
}

/// Reads the stored events of these orders.
async fn add_events(connection: &mut Connection, ids: &[OrderId], page: &mut Orders) -> Result<(), Error> {
    let mut pieces: Vec<&[OrderId]> = ids.chunks(MAX_ROWS_PER_STATEMENT).collect();
    while let Some(piece) = pieces.pop() {
        let mut sql = Statement::new(format!("SELECT {} FROM order_events WHERE order_id", columns::EVENT));
        sql.push_in_padded(piece.iter().copied());
        match sql.fetch(connection).await {
            Ok(rows) => {
                for row in rows {
                    let seen = page.entry(rows::id(&row, 0)?).or_default();
                    match timeline::between(&row) {
                        Ok((_, sequence, moment)) => drop(seen.stored.insert(sequence, moment)),
                        Err(error) => seen.unreadable(&error),
                    }
                }
            }
            Err(error) if error.cause().is_none() => return Err(error),
            Err(error) if piece.len() == 1 => page.entry(piece[0]).or_default().unreadable(&error),
            Err(_) => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.extend([first, second]);
            }
        }
    }
    Ok(())
}

impl InspectedOrder {
    /// Takes all columns in.
    fn add_row(&mut self, row: &OrderRow<'_>, now: Timestamp) {
        self.exists = true;
        match columns::state(row) {
            Ok(locked) => {
                self.state = Some(locked.state);
                if let Some(due) = stalled(&locked.state, row.get(Column::DueAt).ok(), now) {
                    self.problems.push(IssueKind::Stalled(due));
                }
                match columns::order(row).map(|order| order.approximate_bytes()) {
                    Ok(bytes) if bytes > LARGEST_ORDER => self.problems.push(IssueKind::TooLarge(bytes)),
                    Ok(_) => {}
                    Err(error) => self.unreadable(&error),
                }
            }
            Err(error) => self.unreadable(&error),
        }
        match InlineEvents::new(row) {
            Ok(ends) => self.ends = Some(ends),
            // It has most columns in common with the state.
            Err(error) if self.state.is_some() => self.unreadable(&error),
            Err(_) => {}
        }
        self.add_parking(row);
    }

    /// Says whether it is parked.
    fn add_parking(&mut self, row: &OrderRow<'_>) {
        if row.get(Column::DueAt).is_ok_and(is_parked) {
            self.problems.push(IssueKind::Parked(row.time(Column::HeldUntil).unwrap_or_default()));
        }
    }

    fn unreadable(&mut self, error: &Error) {
        let id = OrderId::from_bytes([0; 16]);
        self.problems.push(IssueKind::Unreadable(Unreadable::new(id, error).detail));
    }
}

/// Until when an order waits that waits for too long. Dispatch and the workers get some time to notice.
fn stalled(state: &OrderState, due_at: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    let due = state.due_at?;
    let waits = due_at == Some(due.as_micros());
    let longest = if waits {
        if scheduled_start(state).is_some_and(|at| at > now) {
            return None;
        }
        wait_after_clock_step(state, now)?
    } else {
        LONGEST_HOLD
    };
    (due > now + longest + NOTICED).then_some(due)
}

/// What is wrong with one order.
fn problems(seen: &InspectedOrder) -> Vec<IssueKind> {
    if !seen.exists {
        return vec![IssueKind::NoOrder];
    }
    let mut problems = seen.problems.clone();
    let (Some(state), Some(ends)) = (&seen.state, &seen.ends) else { return problems };
    // What is also in the row is one too many.
    let sequences: Vec<u32> = seen.stored.keys().copied().collect();
    if !sequences.iter().copied().eq(ends.stored()) {
        problems.push(IssueKind::Gap { version: state.version, sequences });
    }
    let mut before: Option<Status> = None;
    for (sequence, EventRow { status, .. }) in ends.clone().timeline(seen.stored.clone()) {
        let declared = match before {
            None => status == Status::Pending,
            Some(before) => before.can_become(status),
        };
        if !declared {
            problems.push(IssueKind::Undeclared(sequence));
        }
        before = Some(status);
    }
    match (state.status.is_final(), state.due_at) {
        (false, None) => problems.push(IssueKind::NeverDue(state.status)),
        (true, Some(_)) => problems.push(IssueKind::FinalButDue(state.status)),
        (false, Some(_)) | (true, None) => {}
    }
    if state.status == Status::Processing && state.lease.is_none() {
        problems.push(IssueKind::NoLease);
    }
    problems
}
