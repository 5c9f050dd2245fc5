//! Creates and updates the tables.
//!
//! A migration is a file in `migrations/`, split into steps (see [`script`]) that are executed and recorded one by one
//! (see [`run`]). A program that is killed between two statements continues there at its next start.
//!
//! The table `_sqlx_migrations` records the executed files, in the form of sqlx. Its checksums are written and not
//! compared: a file may be rewritten if it leads to the same tables.

mod applied;
mod privileges;
mod run;
mod script;

use sqlx::migrate::Migrator;

use self::applied::AppliedMigration;
use self::privileges::{READING, WRITING};
pub use self::run::MigrationProgress;
use self::run::Watch;
use super::statement::Statement;
use super::{ConnectError, Dialect, Error, Outage, Shard, error};

static MYSQL: Migrator = sqlx::migrate!("../../migrations/mysql");
static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Returns the migrations of a database.
fn files(dialect: Dialect) -> &'static Migrator {
    match dialect {
        Dialect::MySql => &MYSQL,
        Dialect::Sqlite => &SQLITE,
    }
}

/// How the tables fit this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// The tables have the version that this program needs.
    Current,
    /// The tables are older.
    Older {
        /// The latest complete version; 0 when there are no tables.
        found: i64,
        /// The version that this program needs.
        needed: i64,
    },
}

impl Schema {
    /// Returns the older one.
    pub(super) fn older(self, other: Self) -> Self {
        match (self, other) {
            (Self::Older { found, .. }, Self::Older { found: of_other, .. }) if of_other < found => other,
            (Self::Older { .. }, _) => self,
            (Self::Current, other) => other,
        }
    }
}

/// The files of the development versions before the first release, after which 0001 was written anew.
const DEVELOPMENT: [(i64, &str); 7] = [
    (2, "dispatch"),
    (3, "lists"),
    (4, "retention"),
    (5, "stages"),
    (6, "timeline"),
    (7, "installation"),
    (8, "event class"),
];

impl Shard {
    /// Reads the version of the tables. Changes nothing and needs no privilege but SELECT.
    ///
    /// # Errors
    /// [`ConnectError::Newer`] when a later version of the program has made them, [`ConnectError::Development`] when one
    /// from before the first release has, and why they cannot be read.
    pub async fn schema(&self) -> Result<Schema, ConnectError> {
        let files = files(self.inner.dialect);
        let applied = self.applied().await?;
        if applied.iter().any(|it| DEVELOPMENT.contains(&(it.version, it.description.as_str()))) {
            return Err(ConnectError::Development);
        }
        self.compared(files, &applied)
    }

    /// Compares the tables with these files.
    fn compared(&self, files: &Migrator, applied: &[AppliedMigration]) -> Result<Schema, ConnectError> {
        let needed = files.iter().map(|it| it.version).max().unwrap_or(0);
        let newer =
            applied.iter().map(|it| it.version).filter(|version| !files.version_exists(*version)).max();
        if let Some(found) = newer {
            return Err(ConnectError::Newer { found, needed });
        }
        let complete = |version| applied.iter().any(|it| it.version == version && it.complete);
        if files.iter().all(|it| complete(it.version)) {
            return Ok(Schema::Current);
        }
        let found = applied.iter().filter(|it| it.complete).map(|it| it.version).max();
        Ok(Schema::Older { found: found.unwrap_or(0), needed })
    }

    /// Creates or updates the tables, if needed.
    ///
    /// Several gateways may do so at once: on MySQL one after the other, and an SQLite file belongs to one process.
    ///
    /// # Errors
    /// [`ConnectError`]. Where trying again helps the next call resumes with the last recorded step.
    pub async fn migrate(&self) -> Result<(), ConnectError> {
        self.migrate_while(&|| true).await
    }

    /// As [`Self::migrate`], while `proceed` returns true.
    ///
    /// `proceed` is called before each statement. After false, a later call resumes from there.
    ///
    /// # Errors
    /// As [`Self::migrate`], and [`ConnectError::Interrupted`].
    pub async fn migrate_while(&self, proceed: &(dyn Fn() -> bool + Sync)) -> Result<(), ConnectError> {
        self.migrate_watched(Watch { proceed, report: None }).await
    }

    /// As [`Self::migrate`], and calls `report` at the begin of each step and after each range of rows, in place of
    /// log lines.
    ///
    /// # Errors
    /// As [`Self::migrate`].
    pub async fn migrate_reporting(
        &self,
        report: &(dyn Fn(&MigrationProgress) + Sync),
    ) -> Result<(), ConnectError> {
        self.migrate_watched(Watch { proceed: &|| true, report: Some(report) }).await
    }

