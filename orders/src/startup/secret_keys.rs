//! The file with the keys that encrypt the secrets of webhook endpoints, for gateways whose settings name none.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gateway::webhooks::SecretKeys;

use crate::error::Error;
use crate::values::{InFile, in_file, secret_keys};

/// Follows the name of the database file.
const SUFFIX: &str = ".secret-key";

/// Reads the file beside an SQLite file, and creates it first if it does not exist.
pub(super) fn read_or_create(database: &Path) -> Result<InFile<SecretKeys>, Error> {
    let file = beside(database);
    let failed = |problem: String| {
        let file = file.display();
        Error::failed(format!("the key file of webhooks, {file}, cannot be used: {problem}"))
    };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
        Ok(mut created) => {
            let line = format!("{}\n", SecretKeys::generate_line());
            created
                .write_all(line.as_bytes())
                .and_then(|()| created.sync_all())
                .map_err(|error| failed(error.to_string()))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error.to_string())),
    }
    let path = file.to_str().ok_or_else(|| failed("its path is not UTF-8".to_owned()))?;
    in_file(secret_keys)(path).map_err(|error| failed(error.to_string()))
}

fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_created_once_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("orders.db");
        assert!(!read_or_create(&database).unwrap().value.is_empty());
        let file = folder.path().join("orders.db.secret-key");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let content = std::fs::read_to_string(&file).unwrap();
        read_or_create(&database).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
        std::fs::write(&file, "no key").unwrap();
        let error = read_or_create(&database).unwrap_err().to_string();
        assert!(error.contains("orders.db.secret-key") && error.contains("line 1 is not a key"), "{error}");
    }
}
