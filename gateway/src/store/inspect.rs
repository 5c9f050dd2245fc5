//! Looks whether what the store holds agrees with the rules. For `orders doctor` and for tests; reads
//! every order once, in small pages, and may run beside everything else.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::transition::State;
use domain::{OrderId, Status};
use sqlx::AnyConnection;

use super::rows::Locked;
use super::sql::Sql;
use super::timeline::{Ends, Moment};
use super::{Error, Store, rows, timeline};

/// Orders read in one go.
const PAGE: i64 = 500;

/// Something that cannot be, and yet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The order.
    pub order_id: OrderId,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
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
}

impl Problem {
    /// Whether [`Store::repair`] can mend it without deciding anything about the order.
    pub fn is_repairable(&self) -> bool {
        match self {
            Self::NeverDue(_) | Self::FinalButDue(_) => true,
            Self::NoOrder | Self::Gap { .. } | Self::Undeclared(_) | Self::NoLease => false,
        }
    }
}

/// What a look at all orders has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Orders by status.
    pub by_status: BTreeMap<Status, u64>,
    /// Orders that have been due for longer than `overdue_after`.
    pub overdue: u64,
    /// How long the order that could be started and has waited longest has been waiting.
    pub oldest_claimable: Option<Duration>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many orders there are.
    pub fn accepted(&self) -> u64 {
        self.by_status.values().sum()
    }
}

struct Seen {
    state: State,
    ends: Ends,
    stored: BTreeMap<u32, Moment>,
}

/// `None` for what only has events.
type Orders = BTreeMap<OrderId, Option<Seen>>;

impl Store {
    /// Looks at every order. What seems wrong is looked at once more: an order may have changed
    /// between the reading of its row and of its events.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn inspect(&self, overdue_after: Duration) -> Result<Report, Error> {
        let mut report = Report { oldest_claimable: self.oldest_claimable().await?, ..Report::default() };
        let mut after = OrderId::from_bytes([0; 16]);
        loop {
            let (page, last) = self.page(after).await?;
            let now = self.now();
            for (id, seen) in &page {
                if let Some(Seen { state, .. }) = seen {
                    *report.by_status.entry(state.status).or_default() += 1;
                    report.overdue += u64::from(state.due_at.is_some_and(|due| due + overdue_after < now));
                }
                if !problems(seen.as_ref()).is_empty() {
                    let again = self.range(*id, *id).await?;
                    let still = again.get(id).map(|seen| problems(seen.as_ref())).unwrap_or_default();
                    report
                        .findings
                        .extend(still.into_iter().map(|problem| Finding { order_id: *id, problem }));
                }
            }
            match last {
                Some(last) => after = last,
                None => return Ok(report),
            }
        }
    }

    /// Mends what [`Problem::is_repairable`] says can be mended: an order that is not final becomes
    /// due, one that is final does not stay so. Says for how many orders that was needed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repair(&self) -> Result<u64, Error> {
        let now = self.now().as_micros();
        self.write(|connection| {
            Box::pin(async move {
                let mut pending = Sql::new(
                    "UPDATE orders SET stage = 'waiting', due_at = not_before, held_until = 0 \
                     WHERE status = 'pending' AND stage <> 'held' AND (stage <> 'waiting' OR due_at = ?)",
                );
                pending.bind(rows::NEVER);
                let mut processing = Sql::new(
                    "UPDATE orders SET stage = 'held', due_at = ?, held_until = ? \
                     WHERE status = 'processing' AND stage <> 'held'",
                );
                processing.bind(rows::NEVER).bind(now);
                let mut done = Sql::new(
                    "UPDATE orders SET stage = status, due_at = ?, held_until = 0 \
                     WHERE status IN ('completed', 'failed', 'cancelled') AND stage <> status",
                );
                done.bind(rows::NEVER);
                let mut mended = 0;
                for sql in [pending, processing, done] {
                    mended += sql.execute(connection).await?;
                }
                Ok(mended)
            })
        })
        .await
    }

    /// The orders that follow `after`, and the id to go on from; with the last page also whatever
    /// events lie behind the last order.
    async fn page(&self, after: OrderId) -> Result<(Orders, Option<OrderId>), Error> {
        let last = self
            .read(move |connection| {
                Box::pin(async move {
                    let mut sql = Sql::new("SELECT id FROM orders WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?");
                    sql.bind(after.as_bytes().to_vec()).bind(PAGE - 1);
                    sql.fetch(connection).await?.first().map(|row| rows::id(row, 0)).transpose()
                })
            })
            .await?;
        let mut page = self.range(after, last.unwrap_or(OrderId::from_bytes([0xff; 16]))).await?;
        // The order that the page before ended with.
        page.remove(&after);
        Ok((page, last))
    }

    /// The orders with ids from `first` to `last`, both included, with their events; `None` for ids
    /// that only have events.
    async fn range(&self, first: OrderId, last: OrderId) -> Result<Orders, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut page = BTreeMap::new();
                let orders = format!(
                    "SELECT {}, {} FROM orders WHERE id >= ? AND id <= ?",
                    rows::STATE,
                    timeline::ENDS
                );
                let ends = rows::STATE.split(',').count();
                for row in within(connection, &orders, first, last).await? {
                    let Locked { id, state, .. } = rows::state(&row)?;
                    let ends = Ends::new(&row, ends)?;
                    page.insert(id, Some(Seen { state, ends, stored: BTreeMap::new() }));
                }
                let events = format!(
                    "SELECT {} FROM order_events WHERE order_id >= ? AND order_id <= ?",
                    timeline::BETWEEN
                );
                for row in within(connection, &events, first, last).await? {
                    let (id, sequence, moment) = timeline::between(&row)?;
                    if let Some(seen) = page.entry(id).or_insert(None) {
                        seen.stored.insert(sequence, moment);
                    }
                }
                Ok(page)
            })
        })
        .await
    }
}

async fn within(
    connection: &mut AnyConnection,
    query: &str,
    first: OrderId,
    last: OrderId,
) -> Result<Vec<sqlx::any::AnyRow>, Error> {
    let mut sql = Sql::new(query);
    sql.bind(first.as_bytes().to_vec()).bind(last.as_bytes().to_vec());
    sql.fetch(connection).await
}

/// What is wrong with one order.
fn problems(seen: Option<&Seen>) -> Vec<Problem> {
    let Some(Seen { state, ends, stored }) = seen else { return vec![Problem::NoOrder] };
    let mut problems = Vec::new();
    // What is also in the row is one too many.
    let sequences: Vec<u32> = stored.keys().copied().collect();
    if !sequences.iter().copied().eq(ends.stored()) {
        problems.push(Problem::Gap { version: state.version, sequences });
    }
    let mut before: Option<Status> = None;
    for (sequence, Moment { status, .. }) in ends.clone().timeline(stored.clone()) {
        let declared = match before {
            None => status == Status::Pending,
            Some(before) => before.may_become(status),
        };
        if !declared {
            problems.push(Problem::Undeclared(sequence));
        }
        before = Some(status);
    }
    match (state.status.is_final(), state.due_at) {
        (false, None) => problems.push(Problem::NeverDue(state.status)),
        (true, Some(_)) => problems.push(Problem::FinalButDue(state.status)),
        (false, Some(_)) | (true, None) => {}
    }
    if state.status == Status::Processing && state.lease.is_none() {
        problems.push(Problem::NoLease);
    }
    problems
}
