//! Checks whether the stored orders agree with the rules. For `orders doctor` and for tests.
//!
//! It reads every order once, in small pages, and may run beside all other work.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::transition::{OrderState, scheduled_start, wait_after_clock_step};
use domain::{OrderId, Status, Timestamp};

use super::columns::{Column, OrderRow, Selection};
use super::connection::Connection;
use super::isolate::{LARGEST_ORDER, select_orders};
use super::owner::Owner;
use super::park::is_parked;
use super::statement::{MAX_ROWS_PER_STATEMENT, Statement};
use super::timeline::{EventRow, InlineEvents};
use super::unreadable::{Cause, Unreadable};
use super::{Error, Shard, columns, rows, timeline};

/// Orders of one page.
const PAGE: usize = MAX_ROWS_PER_STATEMENT;

/// Time until a step of the clock is detected and waits are shortened.
const NOTICED: Duration = Duration::from_secs(60);
/// No lease, visibility timeout or parking lasts longer, whatever the settings are.
pub(super) const MAX_HOLD: Duration = Duration::from_secs(24 * 3_600);

/// An integrity violation of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrityIssue {
    /// The order.
    pub order_id: OrderId,
    /// The kind of violation.
    pub kind: IssueKind,
}

/// The kinds of integrity violations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueKind {
    /// Events exist of an order that does not exist.
    #[error("has events but no order")]
    NoOrder,
    /// The stored sequences are not those between the first event and the two latest ones.
    #[error("has version {version} but between its first and its two latest events {sequences:?}")]
    Gap {
        /// The order's version, the sequence of its latest event.
        version: u32,
        /// The sequences that `order_events` has.
        sequences: Vec<u32>,
    },
    /// An event is not a declared transition from the event before it.
    #[error("event {0} does not follow from the one before it")]
    Undeclared(u32),
    /// The order would never be processed again.
    #[error("is {0} but never due")]
    NeverDue(Status),
    /// A final order is due.
    #[error("is {0}, which is final, but due")]
    FinalButDue(Status),
    /// An attempt runs without a lease token, so no worker can finish it.
    #[error("is processing without a lease")]
    NoLease,
    /// A column of the order or of one of its events cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The order is larger than a worker can receive.
    #[error("is too large for a worker: {0} bytes")]
    TooLarge(usize),
    /// This number of rows has an id that is none.
    #[error("stands for {0} orders whose ids do not have 16 bytes")]
    MalformedIds(u64),
    /// The order waits, or is held, for longer than possible: the clock was set back.
    #[error("waits until {0}, because the clock was set back")]
    Stalled(Timestamp),
    /// The order could not be processed and is parked until this time.
    #[error("is parked until {0}")]
    Parked(Timestamp),
}

impl IssueKind {
    /// Returns whether `Store::repair` fixes it without a decision about the order.
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

/// The result of an inspection of all orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntegrityReport {
    /// Orders by status.
    pub by_status: BTreeMap<Status, u64>,
    /// Orders whose row cannot be read, not even its status.
    pub unreadable: u64,
    /// Orders that have been due for longer than `overdue_after`.
    pub overdue: u64,
    /// How long the oldest order that can be started has waited.
    pub oldest_claimable: Option<Duration>,
    /// How far the newest order is ahead of the database's clock, if it is: the clock was set back.
    pub clock_behind: Option<Duration>,
    /// The violations.
    pub issues: Vec<IntegrityIssue>,
}

impl IntegrityReport {
    /// Returns the number of orders.
    pub fn accepted(&self) -> u64 {
        self.by_status.values().sum::<u64>() + self.unreadable
    }
}

/// What was read of an order.
#[derive(Default)]
struct InspectedOrder {
    /// Whether the order has a row, and not only events.
    exists: bool,
    /// `None` when it cannot be read.
    state: Option<OrderState>,
    /// `None` when they cannot be read.
    ends: Option<InlineEvents>,
    stored: BTreeMap<u32, EventRow>,
    /// Violations found while reading.
    problems: Vec<IssueKind>,
}

type Orders = BTreeMap<OrderId, InspectedOrder>;

/// The columns that show whether an order is parked whose row cannot be received.
static PARKING: Selection = Selection::new(&[Column::Id, Column::DueAt, Column::HeldUntil]);

