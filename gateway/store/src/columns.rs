//! The columns of the table `orders`.
//!
//! A new column is one entry of the table below: its name, what an INSERT writes, and how an order reads it. The lists of
//! columns in statements, the INSERT and the decoding of rows follow from the entries. What an order reads is one of its
//! fields, or in braces one of its content.

use std::sync::LazyLock;

use domain::transition::OrderState;
use domain::{
    Content, Currency, Kind, LeaseToken, Metadata, Money, Order, OrderId, Priority, Status, TenantId,
    Timestamp, TraceContext, WorkerName,
};

use super::Error;
use super::create_request::NewOrder;
use super::insert_plan::DirectStart;
use super::row::{FromColumn, Row};
use super::rows::{self, DispatchState, HELD, LockedRow, NEVER, WAITING};
use super::statement::{Statement, Value};
use super::unreadable::Unreadable;

/// What an INSERT writes into a column.
enum Insert {
    /// A value of the order.
    Bound(for<'v> fn(&NewRow<'v>) -> Value<'v>),
    /// The same for every order, as a part of the statement: a bound value costs time for each order.
    Text(&'static str),
    /// A value that few orders have. A statement for orders without it leaves the column out.
    Rare(for<'v> fn(&NewRow<'v>) -> Value<'v>),
    /// Nothing: the column has a default.
    Default,
}

/// A row that an INSERT writes.
pub(super) struct NewRow<'v> {
    pub(super) order: &'v NewOrder,
    pub(super) stage: DispatchState,
    /// Of an order that is started in the same transaction.
    pub(super) start: Option<&'v DirectStart>,
}

