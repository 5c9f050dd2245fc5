//! Measures the difference to the clock of the database.

use domain::Timestamp;

use super::clock::{corrected, wall_micros};
use super::statement::Statement;
use super::{Dialect, Error, Shard};

impl Shard {
    /// Returns the database's time: the local clock, corrected by the difference last measured.
    ///
    /// Gateways whose clocks differ, or are set while they run, therefore agree on leases, due times and ids.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Returns the number of clock steps that were detected.
    pub fn clock_steps(&self) -> u64 {
        self.inner.clock.steps()
    }

    /// Reads the database's time and stores the difference. Fails when the database does not respond.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::TimedOut`].
    pub async fn refresh_clock(&self) -> Result<(), Error> {
        let query = self.inner.dialect.now();
        let local = self.inner.clock.local;
        let (before, database, after) = self
            .read(move |connection| {
                Box::pin(async move {
                    // Without the wait for a connection, which can be long.
                    let before = local.micros();
                    let rows = Statement::new(query).fetch(connection).await?;
                    let database = rows.first().map_or(Ok(0), |row| row.get(0))?;
                    Ok((before, database, local.micros()))
                })
            })
            .await?;
        let offset = match self.inner.dialect {
            Dialect::MySql => corrected(self.inner.clock.offset(), before, database, after),
            // SQLite reads the clock of this machine in milliseconds; the clock itself is more exact.
            Dialect::Sqlite => wall_micros().saturating_sub(local.micros()),
        };
        self.inner.clock.set(offset);
        Ok(())
    }
}
