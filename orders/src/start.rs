//! Getting hold of what a process needs from outside before it serves: ports, the database, Redis.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{DirBuilder, DirEntry, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use broker::redis::Redis;
use gateway::Starting;
use gateway::Store;
use gateway::config::HttpLimits;
use gateway::store::{ConnectError, Options, Schema};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{DEFAULT_DATA_DIR, DatabaseArgs, MigrateMode, StoreArgs};
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
    let elsewhere = format!("choose another address with {setting}; port 0 takes a free port");
    TcpListener::bind(addr.as_str()).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Error::failed(format!("cannot listen on {addr}: the port is in use"))
            .hint(format!("stop the program that uses it, or {elsewhere}")),
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
            "low limit of open files reduces the number of connections: raise it (ulimit -Hn)"
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

/// Answers on the HTTP port until the gateway can: probes must not take a process that waits for one that hangs.
pub(crate) fn answer(http: &TcpListener, limits: &HttpLimits) -> Result<Starting, Error> {
    Starting::serve(http, limits)
        .map_err(|error| Error::failed(format!("cannot serve the HTTP port during startup: {error}")))
}

/// Opens the database for a gateway, with its tables as `store` asks for. Waits without end for a server that cannot
/// be reached or is read-only, and for another process that migrates; `None` when `shutdown` came first. What waiting
/// does not change is an error at once.
pub(crate) async fn database(
    args: &DatabaseArgs,
    store: &StoreArgs,
    shutdown: &CancellationToken,
) -> Result<Option<Store>, Error> {
    let options = Options { connections: store.database_pool_size, ..Options::default() };
    let mut wait = Wait::default();
    loop {
        let reason = match opened(args, &options, store.migrate, shutdown).await {
            Ok(store) => return Ok(Some(store)),
            Err(Unready::Connect(ConnectError::Interrupted)) => return Ok(None),
            Err(Unready::Connect(error)) if error.is_temporary() => error.to_string(),
            Err(unready @ Unready::Older { .. }) if store.migrate == MigrateMode::Wait => unready.to_string(),
            Err(unready) => return Err(unready.explained(args)),
        };
        wait.remind(|| tracing::warn!(error = %reason, "waiting for the database"));
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = wait.pause() => {}
        }
    }
}

/// Opens the database, creates it if it is a file, and brings its tables up to date. Does not wait for a server.
pub(crate) async fn migrated_database(args: &DatabaseArgs) -> Result<Store, Error> {
    let migrated = async {
        let store = connected(args, &Options::default()).await?;
        store.migrate().await?;
        Ok(store)
    };
    migrated.await.map_err(|error: ConnectError| connect_error(args, &error))
}

/// Opens a database that is there, and changes nothing: neither file nor tables. Does not wait for a server.
pub(crate) async fn existing_database(args: &DatabaseArgs) -> Result<Store, Error> {
    let options = Options { create: false, ..Options::default() };
    let checked = async {
        let store = connected(args, &options).await?;
        is_current(&store).await?;
        Ok(store)
    };
    checked.await.map_err(|unready: Unready| unready.explained(args))
}

/// Why a database cannot be used yet.
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
    fn explained(self, args: &DatabaseArgs) -> Error {
        match self {
            Self::Connect(error) => connect_error(args, &error),
            older @ Self::Older { .. } => Error::failed(format!("{older} ({})", settings::database(args)))
                .hint("`orders migrate` creates and updates the schema; check that this is the intended database"),
        }
    }
}

async fn opened(
    args: &DatabaseArgs,
    options: &Options,
    migrate: MigrateMode,
    shutdown: &CancellationToken,
) -> Result<Store, Unready> {
    let store = connected(args, options).await?;
    store.check_file_content().await?;
    match migrate {
        MigrateMode::Auto => store.migrate_while(&|| !shutdown.is_cancelled()).await?,
        MigrateMode::Off | MigrateMode::Wait => is_current(&store).await?,
    }
    store.check_writable().await?;
    Ok(store)
}

async fn is_current(store: &Store) -> Result<(), Unready> {
    match store.schema().await? {
        Schema::Current => Ok(()),
        Schema::Older { found, needed } => Err(Unready::Older { found, needed }),
    }
}

async fn connected(args: &DatabaseArgs, options: &Options) -> Result<Store, ConnectError> {
    let url = settings::database(args);
    if let DatabaseUrl::Sqlite(path) = &url
        && options.create
    {
        let default = args.database_url.is_none() && args.data_dir == Path::new(DEFAULT_DATA_DIR);
        create_folder(path, default)?;
    }
    Store::connect(&url.expose_secret(), options).await
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

fn connect_error(args: &DatabaseArgs, error: &ConnectError) -> Error {
    const SETTING: &str = "--database-url (DATABASE_URL)";
    let file = if args.database_url.is_some() { SETTING } else { "--data-dir (ORDERS_DATA_DIR)" };
    let hint = match error {
        ConnectError::InvalidUrl { hint, .. } => format!("correct {SETTING}: {hint}"),
        ConnectError::Refused(_) => {
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
    tracing::info!(version = %server.version, "connected to Redis");
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
