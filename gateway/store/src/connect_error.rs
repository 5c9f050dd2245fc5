//! The errors of opening and migrating a database.

use std::path::PathBuf;

use super::mysql_url::BadUrl;

/// Why the database cannot be opened. The messages contain no password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL does not name a usable database.
    #[error("the database URL {problem}")]
    InvalidUrl {
        /// What is wrong with it.
        problem: String,
        /// What to do instead.
        hint: String,
    },
    /// The new URL of an open database leads to another one.
    #[error("the database URL leads to another database")]
    OtherDatabase,
    /// The server refused the connection: wrong user, password or database.
    #[error("the database refused the connection: {0}")]
    Refused(String),
    /// The account's password plugin needs TLS, and the connection has none.
    #[error(
        "the account's plugin caching_sha2_password needs TLS for the first login, and the connection has none"
    )]
    NeedsTls,
    /// The file cannot be used: not writable, or not a database.
    #[error("{0}")]
    File(String),
    /// Another process uses the file.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file does not exist.
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    /// The server does not respond or is not ready. A retry may help.
    #[error("the database at {address} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port, or the file.
        address: String,
        /// The error of the attempt.
        cause: String,
    },
    /// The server accepts no changes, for example during a failover. A retry may help.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Orders cannot be written with the settings of the server.
    #[error("the database is not set up for orders: {0}")]
    Misconfigured(String),
    /// The server is none of MySQL or MariaDB, and takes other locks.
    #[error("the database is {name}, on which orders are not safe: {reason}")]
    UnsafeEngine {
        /// The name of the server.
        name: &'static str,
        /// What it does differently.
        reason: &'static str,
    },
    /// The user lacks a privilege.
    #[error("the user of the database lacks a privilege: {cause}")]
    Privileges {
        /// The error of the server.
        cause: String,
        /// The statement that grants it.
        grant: String,
    },
    /// A later version of the program has created the tables.
    #[error(
        "the schema has version {found}, and this program ({}) supports versions up to {needed}",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The version of the tables.
        found: i64,
        /// The version of this program.
        needed: i64,
    },
    /// A development version from before the first release has created the tables.
    #[error(
        "the tables were made by a development version from before 0.1.0 and cannot be upgraded: use an empty database"
    )]
    Development,
    /// The file of an embedded database is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The migration was stopped. The next one continues from there.
    #[error("the migration was stopped")]
    Interrupted,
    /// The tables could not be updated.
    #[error("the database migration failed: {0}")]
    Migration(String),
}

impl From<BadUrl> for ConnectError {
    fn from(BadUrl { problem, hint }: BadUrl) -> Self {
        Self::InvalidUrl { problem, hint }
    }
}

impl ConnectError {
    /// Returns whether a later retry may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ReadOnly(_) => true,
            Self::InvalidUrl { .. }
            | Self::OtherDatabase
            | Self::Refused(_)
            | Self::NeedsTls
            | Self::File(_)
            | Self::InUse(_)
            | Self::Missing(_)
            | Self::Misconfigured(_)
            | Self::UnsafeEngine { .. }
            | Self::Privileges { .. }
            | Self::Newer { .. }
            | Self::Development
            | Self::Damaged(_)
            | Self::Interrupted
            | Self::Migration(_) => false,
        }
    }
}
