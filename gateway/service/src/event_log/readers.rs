//! Named readers: the gateway stores the cursor up to which a reader has applied the events.

use std::str::FromStr;

use domain::{Principal, Scope};
use gateway_store::ReaderCommit;

use super::{EventCursor, EventLog};
use crate::error::Error;

/// Maximum length of a name.
const MAX_NAME: usize = 64;

/// The name of a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderName(String);

/// A string is no name of a reader. The message continues the name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_NAME} letters, digits, '.', '_' and '-'")]
pub struct InvalidReaderName;

impl FromStr for ReaderName {
    type Err = InvalidReaderName;

    fn from_str(string: &str) -> Result<Self, InvalidReaderName> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=MAX_NAME).contains(&string.len()) && string.bytes().all(is_allowed) {
            Ok(Self(string.to_owned()))
        } else {
            Err(InvalidReaderName)
        }
    }
}

impl EventLog {
    /// Returns the cursor that a reader has committed; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `events:read`, [`Error::EventLogDisabled`] and [`Error::Unavailable`].
    pub async fn committed_cursor(
        &self,
        principal: &Principal,
        reader: &ReaderName,
    ) -> Result<Option<EventCursor>, Error> {
        self.check(principal)?;
        let position = self.0.store.event_reader(principal, &reader.0).await?;
        Ok(position.map(|position| self.cursor(position)))
    }

    /// Stores the cursor after the events that a reader has applied. An earlier one than before needs `rewind`.
    ///
    /// # Errors
    /// As [`Self::committed_cursor`]; [`Error::ReaderBehind`], [`Error::ReaderLimit`], and [`Error::CursorExpired`] for a
    /// cursor of another database.
    pub async fn commit(
        &self,
        principal: &Principal,
        reader: &ReaderName,
        cursor: EventCursor,
        rewind: bool,
    ) -> Result<(), Error> {
        self.check(principal)?;
        let ends = self.0.store.event_log_ends().await?;
        if cursor.installation != self.0.installation || cursor.position >= ends.next {
            return Err(self.expired(ends.first));
        }
        let store = &self.0.store;
        match store.commit_event_reader(principal, &reader.0, cursor.position, rewind).await? {
            ReaderCommit::Done => Ok(()),
            ReaderCommit::Behind(position) => Err(Error::ReaderBehind(self.cursor(position))),
            ReaderCommit::LimitReached => Err(Error::ReaderLimit),
        }
    }

    /// Removes a reader. Returns whether it existed.
    ///
    /// # Errors
    /// As [`Self::committed_cursor`].
    pub async fn remove_reader(&self, principal: &Principal, reader: &ReaderName) -> Result<bool, Error> {
        self.check(principal)?;
        Ok(self.0.store.remove_event_reader(principal, &reader.0).await?)
    }

    fn check(&self, principal: &Principal) -> Result<(), Error> {
        principal.require(Scope::EventsRead)?;
        if self.0.is_enabled { Ok(()) } else { Err(Error::EventLogDisabled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_words() {
        for name in ["a", "billing", "e-mail.v2_EU", &"x".repeat(MAX_NAME)] {
            assert_eq!(name.parse(), Ok(ReaderName(name.to_owned())));
        }
        for name in ["", "a b", "ä", "a/b", "*", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(name.parse::<ReaderName>(), Err(InvalidReaderName), "{name}");
        }
        limits_page::row("name of a reader of the event log", &format!("{MAX_NAME} characters"));
    }
}