macro_rules! columns {
    ($($(#[$comment:meta])* $column:ident $name:literal $insert:expr $(=> $field:ident: $read:path)? $(=> {$part:ident: $read_part:path})?;)*) => {
        /// A column of `orders`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Column { $($(#[$comment])* $column),* }

        impl Column {
            const ALL: &'static [Self] = &[$(Self::$column),*];

            /// The name in SQL.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$column => $name),* }
            }

            fn insert(self) -> Insert {
                match self { $(Self::$column => $insert),* }
            }
        }

        /// Reads the order. Every error is about this row.
        pub(super) fn order(row: &OrderRow<'_>) -> Result<Order, Error> {
            let LockedRow { id, state, tenant, worker, trace } = state(row)?;
            let currency = currency(row)?;
            Ok(Order {
                id,
                tenant_id: tenant,
                status: state.status,
                version: state.version,
                attempt: state.attempt,
                failures: state.failures,
                not_before: state.not_before,
                updated_at: state.updated_at,
                worker,
                trace,
                content: Content {
                    max_attempts: state.max_attempts,
                    process_after: state.process_after,
                    $($($part: $read_part(row, Column::$column, currency)?,)?)*
                },
                $($($field: $read(row, Column::$column, currency)?,)?)*
            })
        }
    };
}

columns! {
    Id "id" Insert::Bound(|new| new.order.id.into());
    TenantId "tenant_id" Insert::Bound(|new| new.order.tenant_id.as_str().into());
    ExternalReference "external_reference" Insert::Bound(|new| new.order.external_reference.as_deref().into())
        => {external_reference: value};
    Customer "customer" Insert::Bound(|new| new.order.customer.as_deref().into()) => {customer: value};
    LineItems "line_items" Insert::Bound(|new| rows::line_items_to_json(&new.order.line_items).into())
        => {line_items: line_items};
    Currency "currency" Insert::Bound(|new| new.order.total.currency().code().to_owned().into());
    Total "total_minor" Insert::Bound(|new| new.order.total.minor().into()) => {total: money};
    Quantity "quantity" Insert::Bound(|new| i64::try_from(new.order.quantity).unwrap_or(i64::MAX).into())
        => {quantity: number};
    Status "status" Insert::Text("'pending'");
    Version "version" Insert::Text("1");
    Attempt "attempt" Insert::Text("0");
    Failures "failures" Insert::Text("0");
    MaxAttempts "max_attempts" Insert::Bound(|new| i64::from(new.order.max_attempts).into());
    LeaseToken "lease_token" Insert::Text("0");
    NotBefore "not_before" Insert::Bound(|new| new.order.not_before.as_micros().into());
    ProcessAfter "process_after" Insert::Bound(|new| new.order.process_after.map(Timestamp::as_micros).into());
    Priority "priority" Insert::Bound(|new| new.order.priority.as_str().into()) => {priority: priority};
    Reason "reason" Insert::Text("NULL") => reason: value;
    ErrorClass "error_class" Insert::Default => error_class: value;
    CreatedAt "created_at" Insert::Bound(|new| new.order.created_at.as_micros().into()) => created_at: time;
    UpdatedAt "updated_at" Insert::Bound(|new| new.order.created_at.as_micros().into());
    DispatchState "stage" Insert::Bound(|new| new.stage.name.into());
    DueAt "due_at" Insert::Bound(|new| new.stage.due_at.into());
    HeldUntil "held_until" Insert::Bound(|new| new.stage.held_until.into());
    Worker "worker" Insert::Default;
    Trace "trace" Insert::Bound(|new| new.order.trace.map(|trace| trace.to_bytes().to_vec()).into());
    Kind "kind" Insert::Rare(|new| new.order.kind.as_str().into()) => {kind: kind};
    Metadata "metadata"
        Insert::Rare(|new| (!new.order.metadata.is_empty()).then(|| new.order.metadata.to_json()).into())
        => {metadata: metadata};
    Replaces "replaces" Insert::Rare(|new| new.order.replaces.into()) => replaces: optional_id;
    ReplacedBy "replaced_by" Insert::Default => replaced_by: optional_id;
    // The event before the latest one.
    PreviousStatus "previous_status" Insert::Default;
    PreviousAttempt "previous_attempt" Insert::Default;
    PreviousReason "previous_reason" Insert::Default;
    PreviousAt "previous_at" Insert::Default;
    PreviousErrorClass "previous_error_class" Insert::Default;
}

/// The columns of [`order`]: all but those of the previous event, which come last.
pub(super) static ORDER: Selection = Selection::new(Column::ALL.split_at(Column::PreviousStatus as usize).0);

/// The columns of [`state`].
pub(super) static STATE: Selection = Selection::new(&[
    Column::Id,
    Column::TenantId,
    Column::Status,
    Column::Version,
    Column::Attempt,
    Column::Failures,
    Column::MaxAttempts,
    Column::LeaseToken,
    Column::DueAt,
    Column::NotBefore,
    Column::ProcessAfter,
    Column::UpdatedAt,
    Column::DispatchState,
    Column::HeldUntil,
    Column::Worker,
    Column::Trace,
]);

/// Only the id.
pub(super) static ID: Selection = Selection::new(&[Column::Id]);

/// Every column.
pub(super) static ALL: Selection = Selection::new(Column::ALL);

/// Columns that a statement selects, and their places in its rows.
pub(super) struct Selection {
    columns: &'static [Column],
    /// The place of each column; [`ABSENT`] for one that is not selected.
    places: [u8; Column::ALL.len()],
}

const ABSENT: u8 = u8::MAX;

impl Selection {
    pub(super) const fn new(columns: &'static [Column]) -> Self {
        let mut places = [ABSENT; Column::ALL.len()];
        let mut place = 0;
        while place < columns.len() {
            places[columns[place] as usize] = place as u8;
            place += 1;
        }
        Self { columns, places }
    }

    /// Adds the names to a statement. The id is that of `orders`, where a statement joins it with another table.
    pub(super) fn push(&self, sql: &mut Statement<'_>) {
        for (place, column) in self.columns.iter().enumerate() {
            sql.push(if place == 0 { "" } else { ", " });
            sql.push(if *column == Column::Id { "orders." } else { "" }).push(column.name());
        }
    }

    /// Names the values of a row of such a statement.
    pub(super) fn of<'r>(&'static self, row: &'r Row) -> OrderRow<'r> {
        OrderRow { row, selection: self }
    }
}

/// A row of `orders`, whose values have the names of their columns.
#[derive(Clone, Copy)]
pub(super) struct OrderRow<'r> {
    row: &'r Row,
    selection: &'static Selection,
}

