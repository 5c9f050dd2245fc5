//! The state of an import, in a file beside that of the orders: what is done, and under which key prefix.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use domain::IdempotencyKey;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::values::now;

/// Maximum size of the state, in bytes.
const MAX_STATE: u64 = 64 * 1024;

/// The state of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    pub(super) key_prefix: String,
    /// Maximum number of orders in a batch. Another number would give batches with other keys.
    pub(super) batch: u32,
    /// Size of the file of orders, and the time of its last change, in microseconds: another file is not continued.
    pub(super) size: u64,
    modified: u64,
    /// Bytes and lines that are done.
    pub(super) offset: u64,
    pub(super) lines: u64,
    pub(super) created: u64,
    pub(super) rejected: u64,
    /// Length of the rejects file.
    pub(super) rejects_bytes: u64,
}

impl State {
    /// Reads the state of an interrupted import, or begins one.
    pub(super) fn open(
        path: &Path,
        file: &Path,
        key_prefix: Option<&str>,
        batch: u32,
    ) -> Result<Self, Error> {
        let (size, modified) = identity(file)?;
        let Some(state) = Self::read(path)? else {
            let drawn = || format!("import-{}", now().as_micros());
            let key_prefix = key_prefix.map_or_else(drawn, str::to_owned);
            // The keys of batches are longer than the prefix.
            let longest = format!("{key_prefix}-{}", u64::MAX);
            if longest.parse::<IdempotencyKey>().is_err() {
                return Err(Error::usage(format!(
                    "--key-prefix is {key_prefix:?}: it is not a prefix of keys"
                ))
                .hint("use 1 to 200 visible ASCII characters, such as import-7"));
            }
            return Ok(Self {
                key_prefix,
                batch,
                size,
                modified,
                offset: 0,
                lines: 0,
                created: 0,
                rejected: 0,
                rejects_bytes: 0,
            });
        };
        let other = |problem: String| {
            Error::refused(format!("{problem} since the import of {} began", file.display())).hint(format!(
                "restore it to continue, or remove {} to begin again, which creates the {} orders again",
                path.display(),
                state.created
            ))
        };
        if (state.size, state.modified) != (size, modified) {
            return Err(other("the file has changed".to_owned()));
        }
        match key_prefix {
            Some(given) if given != state.key_prefix => {
                Err(other(format!("--key-prefix has changed from {:?}", state.key_prefix)))
            }
            _ => Ok(state),
        }
    }

    /// Returns whether the whole file is done.
    pub(super) fn is_done(&self) -> bool {
        self.lines > 0 && self.offset >= self.size
    }

    /// Replaces the file, so that it always has one complete state.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let written = serde_json::to_vec(self).map_err(std::io::Error::from).and_then(|content| {
            let mut file = File::create(&draft)?;
            file.write_all(&content)?;
            std::fs::rename(&draft, path)
        });
        written.map_err(|error| {
            Error::failed(format!("the state of the import cannot be written to {}: {error}", path.display()))
                .hint("make its folder writable, then repeat the command; it continues the import")
        })
    }

    fn read(path: &Path) -> Result<Option<Self>, Error> {
        let invalid = |problem: String| {
            Error::usage(format!("the state of the import in {} cannot be used: {problem}", path.display()))
                .hint("check under which prefix the orders exist before you remove the file, which begins the import again")
        };
        let mut content = String::new();
        match File::open(path).and_then(|file| file.take(MAX_STATE).read_to_string(&mut content)) {
            Ok(_) => serde_json::from_str(&content).map(Some).map_err(|error| invalid(error.to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(invalid(error.to_string())),
        }
    }
}

/// Returns the size and the time of the last change of the file, in microseconds.
fn identity(file: &Path) -> Result<(u64, u64), Error> {
    let found = std::fs::metadata(file).and_then(|found| match found.is_file() {
        true => Ok((found.len(), found.modified()?)),
        false => Err(std::io::Error::other("it is not a regular file")),
    });
    let (size, modified) = found.map_err(|error| {
        Error::usage(format!("--file is {:?}: it cannot be read: {error}", file.display().to_string()))
            .hint("give a file with one order as a JSON object in each line")
    })?;
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    Ok((size, u64::try_from(modified).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_continues_only_with_the_same_file_and_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let (path, file) = (folder.path().join("x.import"), folder.path().join("x"));
        assert!(State::open(&path, &file, None, 10).is_err());
        std::fs::write(&file, "12345").unwrap();
        let mut state = State::open(&path, &file, Some("import-7"), 10).unwrap();
        assert!(!state.is_done());
        (state.offset, state.lines, state.created) = (3, 1, 1);
        state.write(&path).unwrap();
        assert_eq!(State::open(&path, &file, None, 1_000).unwrap(), state, "the size of batches is kept");
        assert!(State::open(&path, &file, Some("import-8"), 10).is_err());
        state.offset = 5;
        assert!(state.is_done());
        std::fs::write(&file, "123456").unwrap();
        assert!(State::open(&path, &file, None, 10).is_err());
        std::fs::write(&path, "{").unwrap();
        assert!(State::open(&path, &file, None, 10).is_err());
        assert!(State::open(&folder.path().join("y"), &file, Some("a b"), 10).is_err());
        assert!(State::open(&folder.path().join("y"), &file, Some(&"a".repeat(250)), 10).is_err());
    }
}
