//! The few places where MySQL (or MariaDB) and SQLite differ.

use sqlx::migrate::Migrator;

use super::migrate;

/// Which database is behind the pool; chosen by the scheme of its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL 8 or later, MariaDB 10.11 or later.
    MySql,
    /// The embedded default.
    Sqlite,
}

impl Dialect {
    /// The migrations.
    pub(super) fn migrations(self) -> &'static Migrator {
        match self {
            Self::MySql => &migrate::MYSQL,
            Self::Sqlite => &migrate::SQLITE,
        }
    }

    /// The migrations that were begun: version, whether it is complete, description.
    pub(super) fn applied(self) -> &'static str {
        match self {
            Self::MySql => {
                "SELECT version, CAST(success AS SIGNED), CAST(description AS CHAR) FROM _sqlx_migrations ORDER BY version"
            }
            Self::Sqlite => {
                "SELECT version, CAST(success AS INTEGER), description FROM _sqlx_migrations ORDER BY version"
            }
        }
    }

    /// Whether one of them is complete.
    pub(super) fn success(self) -> &'static str {
        match self {
            Self::MySql => "SELECT CAST(success AS SIGNED) FROM _sqlx_migrations WHERE version = ?",
            Self::Sqlite => "SELECT CAST(success AS INTEGER) FROM _sqlx_migrations WHERE version = ?",
        }
    }

    /// Compares a column with a text byte by byte, and how often the text is bound. The collation of the tables of
    /// MySQL ignores blanks at the end; the first comparison is the one that an index serves.
    pub(super) fn equals(self, column: &str) -> (String, usize) {
        match self {
            Self::MySql => (format!("{column} = ? AND CAST({column} AS BINARY) = CAST(? AS BINARY)"), 2),
            Self::Sqlite => (format!("{column} = ?"), 1),
        }
    }

    /// Opens a transaction that is going to write, where its first statement does not (`session`).
    /// SQLite takes its write lock at once: a transaction that first reads and then asks for the lock is
    /// refused without any waiting.
    pub(super) fn begin(self) -> Option<&'static str> {
        match self {
            Self::MySql => None,
            Self::Sqlite => Some("BEGIN IMMEDIATE"),
        }
    }

    /// Locks the rows of a SELECT until the end of the transaction. SQLite's write lock does.
    pub(super) fn for_update(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE",
            Self::Sqlite => "",
        }
    }

    /// Keeps the rows of a SELECT as they are until the end of the transaction, beside others that do
    /// so. SQLite's write lock does. The older spelling is the one that MariaDB knows as well.
    pub(super) fn for_share(self) -> &'static str {
        match self {
            Self::MySql => " LOCK IN SHARE MODE",
            Self::Sqlite => "",
        }
    }

    /// As [`Self::for_update`], but leaves out rows that somebody else has locked.
    pub(super) fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE SKIP LOCKED",
            Self::Sqlite => "",
        }
    }

    /// Makes a statement use the index `orders_by_stage`, for where the planner guesses wrong.
    pub(super) fn by_stage(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (orders_by_stage)",
            Self::Sqlite => " INDEXED BY orders_by_stage",
        }
    }

    /// The database's time in microseconds since 1970.
    pub(super) fn now(self) -> &'static str {
        match self {
            Self::MySql => "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
            Self::Sqlite => "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
        }
    }

    /// The condition that an order is beyond a place by total and id, and how often the total is bound
    /// in it; `sign` is one of `<`, `<=`, `>`, `>=`. Each database makes a range of its index out of its
    /// own form only.
    pub(super) fn beyond(self, sign: &str) -> (String, usize) {
        match self {
            Self::MySql => {
                let strict = sign.trim_end_matches('=');
                (format!("(total_minor {strict} ? OR (total_minor = ? AND id {sign} ?))"), 2)
            }
            Self::Sqlite => (format!("(total_minor, id) {sign} (?, ?)"), 1),
        }
    }

    /// Makes a SELECT read this index. SQLite does by itself what this is needed for.
    pub(super) fn force_index(self, index: &str) -> String {
        match self {
            Self::MySql => format!(" FORCE INDEX ({index})"),
            Self::Sqlite => String::new(),
        }
    }

    /// The orders, for an UPDATE that names their ids: with what the planner last counted it may take a walk
    /// along all orders of one status for shorter.
    pub(super) fn orders_by_id(self) -> &'static str {
        match self {
            Self::MySql => "orders FORCE INDEX (PRIMARY)",
            Self::Sqlite => "orders",
        }
    }

    /// The condition that the id of a row is none, where the type of the column does not exclude that.
    pub(super) fn malformed_id(self) -> Option<&'static str> {
        match self {
            Self::MySql => None,
            Self::Sqlite => Some("typeof(id) <> 'blob' OR length(id) <> 16"),
        }
    }

    /// The condition that dispatch never finds a waiting order, as ranges of the index `orders_due`: it has none
    /// of the priorities or, in SQLite, whose index has waiting orders only, a due time that never comes. An ENUM
    /// of MySQL has nothing else but its error value, which is the empty text.
    pub(super) fn stray(self) -> &'static str {
        match self {
            Self::MySql => "priority = ''",
            Self::Sqlite => {
                "(priority < 'high' OR (priority > 'high' AND priority < 'low') \
                 OR (priority > 'low' AND priority < 'normal') OR priority > 'normal' \
                 OR (priority IN ('high', 'low', 'normal') AND due_at >= 9223372036854775807))"
            }
        }
    }
}
