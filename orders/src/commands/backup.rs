//! `orders backup`: copies the SQLite file, also while a process uses it.

use gateway::store::{BackupError, back_up};

use crate::cli::BackupArgs;
use crate::error::{Error, Kind};
use crate::values::DatabaseUrl;
use crate::{console, log};

/// Copies the file. A database server has its own backup tools.
pub(super) async fn run(args: BackupArgs) -> Result<(), Error> {
    log::install(args.log.log_format)?;
    let database = match args.database.url() {
        DatabaseUrl::Sqlite(path) => path,
        DatabaseUrl::MySql(_) => {
            return Err(Error::usage("orders backup copies SQLite databases only").hint(
                "back up a server with its own tool: mysqldump --single-transaction DATABASE > FILE (docs/operate/backup.md)",
            ));
        }
    };
    let bytes = back_up(&database, &args.file).await.map_err(|error| {
        let (kind, hint) = match &error {
            BackupError::Missing(_) => (Kind::NotFound, "set the folder with --data-dir (ORDERS_DATA_DIR)"),
            BackupError::Exists(_) => (Kind::Refused, "give a file that does not exist"),
            BackupError::Write { .. } | BackupError::Copy(_) => {
                (Kind::Failed, "check the free space and the permissions of the folder")
            }
        };
        Error::new(kind, error.to_string()).hint(hint)
    })?;
    console::print(&format!("{} has {bytes} bytes\n", args.file.display()))
}
