//! `orders repair`: repairs the row of an unreadable order, or marks the order as failed.

use gateway::store::Repaired;

use super::keys::failed;
use crate::cli::RepairArgs;
use crate::error::Error;
use crate::{console, log, startup};

/// The reason of an order that is marked as failed without `--reason`.
const DEFAULT_REASON: &str = "marked as failed by an operator because its row was unreadable";

pub(super) async fn run(args: RepairArgs) -> Result<(), Error> {
    log::install(args.log.log_format)?;
    let store = startup::open_existing_database(&args.database).await?;
    let reason = args.fail.then(|| args.reason.as_deref().unwrap_or(DEFAULT_REASON));
    let repaired = store.repair_order(args.id, &args.set, reason).await;
    store.close().await;
    let id = args.id;
    match repaired.map_err(failed)? {
        Repaired::Sound => {
            console::print(&format!("{id} is readable; processing continues from its status\n"))
        }
        Repaired::Failed => console::print(&format!("{id} is marked as failed\n")),
        Repaired::FailedUnreadable(detail) => console::print(&format!(
            "{id} is marked as failed, and still cannot be read: {detail}; --set COLUMN=VALUE gives the column a value\n"
        )),
        Repaired::NotFound => Err(Error::not_found(format!("order {id} not found"))
            .hint("`orders doctor` lists the orders that cannot be read")),
        Repaired::Final => Err(Error::refused(format!("{id} is already completed, failed or cancelled"))
            .hint("set the columns that cannot be read with --set COLUMN=VALUE")),
        Repaired::StillUnreadable(detail) => Err(Error::failed(format!(
            "{id} cannot be read: {detail}; nothing was changed"
        ))
        .hint("give the column a value with --set COLUMN=VALUE, or mark the order as failed with --fail")),
    }
}
