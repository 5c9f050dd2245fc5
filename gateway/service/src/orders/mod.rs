//! The use cases. The APIs change orders only through them.
//!
//! A create, a cancellation and a command of a worker run in a group commit with other requests of their kind (see
//! `group_commit`), in one transaction; reads, pausing and resuming do not. After COMMIT the use case wakes dispatch and
//! publishes the events in background tasks, so a client never waits for the queue or the bus.

mod answers;
mod attempts;
mod command_batch;
mod counts;
mod create;
mod create_batch;
mod criteria;
mod cursor;
mod dead_letters;
mod list;
mod queue;
mod read;
mod use_cases;

pub use answers::Started;
pub use counts::COUNTS_FRESH;
pub use create::{Created, CreatedRows, ErrorPolicy, Row, RowOutcome};
pub use criteria::{Criteria, FILTER_FIELDS, InvalidCriterion, MAX_ITEM_CONTAINS};
pub use cursor::{Cursor, InvalidCursor};
pub use dead_letters::{MAX_RATE, MAX_REDRIVEN, Redrive, Redriven, Requester};
pub use list::{Listing, Page, Take};
pub use use_cases::Orders;