impl Shard {
    /// Checks every order. A violation is checked once more, because an order may change between the reading of its row
    /// and of its events.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn inspect(&self, overdue_after: Duration) -> Result<IntegrityReport, Error> {
        self.inspect_reporting(overdue_after, |_| {}).await
    }

    /// As [`Self::inspect`], and calls `progress` with the number of checked orders after each page.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn inspect_reporting(
        &self,
        overdue_after: Duration,
        mut progress: impl FnMut(u64),
    ) -> Result<IntegrityReport, Error> {
        let (oldest_claimable, clock_behind) = (self.oldest_claimable().await?, self.clock_behind().await?);
        let mut report = IntegrityReport { oldest_claimable, clock_behind, ..IntegrityReport::default() };
        let mut after = OrderId::from_bytes([0; 16]);
        let mut checked = 0;
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
            checked += page.len() as u64;
            progress(checked);
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        report.issues.extend(self.malformed_ids().await?);
        Ok(report)
    }

    /// Returns the number of orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count_all_orders(&self) -> Result<u64, Error> {
        let sql = Statement::new("SELECT COUNT(*) FROM orders");
        let found = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        found.first().map_or(Ok(0), |row| rows::number(row, 0))
    }

    /// Returns those of the orders that no worker can receive, or whose next change would fail.
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

    /// Returns the number of rows without a valid id, under an id that no order has: no statement can name them.
    async fn malformed_ids(&self) -> Result<Option<IntegrityIssue>, Error> {
        let Some(condition) = self.inner.dialect.malformed_id() else { return Ok(None) };
        let sql = Statement::new(format!("SELECT COUNT(*) FROM orders WHERE {condition}"));
        let found = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        let count: u64 = found.first().map_or(Ok(0), |row| rows::number(row, 0))?;
        let order_id = OrderId::from_bytes([0; 16]);
        Ok((count > 0).then_some(IntegrityIssue { order_id, kind: IssueKind::MalformedIds(count) }))
    }

    /// Returns the orders after an id and the id of the next page.
    ///
    /// It includes orphaned events between the orders, and on the last page those after the last order.
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

    /// Returns the ids after `first`, up to `last`, that have events and no order.
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

    /// Reads these orders with their events.
    async fn look(&self, ids: Vec<OrderId>) -> Result<Orders, Error> {
        let now = self.now();
        self.read(move |connection| {
            Box::pin(async move {
                let mut page: Orders = ids.iter().map(|id| (*id, InspectedOrder::default())).collect();
                let rows = select_orders(connection, &columns::ALL, &ids, &Owner::Any, "").await?;
                let not_received: Vec<OrderId> = rows.unreadable.iter().map(|one| one.order_id).collect();
                for Unreadable { order_id, detail, .. } in rows.unreadable.iter().cloned() {
                    let seen = page.entry(order_id).or_default();
                    seen.exists = true;
                    seen.problems.push(IssueKind::Unreadable(detail));
                }
                for row in select_orders(connection, &PARKING, &not_received, &Owner::Any, "").await?.iter() {
                    page.entry(row.id()?).or_default().add_parking(&row);
                }
                for row in rows.iter() {
                    page.entry(row.id()?).or_default().add_row(&row, now);
                }
                add_events(connection, &ids, &mut page).await?;
                // An order that was removed meanwhile, with its events.
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
                    match timeline::overflow_event(&row) {
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
    /// Reads all columns of the row.
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
            // They have most columns in common with the state.
            Err(error) if self.state.is_some() => self.unreadable(&error),
            Err(_) => {}
        }
        self.add_parking(row);
    }

    /// Checks whether the order is parked.
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

/// Returns the end of a wait that is too long. Dispatch and the workers get some time to notice.
fn stalled(state: &OrderState, due_at: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    let due = state.due_at?;
    let waits = due_at == Some(due.as_micros());
    let longest = if waits {
        if scheduled_start(state).is_some_and(|at| at > now) {
            return None;
        }
        wait_after_clock_step(state, now)?
    } else {
        MAX_HOLD
    };
    (due > now + longest + NOTICED).then_some(due)
}

/// Returns the violations of one order.
fn problems(seen: &InspectedOrder) -> Vec<IssueKind> {
    if !seen.exists {
        return vec![IssueKind::NoOrder];
    }
    let mut problems = seen.problems.clone();
    let (Some(state), Some(ends)) = (&seen.state, &seen.ends) else { return problems };
    // An event that the row contains as well is one too many.
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
