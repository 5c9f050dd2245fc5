//! Copies of an embedded database, and the integrity of its file.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::connection::Link;
use super::{ConnectError, Error, Shard};

/// The mode of a copy, as of the database itself: its owner reads and writes.
const MODE: u32 = 0o600;
/// Maximum duration of the integrity check at the start. A larger file is used without the check.
const LOOK: Duration = Duration::from_secs(5);
/// The result of `PRAGMA quick_check` without findings.
const WHOLE: &str = "ok";

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no database at this path.
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    /// The copy would replace a file.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The copy cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The database cannot be read, or the copy has no space.
    #[error("the database cannot be copied: {0}")]
    Copy(#[from] sqlx::Error),
}

/// Copies an SQLite database into a new file, in one consistent state, also while a program uses it.
///
/// Returns the number of bytes. The copy is complete and on disk when it has its name.
///
/// # Errors
/// [`BackupError`]; then there is no file of that name.
pub async fn back_up(database: &Path, target: &Path) -> Result<u64, BackupError> {
    if !database.is_file() {
        return Err(BackupError::Missing(database.to_owned()));
    }
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let copied = copy(database, &part, target).await;
    if copied.is_err() {
        // The rest of it has no use, and may not exist.
        let _ = std::fs::remove_file(&part);
    }
    copied
}

async fn copy(database: &Path, part: &Path, target: &Path) -> Result<u64, BackupError> {
    let write = |cause| BackupError::Write { path: part.to_owned(), cause };
    // SQLite fills an empty file, which has its permissions already.
    OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(part).map_err(write)?;
    std::fs::set_permissions(part, Permissions::from_mode(MODE)).map_err(write)?;
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(false);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query("VACUUM INTO ?").bind(part.to_string_lossy().into_owned()).execute(&mut connection).await?;
    connection.close().await?;
    let file = File::open(part).map_err(write)?;
    file.sync_all().map_err(write)?;
    std::fs::rename(part, target).map_err(write)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(write)?;
    Ok(file.metadata().map_err(write)?.len())
}

impl Shard {
    /// Checks the integrity of the file of an embedded database, for at most some seconds.
    ///
    /// # Errors
    /// [`ConnectError::Damaged`] with what SQLite has found.
    pub async fn check_file_content(&self) -> Result<(), ConnectError> {
        let look = async {
            let Link::Sqlite(mut connection) = self.inner.readers.acquire().await?.link else {
                return Ok(WHOLE.to_owned());
            };
            sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)").fetch_one(&mut *connection).await
        };
        let damaged = |found: String| {
            ConnectError::Damaged(format!("{} is damaged: {found}", self.inner.address.load()))
        };
        match tokio::time::timeout(LOOK, look).await {
            Ok(Ok(found)) if found == WHOLE => Ok(()),
            Ok(Ok(found)) => Err(damaged(found)),
            Ok(Err(error)) if is_damage(&error) => Err(damaged(error.to_string())),
            Ok(Err(error)) => Err(self.unreachable(Error::from(error))),
            Err(_) => {
                tracing::info!("database file too large for the integrity check at start");
                Ok(())
            }
        }
    }
}

/// SQLite: the file is malformed, or no database.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::tests::{orders, sqlite};
    use super::*;
    use crate::Store;

    #[tokio::test]
    async fn a_copy_is_complete_private_and_replaces_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        store.insert(orders(store.now(), 10)).await.unwrap();
        let (database, target) = (folder.path().join("orders.db"), folder.path().join("copy 1.db"));
        let bytes = back_up(&database, &target).await.unwrap();
        assert_eq!(bytes, std::fs::metadata(&target).unwrap().len());
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(back_up(&database, &target).await, Err(BackupError::Exists(_))));
        let nowhere = folder.path().join("typo.db");
        assert!(matches!(back_up(&nowhere, &folder.path().join("x")).await, Err(BackupError::Missing(_))));
        assert!(!nowhere.exists());
        store.insert(orders(store.now(), 1)).await.unwrap();

        let copy =
            Store::connect(&format!("sqlite:{}", target.display()), &Options::default()).await.unwrap();
        copy.check_file_content().await.unwrap();
        assert_eq!(copy.inspect(Duration::ZERO).await.unwrap().accepted(), 10);
    }

    #[tokio::test]
    async fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        store.insert(orders(store.now(), 500)).await.unwrap();
        store.close().await;
        drop(store);
        let database = folder.path().join("orders.db");
        let mut bytes = std::fs::read(&database).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0xa5);
        std::fs::write(&database, bytes).unwrap();
        let url = format!("sqlite:{}", database.display());
        let refused = match Store::connect(&url, &Options::default()).await {
            Ok(store) => store.check_file_content().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(refused, ConnectError::Damaged(_)), "{refused:?}");
        std::fs::write(&database, "this is no database, but a string of some length").unwrap();
        let refused = Store::connect(&url, &Options::default()).await.err().unwrap();
        assert!(matches!(refused, ConnectError::Damaged(_)), "{refused:?}");
    }
}
