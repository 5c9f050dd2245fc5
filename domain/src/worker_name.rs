use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Maximum number of characters of the name of a worker.
pub const MAX_WORKER_NAME: usize = 64;

/// The name of a worker: 1 to 64 characters of `A-Z a-z 0-9 . _ : / @ -`.
///
/// Cheap to clone: every attempt has one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerName(Arc<str>);

impl WorkerName {
    /// Returns the name that a worker states, with `-` for other characters, and without those that are too many. `None` if
    /// it is empty.
    pub fn clean(stated: &str) -> Option<Self> {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "._:/@-".contains(c) { c } else { '-' };
        let name: String = stated.trim().chars().take(MAX_WORKER_NAME).map(allowed).collect();
        (!name.is_empty()).then(|| Self(name.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for WorkerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for WorkerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WorkerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stated = String::deserialize(deserializer)?;
        Self::clean(&stated).ok_or_else(|| serde::de::Error::custom("the name of the worker is empty"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stated_names_are_cleaned() {
        let clean = |stated: &str| WorkerName::clean(stated).map(|name| name.to_string());
        assert_eq!(clean(" packer-2.eu/a:1@host_x "), Some("packer-2.eu/a:1@host_x".to_owned()));
        assert_eq!(clean("Jörg's\nworker"), Some("J-rg-s-worker".to_owned()));
        assert_eq!(clean(&"x".repeat(100)).map(|name| name.len()), Some(MAX_WORKER_NAME));
        assert_eq!((clean(""), clean(" \t")), (None, None));
        let name = WorkerName::clean("ü").unwrap();
        assert_eq!(WorkerName::clean(name.as_str()), Some(name), "a cleaned name stays as it is");
    }
}
