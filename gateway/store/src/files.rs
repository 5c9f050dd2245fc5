//! The files of an embedded database, which only their owner can read, whatever the umask is.

use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::ConnectError;

/// The mode of a file: its owner reads and writes.
const MODE: u32 = 0o600;
/// Suffixes of the files that SQLite keeps beside the database. It creates them with the permissions of the database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The file of an embedded database. While this value exists, other processes do not use the file.
pub(super) struct Claim {
    path: PathBuf,
    /// Device and inode of the file that was opened.
    identity: (u64, u64),
    lost: AtomicBool,
    _lock: File,
}

impl Claim {
    /// Returns whether the opened file is no longer at its path.
    ///
    /// SQLite continues to use it, so every write is lost with the process. Once lost, it stays lost.
    pub(super) fn is_lost(&self) -> bool {
        if self.lost.load(Ordering::Relaxed) {
            return true;
        }
        let there = std::fs::metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if !there && !self.lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                path = %self.path.display(),
                "database file removed or replaced: no orders are accepted until a restart"
            );
        }
        !there
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Creates the database's file, makes it and the files beside it private, and excludes other processes.
pub(super) fn claim(path: &Path) -> Result<Claim, ConnectError> {
    let lock_path = with_suffix(path, ".lock");
    let lock = create(&lock_path)
        .map_err(|error| ConnectError::File(format!("cannot write {}: {error}", lock_path.display())))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(ConnectError::InUse(path.to_owned()));
        }
        Err(TryLockError::Error(error)) => {
            return Err(ConnectError::File(format!("cannot lock {}: {error}", lock_path.display())));
        }
    }
    // SQLite would create it with the permissions of the umask.
    let file = create(path).and_then(|file| file.metadata());
    let file =
        file.map_err(|error| ConnectError::File(format!("cannot open {}: {error}", path.display())))?;
    make_private(path);
    make_private(&lock_path);
    BESIDE.iter().for_each(|suffix| make_private(&with_suffix(path, suffix)));
    Ok(Claim { path: path.to_owned(), identity: identity(&file), lost: AtomicBool::new(false), _lock: lock })
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path)
}

/// The file of another user keeps its mode: only its owner can change that.
fn make_private(path: &Path) {
    match std::fs::set_permissions(path, Permissions::from_mode(MODE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "failed to restrict the permissions of the database file, other users may be able to read it");
        }
        Ok(()) | Err(_) => {}
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{orders, sqlite};
    use super::super::{Options, Store};
    use super::*;

    fn modes(folder: &Path) -> Vec<(String, u32)> {
        let mut modes: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), mode)
            })
            .collect();
        modes.sort();
        modes
    }

    fn private() -> Vec<(String, u32)> {
        ["orders.db", "orders.db-shm", "orders.db-wal", "orders.db.lock"]
            .map(|name| (name.to_owned(), MODE))
            .into()
    }

    #[tokio::test]
    async fn a_removed_file_accepts_no_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        store.insert(orders(store.now(), 1)).await.unwrap();
        assert!(!store.has_lost_its_file());
        let file = folder.path().join("orders.db");
        std::fs::rename(&file, folder.path().join("elsewhere.db")).unwrap();
        let refused = store.insert(orders(store.now(), 1)).await.unwrap_err();
        assert!(refused.is_outage(), "{refused:?}");
        // Another file at the same path is not the database that was opened.
        std::fs::write(&file, "").unwrap();
        store.insert(orders(store.now(), 1)).await.unwrap_err();
        assert!(store.has_lost_its_file());
    }

    #[tokio::test]
    async fn every_file_becomes_private() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        store.insert(orders(store.now(), 1)).await.unwrap();
        assert_eq!(modes(folder.path()), private());

        // As an earlier version left them, without a clean end.
        let copy = tempfile::tempdir().unwrap();
        for (name, _) in private() {
            let to = copy.path().join(&name);
            std::fs::copy(folder.path().join(&name), &to).unwrap();
            std::fs::set_permissions(&to, Permissions::from_mode(0o644)).unwrap();
        }
        let url = format!("sqlite:{}", copy.path().join("orders.db").display());
        let store = Store::connect(&url, &Options::default()).await.unwrap();
        store.insert(orders(store.now(), 1)).await.unwrap();
        assert_eq!(modes(copy.path()), private());
    }
}
