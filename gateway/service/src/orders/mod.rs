//! The use cases. The APIs change orders only through them.
//!
//! A create, a cancellation and a command of a worker run in a group commit with other requests of their kind (see
//! `group_commit`). The group is one transaction. Reads, pausing and resuming do not use it. After COMMIT the use case
//! wakes dispatch and publishes the events in background tasks, so a client never waits for the queue or the bus.

mod actor;
mod answers;
mod attempts;
mod bulk_cancel;
mod command_batch;
mod counts;
mod create;
mod create_batch;
mod dead_letters;
mod direct_start;
mod export;
mod list;
mod metadata;
mod notes;
mod open_orders;
mod page_cursor;
mod queue;
mod read;
mod replace;
mod undeliver;
mod use_cases;

pub use actor::Actor;
pub use answers::StartOutcome;
pub use bulk_cancel::{BulkCancel, BulkCancelled, MAX_CANCELLED};
pub use counts::COUNTS_FRESH;
pub use create::{BulkCreated, BulkRow, BulkRowOutcome, Created, ErrorPolicy};
pub use dead_letters::{MAX_RATE, MAX_REDRIVEN, Redrive, Redriven};
pub use export::{EXPORT_PAGE, Export, MAX_EXPORTED};
pub use list::{ListQuery, Page, Take};
pub use page_cursor::{InvalidCursor, PageCursor};
pub use use_cases::{MAX_EXPORTS, Orders};
