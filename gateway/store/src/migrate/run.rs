//! Executes the missing steps of migrations.
//!
//! On SQLite a step and its record are one transaction. On MySQL a change of the tables commits at once, so the record
//! follows, and the next start checks whether the change was made. A change of rows is one transaction for each range
//! of keys, which records its position.
//!
//! On MySQL one program at a time migrates, under a lock of the server. In Galera and Group Replication the lock is
//! local to a node, so programs at several nodes may execute the same steps at once. One of them is then refused,
//! because its transaction conflicts or because its change already exists; it checks again and continues.

use std::time::{Duration, Instant};

use rand::Rng;
use sqlx::migrate::{Migration, Migrator};

use super::applied::AppliedMigration;
use super::privileges::MIGRATING;
use super::script::{self, Present, Step};
use crate::connection::Connection;
use crate::read_path::ConnectionInUse;
use crate::row::Row;
use crate::statement::Statement;
use crate::{ConnectError, Dialect, Error, Shard, error};

/// Rows that one transaction changes.
const RANGE: i64 = 2_000;
/// Minimum interval between two log lines about progress.
const LOG_EVERY: Duration = Duration::from_secs(2);
/// Maximum number of tries after conflicts with another migration.
const TRIES: u32 = 30;
/// Maximum pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// A key above every id.
const LAST_KEY: [u8; 17] = [0xff; 17];

/// The same on a shard of Vitess, which takes a lock only by a literal name, in the first shard of a session.
const SHARD_LOCK: &str = "SELECT GET_LOCK('orders.migration', 2)";
/// The names of locks belong to the server, not to the database.
const LOCK: &str = "SELECT CAST(GET_LOCK(CONCAT('orders.', CRC32(DATABASE())), 2) AS SIGNED)";

const CREATE_VERSIONS: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, \
    description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
    checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)";
const CREATE_STEPS: &str = "CREATE TABLE IF NOT EXISTS migration_steps (version BIGINT NOT NULL, \
    step BIGINT NOT NULL, finished BIGINT NOT NULL, reached BLOB NOT NULL, PRIMARY KEY (version, step))";

/// Table, column and key exist already, and a dropped one does not; a version or a step is recorded already.
const RACED: [u16; 5] = [1050, 1060, 1061, 1091, 1062];

/// Decides about a migration, and is told about it, while it runs.
#[derive(Clone, Copy)]
pub(super) struct Watch<'w> {
    pub(super) proceed: &'w (dyn Fn() -> bool + Sync),
    /// Receives the progress, which is otherwise logged.
    pub(super) report: Option<&'w (dyn Fn(&MigrationProgress) + Sync)>,
}

/// The progress of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationProgress {
    /// The steps of all missing versions that are done.
    pub done: usize,
    /// The steps of all missing versions.
    pub total: usize,
    /// The version of the running step.
    pub version: i64,
    /// What this version changes.
    pub what: String,
    /// The number of the running step in its version, from 1.
    pub step: i64,
    /// The rows that the running step has changed.
    pub rows: u64,
}

