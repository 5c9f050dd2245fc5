//! The first keys of an installation, in files: for containers, which have no shell for `orders keys create`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use domain::Role;
use gateway::Store;
use gateway::access::{self, Key};

use crate::cli::AccessArgs;
use crate::error::Error;

/// Maximum number of bytes that are read of a key's file.
const MAX_KEY_FILE_BYTES: u64 = 4 * 1024;
/// The mode of a new file: only its owner has access.
const FILE_MODE: u32 = 0o600;

/// Stores the keys of the configured files, while no key exists. A file that does not exist is created with a new key.
pub(super) async fn create_first_keys(args: &AccessArgs, store: &Store) -> Result<(), Error> {
    const ADMIN: &str = "--bootstrap-key-file (ORDERS_BOOTSTRAP_KEY_FILE)";
    const WORKER: &str = "--bootstrap-worker-key-file (ORDERS_BOOTSTRAP_WORKER_KEY_FILE)";
    let files: Vec<(&PathBuf, &str, Role)> = [
        args.bootstrap_key_file.as_ref().map(|file| (file, ADMIN, Role::Admin)),
        args.bootstrap_worker_key_file.as_ref().map(|file| (file, WORKER, Role::Worker)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if files.is_empty() {
        return Ok(());
    }
    let failed = |error: String| {
        Error::failed(format!("the first keys cannot be stored: {error}"))
            .hint("start again when the database answers")
    };
    if store.has_api_keys().await.map_err(|error| failed(error.to_string()))? {
        tracing::debug!("a key exists, so the files of the first keys are not used");
        return Ok(());
    }
    let keys = files.iter().map(|(file, setting, role)| Ok((read_or_create(file, setting)?, *role)));
    let keys = keys.collect::<Result<Vec<_>, Error>>()?;
    if access::create_first(store, &keys).await.map_err(|error| failed(error.to_string()))? {
        for (file, _, role) in files {
            tracing::info!(file = %file.display(), role = role.as_str(), "the first key is in this file");
        }
    }
    Ok(())
}

fn read_or_create(file: &Path, setting: &str) -> Result<Key, Error> {
    let invalid = |problem: String| {
        Error::usage(format!("{setting} is {:?}: {problem}", file.display().to_string()))
            .hint("give a file with a key that `orders keys create` printed, or a path at which a file can be created")
    };
    let read = match read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => create(file).and_then(|()| read(file)),
        read => read,
    };
    let content = read.map_err(|error| invalid(format!("it cannot be read or created: {error}")))?;
    Key::parse(content.trim_ascii_end()).map_err(|error| invalid(format!("its content is {error}")))
}

fn read(file: &Path) -> io::Result<String> {
    let mut content = String::new();
    File::open(file)?.take(MAX_KEY_FILE_BYTES).read_to_string(&mut content)?;
    Ok(content)
}

/// Creates a file with a new key. It appears with its whole content: another gateway may read it at the same time.
fn create(file: &Path) -> io::Result<()> {
    let key = Key::generate();
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", key.id()));
    let draft = PathBuf::from(name);
    let mut new = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
    let written = writeln!(new, "{}", key.expose()).and_then(|()| new.sync_all());
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, file) {
        // Another gateway was first.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    std::fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_created_once_for_its_owner() {
        let folder = std::env::temp_dir().join(format!("orders-key-{}", Key::generate().id()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("admin.key");
        let key = read_or_create(&file, "--x").unwrap();
        assert_eq!(read_or_create(&file, "--x").unwrap(), key);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, FILE_MODE);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no draft is left");
        std::fs::write(&file, "secret").unwrap();
        let error = read_or_create(&file, "--x").unwrap_err().to_string();
        assert!(error.contains("not an API key") && !error.contains("secret\""), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
