//! Named readers: the gateway stores the cursor up to which a reader has applied the events, and leases the name to one
//! process at a time.

use std::str::FromStr;
use std::time::Duration;

use domain::{Principal, Scope};
use gateway_store::{EventReader, LeaseOutcome, ReaderChange, ReaderCommit as Committed, ReaderLease};

use super::{EventCursor, EventLog};
use crate::error::Error;

/// Maximum length of a name.
const MAX_NAME: usize = 64;
/// Maximum number of bytes of the metadata of a reader.
pub const MAX_METADATA: usize = 1024;
/// Minimum duration of a lease.
pub const MIN_LEASE: Duration = Duration::from_secs(1);
/// Maximum duration of a lease.
pub const MAX_LEASE: Duration = Duration::from_secs(600);
/// Duration of a lease if the process states none.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

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

/// A reader as the gateway has stored it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedReader {
    /// The cursor up to which it has applied the events; `None` before its first commit.
    pub cursor: Option<EventCursor>,
    /// The metadata of the latest commit that had any.
    pub metadata: String,
}

/// What a reader commits.
#[derive(Debug, Clone)]
pub struct ReaderCommit {
    /// The cursor after the events that it has applied; the committed one if absent.
    pub cursor: Option<EventCursor>,
    /// Permits an earlier cursor than the committed one.
    pub rewind: bool,
    /// The metadata, at most [`MAX_METADATA`] bytes; the stored ones if absent.
    pub metadata: Option<String>,
    /// The lease of the process, which is renewed.
    pub lease: Option<ReaderLease>,
    /// Ends the lease after the commit.
    pub release: bool,
}

impl EventLog {
    /// Returns what a reader has committed, without a lease.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `events:read`, [`Error::EventLogDisabled`] and [`Error::Unavailable`].
    pub async fn committed_reader(
        &self,
        principal: &Principal,
        reader: &ReaderName,
    ) -> Result<CommittedReader, Error> {
        self.check(principal)?;
        let stored = self.0.store.event_reader(principal, &reader.0).await?;
        let cursor = stored.as_ref().map(|stored| self.cursor(stored.position));
        Ok(CommittedReader { cursor, metadata: stored.map(|stored| stored.metadata).unwrap_or_default() })
    }

    /// Takes or renews the lease of a reader, and returns what it has committed.
    ///
    /// A new reader begins with the oldest event that is kept, or with `at_end` after the latest one.
    ///
    /// # Errors
    /// As [`Self::committed_reader`]; [`Error::ReaderLeased`] and [`Error::ReaderLimit`].
    pub async fn lease(
        &self,
        principal: &Principal,
        reader: &ReaderName,
        lease: ReaderLease,
        at_end: bool,
    ) -> Result<CommittedReader, Error> {
        self.check(principal)?;
        match self.0.store.lease_event_reader(principal, &reader.0, lease, at_end).await? {
            LeaseOutcome::Held(EventReader { position, metadata }) => {
                Ok(CommittedReader { cursor: Some(self.cursor(position)), metadata })
            }
            LeaseOutcome::Leased(left) => Err(Error::ReaderLeased(left)),
            LeaseOutcome::LimitReached => Err(Error::ReaderLimit),
        }
    }

    /// Stores the cursor after the events that a reader has applied. An earlier one than before needs `rewind`.
    ///
    /// # Errors
    /// As [`Self::committed_reader`]; [`Error::ReaderBehind`], [`Error::ReaderLimit`], [`Error::StaleReaderLease`],
    /// [`Error::ReaderLeased`] for a commit without a lease, and [`Error::CursorExpired`] for a cursor of another
    /// database.
    pub async fn commit(
        &self,
        principal: &Principal,
        reader: &ReaderName,
        commit: ReaderCommit,
    ) -> Result<(), Error> {
        self.check(principal)?;
        if let Some(cursor) = commit.cursor {
            let ends = self.0.store.event_log_ends().await?;
            if cursor.installation != self.0.installation || cursor.position >= ends.next {
                return Err(self.expired(ends.first));
            }
        }
        let ReaderCommit { cursor, rewind, metadata, lease, release } = commit;
        let position = cursor.map(|cursor| cursor.position);
        let change = ReaderChange { position, rewind, metadata, lease, release };
        match self.0.store.commit_event_reader(principal, &reader.0, &change).await? {
            Committed::Done => Ok(()),
            Committed::Behind(position) => Err(Error::ReaderBehind(self.cursor(position))),
            Committed::Leased(left) => Err(Error::ReaderLeased(left)),
            Committed::Stale => Err(Error::StaleReaderLease),
            Committed::LimitReached => Err(Error::ReaderLimit),
        }
    }

    /// Removes a reader. Returns whether it existed.
    ///
    /// # Errors
    /// As [`Self::committed_reader`]; [`Error::ReaderLeased`].
    pub async fn remove_reader(&self, principal: &Principal, reader: &ReaderName) -> Result<bool, Error> {
        self.check(principal)?;
        let removed = self.0.store.remove_event_reader(principal, &reader.0).await?;
        removed.map_err(Error::ReaderLeased)
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
    #[test]
    fn limits_are_documented() {
        let [min, default, max] = [MIN_LEASE, DEFAULT_LEASE, MAX_LEASE].map(|lease| lease.as_secs());
        limits_page::row(
            "lease of a reader of the event log; its metadata",
            &format!("{default} s, {min} s to {max} s; {}", limits_page::bytes(MAX_METADATA)),
        );
    }
}
