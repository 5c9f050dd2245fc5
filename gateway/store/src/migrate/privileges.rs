//! The privileges that a user of the database needs.

/// To read the tables.
pub(super) const READING: &str = "SELECT";
/// To run a gateway.
pub(super) const WRITING: &str = "SELECT, INSERT, UPDATE, DELETE";
/// To change the tables.
pub(super) const MIGRATING: &str = "CREATE, ALTER, DROP, INDEX, SELECT, INSERT, UPDATE, DELETE";