    async fn migrate_watched(&self, watch: Watch<'_>) -> Result<(), ConnectError> {
        match self.schema().await? {
            Schema::Current => Ok(()),
            Schema::Older { .. } => run::run(self, files(self.inner.dialect), watch).await,
        }
    }

    /// As [`Self::migrate_while`], with other files.
    ///
    /// # Errors
    /// As [`Self::migrate_while`].
    pub async fn migrate_to(
        &self,
        files: &Migrator,
        proceed: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), ConnectError> {
        match self.compared(files, &self.applied().await?)? {
            Schema::Current => Ok(()),
            Schema::Older { .. } => run::run(self, files, Watch { proceed, report: None }).await,
        }
    }

    /// Tries the statements of a gateway, without changing a row: whether the user has the privileges and the server
    /// accepts changes.
    ///
    /// # Errors
    /// [`ConnectError::Privileges`], [`ConnectError::ReadOnly`] and others.
    pub async fn check_writable(&self) -> Result<(), ConnectError> {
        if self.inner.dialect == Dialect::Sqlite {
            // The file was opened for writing.
            return Ok(());
        }
        let tried = self.write(|connection| {
            Box::pin(async move {
                for statement in WRITES {
                    Statement::new(statement).execute(connection).await?;
                }
                Ok(())
            })
        });
        match tried.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explained(error, WRITING).await),
        }
    }

    /// Returns the migrations that were begun.
    async fn applied(&self) -> Result<Vec<AppliedMigration>, ConnectError> {
        let dialect = self.inner.dialect;
        // Without tables this fails, which is not worth a log line.
        let read = self.try_read(&self.inner.readers, move |connection| {
            Box::pin(async move {
                if dialect == Dialect::Sqlite {
                    let known =
                        "SELECT name FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";
                    if Statement::new(known).fetch(connection).await?.is_empty() {
                        return Ok(Vec::new());
                    }
                }
                let rows = Statement::new(dialect.applied()).fetch(connection).await?;
                rows.iter().map(AppliedMigration::read).collect()
            })
        });
        match read.await {
            Err(Error::Unavailable(Outage::Misconfigured(error)))
                if error::number(&error) == Some(NO_SUCH_TABLE) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(self.explained(error, READING).await),
            Ok(applied) => Ok(applied),
        }
    }

    /// Converts an error for the start of a program. `privileges` are those that were needed.
    async fn explained(&self, error: Error, privileges: &str) -> ConnectError {
        match error {
            Error::Unavailable(Outage::Denied(cause)) => {
                let user = self.user().await;
                ConnectError::Privileges {
                    cause: cause.to_string(),
                    grant: format!("GRANT {privileges} {user}"),
                }
            }
            Error::Unavailable(Outage::ReadOnly(cause)) => ConnectError::ReadOnly(cause.to_string()),
            Error::Unavailable(Outage::Misconfigured(cause)) => {
                ConnectError::Misconfigured(cause.to_string())
            }
            Error::Unavailable(outage) => self.unreachable(outage),
            Error::TimedOut | Error::CommitUnknown | Error::Conflict(_) | Error::Locked(_) => {
                self.unreachable(error)
            }
            other => ConnectError::Migration(other.to_string()),
        }
    }

    /// Returns `ON database.* TO 'user'@'host'`, as far as the server shows it.
    async fn user(&self) -> String {
        let question =
            "SELECT CONCAT('ON `', DATABASE(), '`.* TO ''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";
        let rows = self.read(|connection| Box::pin(Statement::new(question).fetch(connection))).await;
        let text = rows.ok().and_then(|rows| rows.first().and_then(|row| row.get::<String>(0).ok()));
        text.unwrap_or_else(|| "ON the database TO the user of the URL".to_owned())
    }
}

const NO_SUCH_TABLE: u16 = 1146;
/// The statements of gateways for each table. None of them finds a row.
const WRITES: [&str; 13] = [
    "SELECT id FROM installation WHERE single = 0",
    "INSERT INTO orders SELECT * FROM orders WHERE 1 = 0",
    "UPDATE orders SET version = version WHERE 1 = 0",
    "DELETE FROM orders WHERE 1 = 0",
    "INSERT INTO order_events SELECT * FROM order_events WHERE 1 = 0",
    "DELETE FROM order_events WHERE 1 = 0",
    "INSERT INTO idempotency_keys SELECT * FROM idempotency_keys WHERE 1 = 0",
    "DELETE FROM idempotency_keys WHERE 1 = 0",
    "INSERT INTO order_references SELECT * FROM order_references WHERE 1 = 0",
    "DELETE FROM order_references WHERE 1 = 0",
    "INSERT INTO order_notes SELECT * FROM order_notes WHERE 1 = 0",
    "DELETE FROM order_notes WHERE 1 = 0",
    "UPDATE queues SET paused_at = paused_at WHERE 1 = 0",
];
