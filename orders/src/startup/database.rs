//! Opens the database.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway::Store;
use gateway::store::{ConnectError, MigrationProgress, Options, Schema};
use tokio_util::sync::CancellationToken;

use super::data_folder::create_data_folder;
use super::reconnect::ReconnectPause;
use crate::cli::{DEFAULT_DATA_DIR, DatabaseArgs, MigrateMode, StoreArgs, Switch};
use crate::error::{Error, Kind};
use crate::output::{Progress, State};
use crate::values::DatabaseUrl;

/// Opens the database for a gateway, and migrates it as `store` requires.
///
/// Waits without limit for a server that is unreachable or read-only, and for another process that migrates. Returns
/// `None` if `shutdown` comes first. A failure that waiting does not change is an error at once.
pub(super) async fn wait_for_database(
    args: &DatabaseArgs,
    store: &StoreArgs,
    shutdown: &CancellationToken,
) -> Result<Option<Store>, Error> {
    let options = Options {
        connections: store.database_pool_size,
        event_log: store.events == Switch::On,
        ..Options::default()
    };
    let mut args = args.clone();
    let mut pause = ReconnectPause::default();
    loop {
        args.read_file_again();
        let reason = match open_once(&args, &options, store.migrate, shutdown).await {
            Ok(store) => return Ok(Some(store)),
            Err(Unready::Connect(ConnectError::Interrupted)) => return Ok(None),
            Err(Unready::Connect(error)) if error.is_temporary() => error.to_string(),
            Err(unready @ Unready::Older { .. }) if store.migrate == MigrateMode::Wait => unready.to_string(),
            Err(unready) => return Err(unready.into_error(&args)),
        };
        pause.log_throttled(|| tracing::warn!(error = %reason, "waiting for the database"));
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = pause.wait() => {}
        }
    }
}

/// Opens the database, creates it if it is a file, and migrates it. Does not wait for a server.
///
/// A bar shows the progress; without a terminal it is in the log, which then has the form of `--log-format`.
pub(crate) async fn open_migrated_database(
    args: &DatabaseArgs,
    progress: &mut Progress,
) -> Result<Store, Error> {
    let opened = async {
        let store = connect(args, &Options::default()).await?;
        if progress.is_bar() {
            let reported = Mutex::new(None);
            let report = |step: &MigrationProgress| *lock(&reported) = Some(step.clone());
            let state = || lock(&reported).as_ref().map(state_of);
            progress.during(store.migrate_reporting(&report), state).await?;
        } else {
            store.migrate().await?;
        }
        Ok(store)
    };
    opened.await.map_err(|error: ConnectError| connect_error(args, &error))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Describes the running step of a migration.
fn state_of(progress: &MigrationProgress) -> State {
    let MigrationProgress { done, total, version, what, step, rows } = progress;
    let rows = if *rows > 0 { format!(", {rows} rows changed") } else { String::new() };
    let words =
        format!("{done} of {total} steps done, running step {step} of version {version} ({what}){rows}");
    State { done: *done as u64, total: *total as u64, words }
}

/// Opens an existing database without a change to its file and tables. Does not wait for a server.
pub(crate) async fn open_existing_database(args: &DatabaseArgs) -> Result<Store, Error> {
    let options = Options { create: false, ..Options::default() };
    let opened = async {
        let store = connect(args, &options).await?;
        check_schema(&store).await?;
        Ok(store)
    };
    opened.await.map_err(|unready: Unready| unready.into_error(args))
}

/// Opens an existing database for a command that a running gateway can do as well.
///
/// `instead` states how, for the user of an SQLite file that the gateway holds.
pub(crate) async fn open_database_beside_gateway(args: &DatabaseArgs, instead: &str) -> Result<Store, Error> {
    let options = Options { create: false, ..Options::default() };
    let opened = async {
        let store = connect(args, &options).await?;
        check_schema(&store).await?;
        Ok(store)
    };
    opened.await.map_err(|unready: Unready| match unready {
        Unready::Connect(error @ ConnectError::InUse(_)) => Error::refused(error.to_string()).hint(format!(
            "an SQLite file belongs to one process: {instead}, or stop the process that uses the file"
        )),
        Unready::Connect(error @ ConnectError::Missing(_)) => Error::not_found(error.to_string())
            .hint("`orders migrate` creates the database; then repeat this command"),
        other => other.into_error(args),
    })
}

/// The reason why a database cannot be used yet.
enum Unready {
    Connect(ConnectError),
    Older { found: i64, needed: i64 },
}

impl From<ConnectError> for Unready {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Older { found: 0, .. } => {
                f.write_str("the database has no complete schema of this program")
            }
            Self::Older { found, needed } => {
                write!(f, "the schema has version {found}, and this program needs version {needed}")
            }
        }
    }
}

