//! Getting hold of what a process needs from outside before it serves: ports, the database, Redis.

use std::ffi::OsStr;
use std::fs::{DirBuilder, DirEntry, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use broker::redis::Redis;
use gateway::Store;
use gateway::store::{ConnectError, Options};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{DEFAULT_DATA_DIR, DatabaseArgs};
use crate::error::Error;
use crate::settings;
use crate::values::{DatabaseUrl, ListenAddr};

/// Where a processor shows its health unless told otherwise.
pub(crate) const DEFAULT_METRICS_ADDR: &str = "127.0.0.1:9090";

/// Of a data folder: only its owner can look into it.
const FOLDER_MODE: u32 = 0o700;

/// Files that are open besides accepted connections: the database, Redis, webhooks, the program's own. Half of the
/// files when so few may be open.
const OTHER_FILES: usize = 256;
/// With fewer connections than this a warning is logged.
const FEW_CONNECTIONS: usize = 4_000;

/// The first and the longest pause between two attempts to reach a server.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Waiting is logged at most this often.
const REMIND: Duration = Duration::from_secs(1);

/// Takes a port. `setting` names where it comes from, as in `--http-addr (ORDERS_HTTP_ADDR)`.
pub(crate) async fn bind(addr: &ListenAddr, setting: &str) -> Result<TcpListener, Error> {
    use std::io::ErrorKind;
    let elsewhere = format!("choose another address with {setting}; port 0 takes any free port");
    TcpListener::bind(addr.as_str()).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Error::failed(format!("cannot listen on {addr}: the port is in use"))
            .hint(format!("end the program that uses it, or {elsewhere}")),
        ErrorKind::PermissionDenied => {
            Error::failed(format!("cannot listen on {addr}: not permitted; ports below 1024 need privileges"))
                .hint(elsewhere)
        }
        _ => Error::failed(format!("cannot listen on {addr}: {error}")).hint(elsewhere),
    })
}

/// Every connection is an open file, and many systems allow a process 1,024 of them unless it asks for
/// more. Asks for as many as it may have, and says how many connections of `wanted` that makes.
pub(crate) fn connections(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    // Some systems have no end to it and refuse it all the same; then it stays as it was.
    let _ = setrlimit(Resource::Nofile, raised);
    let Some(files) = getrlimit(Resource::Nofile).current else { return wanted };
    let possible = beside_other_files(usize::try_from(files).unwrap_or(usize::MAX));
    if possible < wanted.min(FEW_CONNECTIONS) {
        tracing::warn!(
            files,
            "few files may be open, so few connections are possible: raise the limit (ulimit -Hn)"
        );
    }
    wanted.min(possible)
}

/// How many of these files are left for accepted connections.
fn beside_other_files(files: usize) -> usize {
    files.saturating_sub(OTHER_FILES.min(files / 2)).max(1)
}

/// The real address of a listener, with the port that port 0 became.
pub(crate) fn address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|error| Error::failed(format!("cannot read a listener's address: {error}")))
}

/// Opens the database and brings its tables up to date. Waits for a server that cannot be reached,
/// for ever; `None` when `shutdown` came first. What waiting cannot mend is an error at once.
pub(crate) async fn database(
    args: &DatabaseArgs,
    shutdown: &CancellationToken,
) -> Result<Option<Store>, Error> {
    let mut wait = Wait::default();
    loop {
        match try_database(args).await {
            Ok(store) => return Ok(Some(store)),
            Err(error) if error.is_temporary() => {
                wait.remind(|| tracing::warn!(%error, "waiting for the database"));
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(None),
                    () = wait.pause() => {}
                }
            }
            Err(error) => return Err(database_error(args, &error)),
        }
    }
}

/// The same without waiting.
pub(crate) async fn database_now(args: &DatabaseArgs) -> Result<Store, Error> {
    try_database(args).await.map_err(|error| database_error(args, &error))
}