/// Why a migration ended early.
enum Stop {
    Interrupted,
    /// Another program has finished the migration meanwhile.
    Finished,
    Store(Error),
    Script(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

pub(super) async fn run(store: &Shard, files: &Migrator, watch: Watch<'_>) -> Result<(), ConnectError> {
    let dialect = store.inner.dialect;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut connection = match store.inner.writers.acquire().await {
            Ok(connection) => ConnectionInUse::new(connection),
            Err(error) => return Err(store.explained(error.into(), MIGRATING).await),
        };
        let mut runner =
            Runner { connection: connection.connection(), dialect, watch, verbose: false, progress: None };
        runner.connection.place = store.inner.place;
        // The lock, and an uncommitted transaction, end with the connection.
        match runner.all(files).await {
            Ok(()) => return Ok(()),
            Err(Stop::Interrupted) => return Err(ConnectError::Interrupted),
            Err(Stop::Finished) => {}
            Err(Stop::Script(statement)) => {
                return Err(ConnectError::Migration(format!("a step cannot be repeated: {statement}")));
            }
            Err(Stop::Store(error)) if tries < TRIES && collided(&error) => {
                tracing::info!(%error, "another process is migrating, retrying");
                let jitter = rand::rng().random_range(0.5..1.0);
                tokio::time::sleep(PAUSE.mul_f64(jitter)).await;
            }
            Err(Stop::Store(error)) => return Err(store.explained(error, MIGRATING).await),
        }
    }
}

fn collided(error: &Error) -> bool {
    match error {
        Error::Conflict(_) | Error::Locked(_) => true,
        Error::Defect(error) => error::number(error).is_some_and(|number| RACED.contains(&number)),
        _ => false,
    }
}

/// A step of a version.
#[derive(Clone, Copy)]
struct Place {
    version: i64,
    step: i64,
}

struct Runner<'r> {
    connection: &'r mut Connection,
    dialect: Dialect,
    watch: Watch<'r>,
    /// Orders exist, so steps may take long and are logged.
    verbose: bool,
    /// `None` before the first step.
    progress: Option<MigrationProgress>,
}