impl Unready {
    fn into_error(self, args: &DatabaseArgs) -> Error {
        match self {
            Self::Connect(error) => connect_error(args, &error),
            older @ Self::Older { .. } => Error::failed(format!("{older} ({})", args.url())).hint(
                "`orders migrate` creates and updates the schema; check that this is the intended database",
            ),
        }
    }
}

async fn open_once(
    args: &DatabaseArgs,
    options: &Options,
    migrate: MigrateMode,
    shutdown: &CancellationToken,
) -> Result<Store, Unready> {
    let store = connect(args, options).await?;
    store.check_file_content().await?;
    match migrate {
        MigrateMode::Auto => store.migrate_while(&|| !shutdown.is_cancelled()).await?,
        MigrateMode::Off | MigrateMode::Wait => check_schema(&store).await?,
    }
    store.check_writable().await?;
    Ok(store)
}

async fn check_schema(store: &Store) -> Result<(), Unready> {
    match store.schema().await? {
        Schema::Current => Ok(()),
        Schema::Older { found, needed } => Err(Unready::Older { found, needed }),
    }
}

async fn connect(args: &DatabaseArgs, options: &Options) -> Result<Store, ConnectError> {
    let url = args.url();
    if let DatabaseUrl::Sqlite(path) = &url
        && options.create
    {
        let is_default = !args.has_url() && args.data_dir == Path::new(DEFAULT_DATA_DIR);
        create_data_folder(path, is_default)?;
    }
    Store::connect(&url.expose_secret(), options).await
}

/// Returns the meaning of an error for scripts.
fn kind_of(error: &ConnectError) -> Kind {
    match error {
        ConnectError::InvalidUrl { .. } => Kind::Usage,
        ConnectError::Missing(_) => Kind::NotFound,
        ConnectError::Refused(_) | ConnectError::InUse(_) | ConnectError::Privileges { .. } => Kind::Refused,
        ConnectError::Unreachable { .. } => Kind::Unavailable,
        ConnectError::OtherDatabase
        | ConnectError::NeedsTls
        | ConnectError::File(_)
        | ConnectError::Damaged(_)
        | ConnectError::ReadOnly(_)
        | ConnectError::Misconfigured(_)
        | ConnectError::UnsafeEngine { .. }
        | ConnectError::Newer { .. }
        | ConnectError::Development
        | ConnectError::Interrupted
        | ConnectError::Migration(_) => Kind::Failed,
    }
}

fn connect_error(args: &DatabaseArgs, error: &ConnectError) -> Error {
    const SETTING: &str = "--database-url (DATABASE_URL)";
    let file = if args.has_url() { SETTING } else { "--data-dir (ORDERS_DATA_DIR)" };
    let hint = match error {
        ConnectError::InvalidUrl { hint, .. } => format!("correct {SETTING}: {hint}"),
        ConnectError::Refused(_) | ConnectError::OtherDatabase => {
            format!("check the user, the password and the database's name in {SETTING}")
        }
        ConnectError::NeedsTls => {
            format!(
                "connect with TLS (ssl-mode=REQUIRED in {SETTING}), or use an account with another plugin"
            )
        }
        ConnectError::File(_) => {
            format!("the file and its folder must be writable; the path is from {file}")
        }
        ConnectError::InUse(_) => {
            format!("only one process can use the file: stop the other one first; the path is from {file}")
        }
        ConnectError::Damaged(_) => {
            format!("restore a backup into another folder (docs/operate/backup.md); the path is from {file}")
        }
        ConnectError::Missing(_) => format!("nothing was created; the path is from {file}"),
        ConnectError::Unreachable { .. } => {
            format!("check that the server is running; its address is from {SETTING}")
        }
        ConnectError::ReadOnly(_) => format!("check whether it is a replica; its address is from {SETTING}"),
        ConnectError::Misconfigured(_) => "change the setting on the server and start again".to_owned(),
        ConnectError::UnsafeEngine { .. } => {
            format!("use MySQL 8 or MariaDB 10.11, or newer; the address is from {SETTING}")
        }
        ConnectError::Privileges { grant, .. } => format!("run as an administrator: {grant}"),
        ConnectError::Newer { found, .. } => {
            format!("run a version of the program that knows version {found}")
        }
        ConnectError::Development => {
            format!(
                "the old tables can be removed if their orders are not needed; the database is from {file}"
            )
        }
        ConnectError::Interrupted | ConnectError::Migration(_) => {
            "the next start resumes with the unfinished step".to_owned()
        }
    };
    Error::new(kind_of(error), error.to_string()).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_step_is_shown() {
        let what = "event log".to_owned();
        let progress = MigrationProgress { done: 3, total: 9, version: 4, what, step: 2, rows: 6_000 };
        let State { done, total, words } = state_of(&progress);
        assert_eq!((done, total), (3, 9));
        assert_eq!(words, "3 of 9 steps done, running step 2 of version 4 (event log), 6000 rows changed");
    }
}