impl<'r> OrderRow<'r> {
    pub(super) fn get<T: FromColumn<'r>>(&self, column: Column) -> Result<T, Error> {
        self.row.get(self.place(column)?)
    }

    pub(super) fn id(&self) -> Result<OrderId, Error> {
        rows::id(self.row, self.place(Column::Id)?)
    }

    pub(super) fn tenant(&self) -> Result<TenantId, Error> {
        let text: &str = self.get(Column::TenantId)?;
        text.parse().map_err(|error| Error::Row(format!("tenant_id '{text}' is {error}")))
    }

    pub(super) fn number<N: TryFrom<i64>>(&self, column: Column) -> Result<N, Error> {
        rows::number(self.row, self.place(column)?)
    }

    pub(super) fn time(&self, column: Column) -> Result<Timestamp, Error> {
        rows::time(self.row, self.place(column)?)
    }

    pub(super) fn status(&self, column: Column) -> Result<Status, Error> {
        rows::status(self.get(column)?)
    }

    fn place(&self, column: Column) -> Result<usize, Error> {
        match self.selection.places[column as usize] {
            ABSENT => Err(Error::Row(format!("{} is not selected", column.name()))),
            place => Ok(place.into()),
        }
    }
}

/// The kind of an INSERT, from which its columns follow.
#[derive(Clone, Copy)]
pub(super) struct InsertKind {
    /// The orders are started in the same transaction.
    is_started: bool,
    /// Some of the orders have values that few orders have.
    has_rare: bool,
}

impl InsertKind {
    /// Returns the kind for these orders.
    pub(super) fn of(orders: &[&NewOrder], is_started: bool) -> Self {
        let is_rare = |order: &&NewOrder| {
            !order.metadata.is_empty() || !order.kind.is_default() || order.replaces.is_some()
        };
        Self { is_started, has_rare: orders.iter().any(is_rare) }
    }

    fn template(self) -> &'static InsertTemplate {
        &TEMPLATES[usize::from(self.is_started)][usize::from(self.has_rare)]
    }
}

/// Begins an INSERT of `count` rows, whose values [`bind`] binds.
pub(super) fn insert<'v>(count: usize, kind: InsertKind) -> Statement<'v> {
    let template = kind.template();
    let mut sql = Statement::new(template.head.as_str());
    sql.rows(count, &template.row);
    sql
}

/// Binds the values of one row of an [`insert`] of the same kind.
pub(super) fn bind<'v>(sql: &mut Statement<'v>, new: &NewRow<'v>, kind: InsertKind) {
    for value in &kind.template().values {
        sql.bind(value(new));
    }
}

/// Returns what the INSERT of a started order writes into a column, where it differs: the row has event 2, and event 1 as
/// the one before.
fn insert_of_started(column: Column) -> Insert {
    match column {
        Column::Status => Insert::Text("'processing'"),
        Column::Version => Insert::Text("2"),
        Column::Attempt => Insert::Text("1"),
        Column::LeaseToken => Insert::Bound(|new| new.start.map_or(0, |start| start.lease.as_i64()).into()),
        Column::UpdatedAt => Insert::Bound(|new| {
            new.start.map_or(new.order.created_at, |start| start.at(new.order)).as_micros().into()
        }),
        Column::Worker => Insert::Bound(|new| {
            let worker = new.start.and_then(|start| start.worker.as_ref());
            rows::padded_worker(worker.map(WorkerName::as_str)).into()
        }),
        Column::PreviousStatus => Insert::Text("'pending'"),
        Column::PreviousAttempt => Insert::Text("0"),
        Column::PreviousAt => Insert::Bound(|new| new.order.created_at.as_micros().into()),
        column => column.insert(),
    }
}

