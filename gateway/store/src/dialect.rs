//! The differences between MySQL (or MariaDB) and SQLite.

/// The kind of database, chosen by the scheme of its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL 8 or later, MariaDB 10.11 or later.
    MySql,
    /// SQLite, the embedded default.
    Sqlite,
}

impl Dialect {
    /// Reads the migrations that were begun: version, whether it is complete, description.
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

    /// Reads whether one of them is complete.
    pub(super) fn success(self) -> &'static str {
        match self {
            Self::MySql => "SELECT CAST(success AS SIGNED) FROM _sqlx_migrations WHERE version = ?",
            Self::Sqlite => "SELECT CAST(success AS INTEGER) FROM _sqlx_migrations WHERE version = ?",
        }
    }

    /// Compares a column with a string byte by byte. Also returns how often the string is bound.
    ///
    /// The collation of the tables of MySQL ignores blanks at the end; an index serves the first comparison.
    pub(super) fn equals(self, column: &str) -> (String, usize) {
        match self {
            Self::MySql => (format!("{column} = ? AND CAST({column} AS BINARY) = CAST(? AS BINARY)"), 2),
            Self::Sqlite => (format!("{column} = ?"), 1),
        }
    }

    /// Opens a transaction that will write, where its first statement does not (`session`).
    ///
    /// SQLite takes its write lock at once: a transaction that first reads and then requests the lock is refused
    /// without waiting.
    pub(super) fn begin(self) -> Option<&'static str> {
        match self {
            Self::MySql => None,
            Self::Sqlite => Some("BEGIN IMMEDIATE"),
        }
    }

    /// Locks the rows of a SELECT until the end of the transaction. In SQLite the write lock does.
    pub(super) fn for_update(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE",
            Self::Sqlite => "",
        }
    }

    /// Keeps the rows of a SELECT unchanged until the end of the transaction, shared with others.
    ///
    /// In SQLite the write lock does. MariaDB knows the older spelling only.
    pub(super) fn for_share(self) -> &'static str {
        match self {
            Self::MySql => " LOCK IN SHARE MODE",
            Self::Sqlite => "",
        }
    }

    /// As [`Self::for_update`], without rows that another transaction has locked.
    pub(super) fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE SKIP LOCKED",
            Self::Sqlite => "",
        }
    }

    /// Makes a statement use the index `orders_by_stage`, where the planner chooses a wrong one.
    pub(super) fn by_stage(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (orders_by_stage)",
            Self::Sqlite => " INDEXED BY orders_by_stage",
        }
    }

    /// Makes a statement about due orders use the index `orders_due`.
    ///
    /// MariaDB would also read the whole stage of waiting orders, to filter the rows of the range.
    pub(super) fn by_due(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (orders_due)",
            Self::Sqlite => " INDEXED BY orders_due",
        }
    }

    /// The condition that makes an order part of the index `orders_due`, before further conditions.
    ///
    /// The index of MySQL contains all orders, with the maximum number as the due time of those that do not wait. With a
    /// condition on the stage, a search for the first entry would read the rows of all of them.
    pub(super) fn in_due_index(self) -> &'static str {
        match self {
            Self::MySql => "",
            Self::Sqlite => "stage = 'waiting' AND ",
        }
    }

    /// Selects the column `name` of up to a number of tenants with waiting orders, after a tenant, in their order.
    ///
    /// It reads one entry of the index for each tenant, not for each order. Binds the tenant and the number.
    pub(super) fn waiting_tenants(self) -> &'static str {
        match self {
            // MariaDB skips from group to group only if the groups are a prefix of the index, and with MIN.
            Self::MySql => {
                "SELECT tenant_id AS name, MIN(id) FROM orders FORCE INDEX (orders_by_stage) \
                 WHERE stage = 'waiting' AND tenant_id > ? GROUP BY stage, tenant_id ORDER BY stage, tenant_id LIMIT ?"
            }
            Self::Sqlite => {
                "WITH RECURSIVE waiting (name) AS (\
                 SELECT (SELECT MIN(tenant_id) FROM orders INDEXED BY orders_by_stage \
                 WHERE stage = 'waiting' AND tenant_id > ?) \
                 UNION ALL SELECT (SELECT MIN(tenant_id) FROM orders INDEXED BY orders_by_stage \
                 WHERE stage = 'waiting' AND tenant_id > waiting.name) FROM waiting WHERE waiting.name IS NOT NULL LIMIT ?) \
                 SELECT name FROM waiting WHERE name IS NOT NULL"
            }
        }
    }

    /// Selects up to a number of kinds of orders that may wait, in their order, as one entry of the index `orders_due` each.
    /// In MySQL the index contains all orders. Binds the number.
    pub(super) fn kinds(self) -> &'static str {
        match self {
            // As for `waiting_tenants`.
            Self::MySql => {
                "SELECT kind, MIN(priority) FROM orders FORCE INDEX (orders_due) GROUP BY kind ORDER BY kind LIMIT ?"
            }
            Self::Sqlite => {
                "WITH RECURSIVE present (kind) AS (\
                 SELECT (SELECT MIN(kind) FROM orders INDEXED BY orders_due WHERE stage = 'waiting') \
                 UNION ALL SELECT (SELECT MIN(kind) FROM orders INDEXED BY orders_due \
                 WHERE stage = 'waiting' AND kind > present.kind) FROM present WHERE present.kind IS NOT NULL LIMIT ?) \
                 SELECT kind FROM present WHERE kind IS NOT NULL"
            }
        }
    }

    /// Reads the database's time in microseconds since 1970.
    pub(super) fn now(self) -> &'static str {
        match self {
            Self::MySql => "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
            Self::Sqlite => "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
        }
    }

    /// Returns the condition that an order is beyond a position by total and id, and how often the total is bound.
    ///
    /// `sign` is one of `<`, `<=`, `>`, `>=`. Each database recognises a range of its index in one form only.
    pub(super) fn beyond(self, sign: &str) -> (String, usize) {
        match self {
            Self::MySql => {
                let strict = sign.trim_end_matches('=');
                (format!("(total_minor {strict} ? OR (total_minor = ? AND id {sign} ?))"), 2)
            }
            Self::Sqlite => (format!("(total_minor, id) {sign} (?, ?)"), 1),
        }
    }

    /// Makes a SELECT read this index. SQLite chooses it without a hint.
    pub(super) fn force_index(self, index: &str) -> String {
        match self {
            Self::MySql => format!(" FORCE INDEX ({index})"),
            Self::Sqlite => String::new(),
        }
    }

    /// The table, for an UPDATE by ids: with old statistics the planner may prefer to read all orders of one status.
    pub(super) fn orders_by_id(self) -> &'static str {
        match self {
            Self::MySql => "orders FORCE INDEX (PRIMARY)",
            Self::Sqlite => "orders",
        }
    }

    /// The condition that the id of a row is invalid, where the type of the column permits that.
    pub(super) fn malformed_id(self) -> Option<&'static str> {
        match self {
            Self::MySql => None,
            Self::Sqlite => Some("typeof(id) <> 'blob' OR length(id) <> 16"),
        }
    }

    /// Selects the ids of waiting orders of a kind that dispatch does not find, as ranges of the index `orders_due`. Binds
    /// the kind and the maximum number.
    ///
    /// They have none of the priorities or, in SQLite, whose index contains waiting orders only, a due time that never
    /// comes, or a tenant that is a blob, which sorts after text. The only other value of an ENUM of MySQL is its error value, the empty string.
    pub(super) fn stray(self) -> &'static str {
        match self {
            Self::MySql => {
                "SELECT id FROM orders FORCE INDEX (orders_due) WHERE kind = ? AND priority = '' AND stage = 'waiting' LIMIT ?"
            }
            Self::Sqlite => {
                "WITH RECURSIVE waiting (name) AS (\
                 SELECT (SELECT MIN(tenant_id) FROM orders INDEXED BY orders_by_stage WHERE stage = 'waiting') \
                 UNION ALL SELECT (SELECT MIN(tenant_id) FROM orders INDEXED BY orders_by_stage \
                 WHERE stage = 'waiting' AND tenant_id > waiting.name) FROM waiting WHERE waiting.name IS NOT NULL) \
                 SELECT id FROM (SELECT id FROM orders INDEXED BY orders_due WHERE stage = 'waiting' AND kind = ?1 AND (\
                 priority < 'high' OR (priority > 'high' AND priority < 'low') \
                 OR (priority > 'low' AND priority < 'normal') OR priority > 'normal') \
                 UNION ALL SELECT orders.id FROM waiting CROSS JOIN orders INDEXED BY orders_due \
                 WHERE orders.stage = 'waiting' AND orders.kind = ?1 AND orders.priority IN ('high', 'low', 'normal') \
                 AND orders.tenant_id = waiting.name AND orders.due_at >= 9223372036854775807 \
                 UNION ALL SELECT id FROM orders INDEXED BY orders_by_stage \
                 WHERE stage = 'waiting' AND tenant_id >= x'') LIMIT ?2"
            }
        }
    }
}
