//! The last statements of a transaction, which are sent with its COMMIT in one round trip.
//!
//! A lone order costs hardly any work, but each round trip wakes a thread on both sides. MySQL and MariaDB execute several
//! statements of one text in sequence, and stop at the first error. So nothing is committed after a failed statement.
//!
//! A statement that has to change one row is checked after its COMMIT. It is therefore the first write of its
//! transaction, and the statement after it writes only if `ROW_COUNT()` is 1: otherwise the COMMIT ends a transaction that
//! has written nothing. A statement for several rows cannot be sent in this way, because it could change some of them.
//!
//! The text contains its values, which prepared statements do not. Strings are written as hexadecimal digits, unless
//! they are words.

use std::fmt::Write as _;

use futures_util::StreamExt;
use sqlx::AssertSqlSafe;

use super::connection::{Connection, LastStatement, Link};
use super::error::{self, Error};
use super::statement::{self, Statement, Value};

/// Maximum length of a statement. A longer one is prepared, unless the statement before it is conditional.
const MAX_BYTES: usize = 16 * 1024;

/// Why a transaction was not committed.
pub(super) enum CommitFailure {
    /// A statement before COMMIT failed; the transaction is still open.
    Statement(Error),
    /// COMMIT failed, or its response was lost.
    Commit(Error),
    /// A statement has not changed its row. The transaction has ended and nothing was written.
    Outdated,
}

impl Connection {
    /// Returns whether the latest statement is sent with COMMIT and has to change one row.
    ///
    /// The statement after it then has to write nothing unless `ROW_COUNT()` is 1.
    pub(super) fn has_condition(&self) -> bool {
        self.last.as_ref().and_then(|last| last.last()).is_some_and(|latest| latest.has_condition)
    }

    /// Returns whether statements can be sent with COMMIT.
    pub(super) fn joins_statements(&self) -> bool {
        self.last.is_some()
    }

    /// Commits, after the last statements.
    pub(super) async fn commit(&mut self) -> Result<(), CommitFailure> {
        let last = self.last.as_mut().map(std::mem::take).unwrap_or_default();
        let (Link::MySql(connection), false) = (&mut self.link, last.is_empty()) else {
            let committed = self.execute_text("COMMIT").await;
            return committed.map_err(|error| CommitFailure::Commit(error::of_commit(error)));
        };
        let mut text = String::with_capacity(last.iter().map(|one| one.text.len() + 1).sum::<usize>() + 6);
        for statement in &last {
            text.push_str(&statement.text);
            text.push(';');
        }
        text.push_str("COMMIT");
        let mut results = sqlx::raw_sql(AssertSqlSafe(text)).execute_many(&mut **connection);
        let mut changed = Vec::with_capacity(last.len() + 1);
        while let Some(result) = results.next().await {
            match result {
                Ok(result) => changed.push(result.rows_affected()),
                // The server has answered that this statement failed, and has not executed those after it.
                Err(error @ sqlx::Error::Database(_)) if changed.len() < last.len() => {
                    return Err(CommitFailure::Statement(error.into()));
                }
                Err(error) => return Err(CommitFailure::Commit(error::of_commit(error))),
            }
        }
        if changed.len() <= last.len() {
            return Err(CommitFailure::Commit(Error::CommitUnknown));
        }
        let mut results = last.iter().zip(&changed);
        match results.all(|(statement, changed)| !statement.has_condition || *changed == 1) {
            true => Ok(()),
            false => Err(CommitFailure::Outdated),
        }
    }
}

impl Statement<'_> {
    /// Executes the statement before COMMIT, in its round trip if the server permits it.
    pub(super) async fn execute_last(self, connection: &mut Connection) -> Result<(), Error> {
        match self.join_commit(connection, false) {
            Ok(()) => Ok(()),
            Err(statement) => statement.execute(connection).await.map(drop),
        }
    }

    /// As [`Self::execute_last`], for a statement that can change only one row.
    ///
    /// The transaction fails as [`Error::Outdated`] if that row does not change. See the module for what may precede and
    /// follow this statement.
    pub(super) async fn change_last_row(self, connection: &mut Connection) -> Result<(), Error> {
        match self.join_commit(connection, true) {
            Ok(()) => Ok(()),
            Err(statement) => match statement.execute(connection).await? {
                1 => Ok(()),
                _ => Err(Error::Outdated),
            },
        }
    }

    /// Adds the statement to those of the COMMIT, or returns it.
    fn join_commit(self, connection: &mut Connection, has_condition: bool) -> Result<(), Self> {
        let may_be_long = connection.has_condition();
        let Some(last) = &mut connection.last else { return Err(self) };
        match self.literal().filter(|text| may_be_long || text.len() <= MAX_BYTES) {
            Some(text) => {
                statement::count_statement();
                last.push(LastStatement { text, has_condition });
                Ok(())
            }
            None => Err(self),
        }
    }

    /// Returns the text with the values in place of the placeholders.
    fn literal(&self) -> Option<String> {
        let (text, values) = self.parts();
        let mut pieces = text.split('?');
        let mut literal = pieces.next()?.to_owned();
        let mut values = values.iter();
        for piece in pieces {
            push_value(&mut literal, values.next()?);
            literal.push_str(piece);
        }
        values.next().is_none().then_some(literal)
    }
}

fn push_value(text: &mut String, value: &Value<'_>) {
    match value {
        Value::Null => text.push_str("NULL"),
        // Writing to a String does not fail.
        Value::Number(number) => drop(write!(text, "{number}")),
        Value::Text(value) if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            text.push('\'');
            text.push_str(value);
            text.push('\'');
        }
        Value::Text(value) => {
            text.push_str("_utf8mb4 ");
            push_bytes(text, value.as_bytes());
        }
        Value::Bytes(bytes) => push_bytes(text, bytes),
        Value::Id(id) => push_bytes(text, id.as_bytes()),
    }
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.reserve(bytes.len() * 2 + 3);
    text.push_str("x'");
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_replace_the_placeholders() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let mut sql = Statement::new("UPDATE t SET a = ?, b = ?, c = ?, d = ?, e = ? WHERE f = ? AND id = ?");
        sql.bind(-7).bind("held").bind("O'Neil \\ \u{fc}?").bind("").bind(vec![0, 255]).bind(None::<i64>);
        sql.bind(Value::Id(id));
        assert_eq!(
            sql.literal().unwrap(),
            "UPDATE t SET a = -7, b = 'held', c = _utf8mb4 x'4f274e65696c205c20c3bc3f', d = '', e = x'00ff' \
             WHERE f = NULL AND id = x'01890a5dac96774bbcceb302099a8057'"
        );
        let mut missing = Statement::new("SELECT ?, ?");
        missing.bind(1);
        assert_eq!(missing.literal(), None);
        let mut more = Statement::new("SELECT ?");
        more.bind(1).bind(2);
        assert_eq!(more.literal(), None);
    }
}
