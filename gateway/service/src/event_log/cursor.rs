//! Cursors of the event log, the same on every API.
//!
//! A cursor contains its version, the beginning of the installation's id, and the positions of its reader in each log. There
//! is one log; a sharded database will have several. It is in base64 because it is opaque.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Serialize, Serializer};

const VERSION: u8 = 1;
/// Maximum length of an accepted cursor.
pub(crate) const MAX_LENGTH: usize = 200;

/// The position of a reader of the event log: the events up to it have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCursor {
    /// The beginning of the id of the installation.
    pub(super) installation: [u8; 4],
    /// The position of the last event that was read; 0 before the first.
    pub(super) position: u64,
}

/// A string is not a cursor of the event log. The message continues the name of the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor of the event log; give one from an answer, unchanged")]
pub struct InvalidEventCursor;

impl EventCursor {
    /// Returns the position of the last event that was read.
    pub fn position(&self) -> u64 {
        self.position
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.installation);
        bytes.extend_from_slice(&self.position.to_be_bytes());
        f.write_str(&BASE64.encode(bytes))
    }
}

impl FromStr for EventCursor {
    type Err = InvalidEventCursor;

    fn from_str(string: &str) -> Result<Self, InvalidEventCursor> {
        if string.len() > MAX_LENGTH {
            return Err(InvalidEventCursor);
        }
        let bytes = BASE64.decode(string).map_err(|_| InvalidEventCursor)?;
        match bytes.split_first() {
            Some((&VERSION, rest)) => {
                let (installation, position) = rest.split_first_chunk().ok_or(InvalidEventCursor)?;
                let position = position.try_into().map_err(|_| InvalidEventCursor)?;
                Ok(Self { installation: *installation, position: u64::from_be_bytes(position) })
            }
            _ => Err(InvalidEventCursor),
        }
    }
}

impl Serialize for EventCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_opaque_and_versioned() {
        let cursor = EventCursor { installation: [1, 2, 3, 4], position: 0x0506_0708 };
        let string = cursor.to_string();
        assert_eq!(string.parse(), Ok(cursor));
        assert!(!string.contains('='), "{string}");
        let other_version = BASE64.encode([&[2][..], &[0; 12]].concat());
        let long = BASE64.encode([&[1][..], &[0; 13]].concat());
        for string in ["", "7", "AQ", "not base64!", &string[1..], &other_version, &long, &"A".repeat(201)] {
            assert_eq!(string.parse::<EventCursor>(), Err(InvalidEventCursor), "{string}");
        }
    }
}
