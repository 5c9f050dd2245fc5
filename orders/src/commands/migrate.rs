//! `orders migrate`: migrates the database, for installations whose gateways do not migrate at start.

use crate::cli::MigrateArgs;
use crate::error::Error;
use crate::output::Progress;
use crate::{console, log, startup};

/// Migrates the database. Does not wait for a server.
pub(super) async fn run(args: MigrateArgs) -> Result<(), Error> {
    log::install(args.log.log_format)?;
    let mut progress = Progress::start_without_estimate();
    let store = startup::open_migrated_database(&args.database, &mut progress).await?;
    store.close().await;
    console::print(&format!("The schema is up to date in {}\n", args.database.url()))
}