impl Runner<'_> {
    async fn all(&mut self, files: &Migrator) -> Result<(), Stop> {
        self.lock().await?;
        self.execute(Statement::new(CREATE_VERSIONS)).await?;
        self.execute(Statement::new(CREATE_STEPS)).await?;
        let complete = self.complete().await?;
        self.verbose = !complete.is_empty() && self.watch.report.is_none();
        let missing = files.iter().filter(|migration| !complete.contains(&migration.version));
        let with_steps = missing.map(|it| script::steps(it.sql.as_str()).map(|steps| (it, steps)));
        let missing: Vec<_> = with_steps.collect::<Result<_, _>>().map_err(Stop::Script)?;
        let (mut done, total) = (0, missing.iter().map(|(_, steps)| steps.len()).sum());
        for (migration, steps) in &missing {
            let (version, what) = (migration.version, migration.description.to_string());
            self.progress = Some(MigrationProgress { done, total, version, what, step: 0, rows: 0 });
            self.migration(migration, steps).await?;
            done += steps.len();
        }
        Ok(())
    }

    /// Begins a step, from 0.
    fn begin_step(&mut self, number: i64) {
        let Some(progress) = &mut self.progress else { return };
        progress.done += usize::from(progress.step > 0);
        (progress.step, progress.rows) = (number + 1, 0);
        if let Some(report) = self.watch.report {
            report(progress);
        }
    }

    /// Waits for other programs that migrate the same database.
    async fn lock(&mut self) -> Result<(), Stop> {
        if self.dialect == Dialect::Sqlite {
            return Ok(());
        }
        let mut logged = None;
        loop {
            let lock = if self.connection.place.is_some() { SHARD_LOCK } else { LOCK };
            let rows = self.fetch(Statement::new(lock)).await?;
            let got: Option<i64> = rows.first().map(|row| row.get(0)).transpose()?;
            if got == Some(1) {
                return Ok(());
            }
            every(LOG_EVERY, &mut logged, || tracing::info!("waiting for the migration by another process"));
        }
    }

    async fn complete(&mut self) -> Result<Vec<i64>, Stop> {
        self.begin().await?;
        let rows = self.fetch(Statement::new(self.dialect.applied())).await?;
        let versions: Vec<AppliedMigration> =
            rows.iter().map(AppliedMigration::read).collect::<Result<_, Error>>()?;
        self.commit().await?;
        Ok(versions.into_iter().filter(|it| it.complete).map(|it| it.version).collect())
    }

    async fn migration(&mut self, migration: &Migration, steps: &[Step]) -> Result<(), Stop> {
        let version = migration.version;
        if self.verbose {
            tracing::info!(version, what = %migration.description, steps = steps.len(), "migrating the database");
        }
        self.begin().await?;
        let mut sql = Statement::new("SELECT version FROM _sqlx_migrations WHERE version = ?");
        sql.bind(version);
        if self.fetch(sql).await?.is_empty() {
            let mut sql = Statement::new(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (?, ?, FALSE, ?, -1)",
            );
            sql.bind(version).bind(migration.description.to_string()).bind(migration.checksum.to_vec());
            self.execute(sql).await?;
        }
        self.commit().await?;
        for (number, step) in steps.iter().enumerate() {
            let place = Place { version, step: i64::try_from(number).unwrap_or(i64::MAX) };
            self.begin_step(place.step);
            self.step(place, step).await?;
        }
        self.begin().await?;
        let mut sql = Statement::new("UPDATE _sqlx_migrations SET success = TRUE WHERE version = ?");
        sql.bind(version);
        self.execute(sql).await?;
        let mut sql = Statement::new("DELETE FROM migration_steps WHERE version = ?");
        sql.bind(version);
        self.execute(sql).await?;
        self.commit().await
    }

    async fn step(&mut self, place: Place, step: &Step) -> Result<(), Stop> {
        self.begin().await?;
        let (finished, position) = self.record(place).await?;
        if finished {
            return self.commit().await;
        }
        if let (true, Some(MigrationProgress { done, total, .. })) = (self.verbose, &self.progress) {
            tracing::info!(
                version = place.version,
                step = place.step + 1,
                done,
                total,
                "migrating the database"
            );
        }
        match step {
            Step::Plain(text) => {
                self.execute_raw(text.clone()).await?;
            }
            Step::Alter { table, clauses } => {
                let left = match self.dialect {
                    Dialect::MySql => script::remaining(clauses, &self.present(table).await?),
                    Dialect::Sqlite => clauses.iter().collect(),
                };
                let left: Vec<_> = left.into_iter().map(|clause| clause.text.as_str()).collect();
                if !left.is_empty() {
                    self.execute_raw(format!("ALTER TABLE {table} {}", left.join(", "))).await?;
                }
            }
            Step::Rows { table, key, text } => return self.rows(place, table, key, text, position).await,
        }
        self.set_record(place, true, &[]).await?;
        self.commit().await
    }

    /// Changes all rows, one range of keys in each transaction, the first of which is open.
    async fn rows(
        &mut self,
        place: Place,
        table: &str,
        key: &str,
        text: &str,
        mut position: Vec<u8>,
    ) -> Result<(), Stop> {
        let (mut changed, mut logged) = (0, Some(Instant::now()));
        loop {
            let mut sql = Statement::new(format!(
                "SELECT {key} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT 1 OFFSET ?"
            ));
            sql.bind(position.clone()).bind(RANGE - 1);
            let rows = self.fetch(sql).await?;
            let end: Option<Vec<u8>> = rows.first().map(|row| row.get(0)).transpose()?;
            let last = end.is_none();
            let end = end.unwrap_or_else(|| LAST_KEY.to_vec());
            let mut sql = Statement::new(text);
            sql.bind(position).bind(end.clone());
            changed += self.execute(sql).await?;
            self.set_record(place, last, &end).await?;
            self.commit().await?;
            if last {
                return Ok(());
            }
            if let (Some(report), Some(progress)) = (self.watch.report, &mut self.progress) {
                progress.rows = changed;
                report(progress);
            } else {
                let Place { version, step } = place;
                every(LOG_EVERY, &mut logged, || {
                    tracing::info!(version, step = step + 1, changed, "migrated rows")
                });
            }
            self.begin().await?;
            let (finished, recorded) = self.record(place).await?;
            if finished {
                return self.commit().await;
            }
            position = recorded;
        }
    }

    /// Returns whether the step is finished, and its position.
    async fn record(&mut self, place: Place) -> Result<(bool, Vec<u8>), Stop> {
        let mut sql = Statement::new(self.dialect.success());
        sql.bind(place.version);
        let rows = self.fetch(sql).await?;
        if rows.first().map_or(Ok(0), |row| row.get::<i64>(0))? != 0 {
            return Err(Stop::Finished);
        }
        let mut sql =
            Statement::new("SELECT finished, reached FROM migration_steps WHERE version = ? AND step = ?");
        sql.bind(place.version).bind(place.step);
        let rows = self.fetch(sql).await?;
        let Some(row) = rows.first() else { return Ok((false, Vec::new())) };
        Ok((row.get::<i64>(0)? != 0, row.get(1)?))
    }

    async fn set_record(&mut self, place: Place, finished: bool, position: &[u8]) -> Result<(), Stop> {
        let mut sql = Statement::new("DELETE FROM migration_steps WHERE version = ? AND step = ?");
        sql.bind(place.version).bind(place.step);
        self.execute(sql).await?;
        let mut sql = Statement::new(
            "INSERT INTO migration_steps (version, step, finished, reached) VALUES (?, ?, ?, ?)",
        );
        sql.bind(place.version).bind(place.step).bind(i64::from(finished)).bind(position.to_vec());
        self.execute(sql).await?;
        Ok(())
    }

    /// Returns the columns and keys of a table of MySQL.
    async fn present(&mut self, table: &str) -> Result<Present, Stop> {
        let mut present = Present::default();
        if self.connection.place.is_some() {
            // vtgate does not know the name of the database of a shard.
            for (question, column, names) in
                [("COLUMNS", 0, &mut present.columns), ("KEYS", 2, &mut present.keys)]
            {
                for row in self.fetch(Statement::new(format!("SHOW {question} FROM {table}"))).await? {
                    names.insert(row.get(column)?);
                }
            }
            return Ok(present);
        }
        let columns = "SELECT CAST(COLUMN_NAME AS CHAR) FROM information_schema.COLUMNS \
                       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
        let keys = "SELECT DISTINCT CAST(INDEX_NAME AS CHAR) FROM information_schema.STATISTICS \
                    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
        for (question, names) in [(columns, &mut present.columns), (keys, &mut present.keys)] {
            let mut sql = Statement::new(question);
            sql.bind(table.to_owned());
            for row in self.fetch(sql).await? {
                names.insert(row.get(0)?);
            }
        }
        Ok(present)
    }

    async fn begin(&mut self) -> Result<(), Stop> {
        match self.dialect.begin() {
            Some(begin) => self.execute_raw(begin.to_owned()).await,
            None => Ok(()),
        }
    }

    async fn commit(&mut self) -> Result<(), Stop> {
        match self.execute_raw("COMMIT".to_owned()).await {
            Err(Stop::Store(Error::Locked(error))) => Err(Stop::Store(Error::Conflict(error))),
            other => other,
        }
    }

    async fn fetch(&mut self, sql: Statement<'_>) -> Result<Vec<Row>, Stop> {
        self.proceed()?;
        Ok(sql.fetch(self.connection).await?)
    }

    async fn execute(&mut self, sql: Statement<'_>) -> Result<u64, Stop> {
        self.proceed()?;
        Ok(sql.execute(self.connection).await?)
    }

    /// Executes a statement without preparing it: it is sent once.
    async fn execute_raw(&mut self, text: String) -> Result<(), Stop> {
        self.proceed()?;
        self.connection.execute_text(text).await.map_err(Error::from)?;
        Ok(())
    }

    fn proceed(&self) -> Result<(), Stop> {
        if (self.watch.proceed)() { Ok(()) } else { Err(Stop::Interrupted) }
    }
}

/// Logs at most once in an interval.
fn every(interval: Duration, logged: &mut Option<Instant>, log: impl FnOnce()) {
    if logged.is_none_or(|at| at.elapsed() >= interval) {
        *logged = Some(Instant::now());
        log();
    }
}