/// A column of `order_events`, whose statements select all of them in this sequence.
#[derive(Debug, Clone, Copy)]
pub(super) enum EventColumn {
    OrderId,
    Sequence,
    Status,
    Attempt,
    Reason,
    OccurredAt,
    ErrorClass,
    Worker,
}

/// The columns of `order_events`.
pub(super) const EVENT: &str =
    "order_id, sequence, status, attempt, reason, occurred_at, error_class, worker";
/// The same values of the event that a row of `orders` moves out.
pub(super) const MOVED_EVENT: &str = "id, version - 1, previous_status, previous_attempt, previous_reason, previous_at, \
    previous_error_class, CASE WHEN previous_status = 'processing' THEN worker END";

struct InsertTemplate {
    head: String,
    row: String,
    values: Vec<for<'v> fn(&NewRow<'v>) -> Value<'v>>,
}

/// The templates of each [`InsertKind`].
static TEMPLATES: LazyLock<[[InsertTemplate; 2]; 2]> = LazyLock::new(|| {
    [Column::insert, insert_of_started]
        .map(|insert: fn(Column) -> Insert| [false, true].map(|rare| InsertTemplate::new(insert, rare)))
});

impl InsertTemplate {
    fn new(insert: fn(Column) -> Insert, has_rare: bool) -> Self {
        let (mut names, mut row, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for column in Column::ALL {
            match insert(*column) {
                Insert::Bound(value) => {
                    row.push("?");
                    values.push(value);
                }
                Insert::Rare(value) if has_rare => {
                    row.push("?");
                    values.push(value);
                }
                Insert::Text(text) => row.push(text),
                Insert::Rare(_) | Insert::Default => continue,
            }
            names.push(column.name());
        }
        let head = format!("INSERT INTO orders ({}) VALUES ", names.join(", "));
        Self { head, row: format!("({})", row.join(",")), values }
    }
}

/// Reads the state of an order.
pub(super) fn state(row: &OrderRow<'_>) -> Result<LockedRow, Error> {
    let status = row.status(Column::Status)?;
    let version = row.number(Column::Version)?;
    // Each order has event 1, and the next one has a number as well.
    if !(1..u32::MAX).contains(&version) {
        return Err(Error::Row(format!("version is out of range: {version}")));
    }
    let due_at = match (status, row.get(Column::DispatchState)?) {
        (Status::Pending, WAITING) => {
            Some(row.get(Column::DueAt)?).filter(|due| *due != NEVER).map(Timestamp::from_micros)
        }
        (Status::Pending | Status::Processing, HELD) => Some(row.time(Column::HeldUntil)?),
        // An order that is not final has to be in one of these stages, and one that is final in none.
        (Status::Completed | Status::Failed | Status::Cancelled, stage) if stage != status.as_str() => {
            Some(row.time(Column::UpdatedAt)?)
        }
        _ => None,
    };
    Ok(LockedRow {
        id: row.id()?,
        tenant: row.tenant()?,
        worker: rows::worker(row.get(Column::Worker)?),
        trace: row.get::<Option<&[u8]>>(Column::Trace)?.and_then(TraceContext::from_bytes),
        state: OrderState {
            status,
            version,
            attempt: row.number(Column::Attempt)?,
            failures: row.number(Column::Failures)?,
            max_attempts: row.number(Column::MaxAttempts)?,
            lease: LeaseToken::from_i64(row.get(Column::LeaseToken)?),
            due_at,
            not_before: row.time(Column::NotBefore)?,
            process_after: row.get::<Option<i64>>(Column::ProcessAfter)?.map(Timestamp::from_micros),
            updated_at: row.time(Column::UpdatedAt)?,
        },
    })
}

/// Reads the id of the order, and what [`order`] says of the rest.
pub(super) fn whole(row: &OrderRow<'_>) -> Result<(OrderId, Result<Order, Unreadable>), Error> {
    let id = row.id()?;
    Ok((id, order(row).map_err(|error| Unreadable::new(id, &error))))
}

fn currency(row: &OrderRow<'_>) -> Result<Currency, Error> {
    let text: &str = row.get(Column::Currency)?;
    text.parse().map_err(|error| Error::Row(format!("currency '{text}' {error}")))
}

// How an order reads a column. Amounts need the currency of the order.

fn value<'r, T: FromColumn<'r>>(row: &OrderRow<'r>, column: Column, _: Currency) -> Result<T, Error> {
    row.get(column)
}

fn number(row: &OrderRow<'_>, column: Column, _: Currency) -> Result<u64, Error> {
    row.number(column)
}

fn time(row: &OrderRow<'_>, column: Column, _: Currency) -> Result<Timestamp, Error> {
    row.time(column)
}

fn money(row: &OrderRow<'_>, column: Column, currency: Currency) -> Result<Money, Error> {
    Ok(Money::from_minor(row.get(column)?, currency))
}

fn line_items(
    row: &OrderRow<'_>,
    column: Column,
    currency: Currency,
) -> Result<Vec<domain::LineItem>, Error> {
    rows::line_items_from_json(row.get(column)?, currency)
}

fn metadata(row: &OrderRow<'_>, column: Column, _: Currency) -> Result<Metadata, Error> {
    row.get::<Option<&str>>(column)?.map_or(Ok(Metadata::default()), rows::metadata_from_json)
}

fn optional_id(row: &OrderRow<'_>, column: Column, _: Currency) -> Result<Option<OrderId>, Error> {
    rows::optional_id(row.get(column)?)
}

fn kind(row: &OrderRow<'_>, column: Column, _: Currency) -> Result<Kind, Error> {
    let text: &str = row.get(column)?;
    text.parse().map_err(|error| Error::Row(format!("kind '{text}' {error}")))
}

fn priority(row: &OrderRow<'_>, column: Column, _: Currency) -> Result<Priority, Error> {
    let text: &str = row.get(column)?;
    text.parse().map_err(|_| Error::Row(format!("'{text}' is not a priority")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both schema files have exactly these columns.
    #[test]
    fn the_table_has_the_columns_of_the_schema() {
        for (file, later) in [
            (
                include_str!("../../../migrations/mysql/0001_orders.sql"),
                [
                    include_str!("../../../migrations/mysql/0005_operations.sql"),
                    include_str!("../../../migrations/mysql/0006_traces.sql"),
                    include_str!("../../../migrations/mysql/0007_order_data.sql"),
                ],
            ),
            (
                include_str!("../../../migrations/sqlite/0001_orders.sql"),
                [
                    include_str!("../../../migrations/sqlite/0005_operations.sql"),
                    include_str!("../../../migrations/sqlite/0006_traces.sql"),
                    include_str!("../../../migrations/sqlite/0007_order_data.sql"),
                ],
            ),
        ] {
            let table = file.split("CREATE TABLE orders (").nth(1).unwrap().split("\n)").next().unwrap();
            let mut stored: Vec<&str> = table
                .lines()
                .filter_map(|line| line.strip_prefix("    "))
                .filter_map(|line| line.split_whitespace().next())
                .filter(|word| word.starts_with(char::is_lowercase))
                .collect();
            let later = later.iter().flat_map(|file| file.lines());
            let added = later.filter_map(|line| line.strip_prefix("ALTER TABLE orders ADD COLUMN "));
            stored.extend(added.filter_map(|column| column.split_whitespace().next()));
            let mut known: Vec<&str> = Column::ALL.iter().map(|column| column.name()).collect();
            stored.sort_unstable();
            known.sort_unstable();
            assert_eq!(stored, known);
        }
    }
}
