//! A migration in the table of executed migrations.

use crate::Error;
use crate::row::Row;

/// A migration that was begun.
#[derive(Debug)]
pub(super) struct AppliedMigration {
    pub(super) version: i64,
    pub(super) complete: bool,
    pub(super) description: String,
}

impl AppliedMigration {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let complete = row.get::<i64>(1)? != 0;
        Ok(Self { version: row.get(0)?, complete, description: row.get(2)? })
    }
}
