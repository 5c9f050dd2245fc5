//! `orders migrate`: the tables alone, for those who do not want gateways to change them at start.

use crate::cli::MigrateArgs;
use crate::error::Error;
use crate::{console, log, settings, start};

/// Brings the tables up to date. It does not wait for a database that is away.
pub(super) async fn run(args: MigrateArgs) -> Result<(), Error> {
    log::install(args.log.log_format)?;
    let store = start::migrated_database(&args.database).await?;
    store.close().await;
    console::print(&format!("The schema is up to date in {}\n", settings::database(&args.database)))
}