async fn try_database(args: &DatabaseArgs) -> Result<Store, ConnectError> {
    let url = settings::database(args);
    if let DatabaseUrl::Sqlite(path) = &url {
        let default = args.database_url.is_none() && args.data_dir == Path::new(DEFAULT_DATA_DIR);
        create_folder(path, default)?;
    }
    let store = Store::connect(&url.reveal(), &Options::default()).await?;
    store.migrate().await?;
    Ok(store)
}

/// Creates the folder of the database so that only its owner can look into it. A folder that exists keeps
/// its permissions, unless it is the default one (`default`) and holds nothing but a database: then an
/// earlier version has created it.
fn create_folder(file: &Path, default: bool) -> Result<(), ConnectError> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let created = !folder.exists();
    let own = default && holds_only(folder, file);
    let result = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).and_then(|()| {
        // The umask takes no permission away that the owner needs.
        if created || own {
            std::fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
        } else {
            Ok(())
        }
    });
    result.map_err(|error| {
        ConnectError::File(format!("cannot create the data folder {}: {error}", folder.display()))
    })
}

/// Whether every name in the folder begins with that of the file.
fn holds_only(folder: &Path, file: &Path) -> bool {
    let name = file.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
    let is_ours = |entry: std::io::Result<DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(name))
    };
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.all(is_ours))
}

fn database_error(args: &DatabaseArgs, error: &ConnectError) -> Error {
    const SETTING: &str = "--database-url (DATABASE_URL)";
    let file = if args.database_url.is_some() { SETTING } else { "--data-dir (ORDERS_DATA_DIR)" };
    let hint = match error {
        ConnectError::InvalidUrl(_) => format!("correct {SETTING}"),
        ConnectError::Refused(_) => {
            format!("check the user, the password and the database's name in {SETTING}")
        }
        ConnectError::File(_) => {
            format!(
                "only one process at a time can use the file, and it must be writable; choose another place with {file}"
            )
        }
        ConnectError::Unreachable { .. } => format!("is the server running? Its address is from {SETTING}"),
        ConnectError::Migration(_) => "the tables are as the last complete migration left them".to_owned(),
    };
    Error::failed(error.to_string()).hint(hint)
}

/// Looks whether Redis is there and new enough. When it is away the process starts all the same, and
/// a task keeps looking and says when it is back; `consequence` says what that means until then.
pub(crate) async fn redis(
    redis: &Redis,
    consequence: &'static str,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    match look_at(redis).await {
        Ok(()) => Ok(()),
        Err(broker::Error::Unavailable(_)) => {
            let (redis, shutdown) = (redis.clone(), shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = wait_for_redis(&redis, consequence) => {}
                }
            });
            Ok(())
        }
        Err(error @ (broker::Error::Unsupported(_) | broker::Error::InvalidUrl(_))) => {
            Err(Error::failed(error.to_string()).hint("use another server with --redis-url (REDIS_URL)"))
        }
    }
}

async fn wait_for_redis(redis: &Redis, consequence: &'static str) {
    let mut wait = Wait::default();
    while let Err(error) = look_at(redis).await {
        wait.remind(|| tracing::warn!(%error, "waiting for Redis; {consequence}"));
        wait.pause().await;
    }
}

async fn look_at(redis: &Redis) -> Result<(), broker::Error> {
    let server = redis.check().await?;
    for warning in &server.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = %server.version, "Redis can be reached");
    Ok(())
}

/// Pauses that double, and reminders that do not flood the log.
struct Wait {
    pause: Duration,
    reminded: Option<Instant>,
}

impl Default for Wait {
    fn default() -> Self {
        Self { pause: PAUSE.0, reminded: None }
    }
}

impl Wait {
    fn remind(&mut self, log: impl FnOnce()) {
        if self.reminded.is_none_or(|at| at.elapsed() >= REMIND) {
            self.reminded = Some(Instant::now());
            log();
        }
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest_of_the_program() {
        for (files, connections) in [(0, 1), (64, 32), (256, 128), (600, 344), (20_256, 20_000)] {
            assert_eq!(beside_other_files(files), connections, "{files}");
        }
    }
}
