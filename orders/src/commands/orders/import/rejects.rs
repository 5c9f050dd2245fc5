//! The lines that the gateway rejected, with their errors, as one JSON object in each line.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::Error;

/// A rejected line.
#[derive(Debug)]
pub(super) struct Reject {
    pub(super) line: u64,
    /// The order of the line, or the line as a string if it is not JSON.
    pub(super) order: Value,
    pub(super) status: String,
    /// Errors as the gateway returned them. It lists at most 100 for a batch.
    pub(super) errors: Value,
}

/// The file of rejected lines, which is created with the first one.
#[derive(Debug)]
pub(super) struct Rejects {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Rejects {
    /// Opens the file, and cuts what an interrupted import wrote after its last recorded batch.
    pub(super) fn open(path: &Path, bytes: u64) -> Result<Self, Error> {
        let mut rejects = Self { path: path.to_owned(), file: None, bytes };
        match std::fs::metadata(path) {
            Ok(found) if bytes > found.len() => {
                Err(rejects.problem(&std::io::Error::other("it is shorter than before")))
            }
            Ok(_) => rejects.file().map(|_| ()).map(|()| rejects),
            Err(_) if bytes == 0 => Ok(rejects),
            Err(error) => Err(rejects.problem(&error)),
        }
    }

    /// Adds a line.
    pub(super) fn add(&mut self, reject: &Reject) -> Result<(), Error> {
        let Reject { line, order, status, errors } = reject;
        let text = format!("{}\n", json!({"line": line, "status": status, "errors": errors, "order": order}));
        let written = self.file()?.write_all(text.as_bytes());
        written.map_err(|error| self.problem(&error))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Waits until the file is on disk, and returns its length.
    pub(super) fn flush(&mut self) -> Result<u64, Error> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        synced.map_err(|error| self.problem(&error))?;
        Ok(self.bytes)
    }

    fn file(&mut self) -> Result<&mut File, Error> {
        if self.file.is_none() {
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path);
            let opened = opened.and_then(|mut file| {
                file.set_len(self.bytes)?;
                file.seek(SeekFrom::End(0))?;
                Ok(file)
            });
            self.file = Some(opened.map_err(|error| self.problem(&error))?);
        }
        self.file.as_mut().ok_or_else(|| Error::failed("the rejects file is not open"))
    }

    fn problem(&self, error: &std::io::Error) -> Error {
        Error::failed(format!("the rejects file {} cannot be written: {error}", self.path.display()))
            .hint("make its folder writable, then repeat the command; it continues the import")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_after_the_recorded_length_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.rejects.ndjson");
        let reject = |line| Reject {
            line,
            order: json!({"item": "x"}),
            status: "invalid".to_owned(),
            errors: json!([]),
        };
        let mut rejects = Rejects::open(&path, 0).unwrap();
        assert_eq!((rejects.flush().unwrap(), path.exists()), (0, false));
        rejects.add(&reject(1)).unwrap();
        let length = rejects.flush().unwrap();
        rejects.add(&reject(2)).unwrap();
        let mut again = Rejects::open(&path, length).unwrap();
        again.add(&reject(3)).unwrap();
        let lines = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line["line"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(3)]);
        assert!(Rejects::open(&path, 100_000).is_err());
        assert!(Rejects::open(&folder.path().join("none"), 1).is_err());
    }
}
