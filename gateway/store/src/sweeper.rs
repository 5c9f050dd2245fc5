//! The lease of the sweeper, which one gateway of a database holds at a time.
//!
//! Every sweep is correct when two gateways run it: the lease only saves repetitions. A gateway that freezes with the
//! lease, or a clock that is set, can therefore do no harm.

use std::time::Duration;

use domain::Timestamp;

use super::statement::Statement;
use super::{Error, Shard, rows};

/// A lease that ends later than this many leases from now was taken before the clock was set back.
const MAX_LEASES_AHEAD: u32 = 2;

/// What a holder of the lease has measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweeperMeasurement {
    /// When.
    pub at: Timestamp,
    /// JSON.
    pub payload: String,
}

impl Shard {
    /// Takes the lease if no other gateway holds it, or renews it. Returns whether this gateway holds it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hold_sweeper_lease(&self, gateway: i64, lease: Duration) -> Result<bool, Error> {
        let (now, until) = (self.now(), self.now() + lease);
        let ahead = now + lease * MAX_LEASES_AHEAD;
        let is_free = move |holder: i64, held_until: Timestamp| {
            holder == gateway || held_until <= now || held_until > ahead
        };
        let held = self
            .read(|connection| {
                Box::pin(async move {
                    let sql = Statement::new("SELECT gateway, held_until FROM sweeper WHERE single = 1");
                    let found = sql.fetch(connection).await?;
                    let row = found.first().ok_or_else(|| Error::Row("the table sweeper is empty".into()))?;
                    Ok((row.get::<i64>(0)?, rows::time(row, 1)?))
                })
            })
            .await?;
        if !is_free(held.0, held.1) {
            return Ok(false);
        }
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "UPDATE sweeper SET gateway = ?, held_until = ? WHERE single = 1 AND gateway = ? AND held_until = ?",
                );
                sql.bind(gateway).bind(until.as_micros()).bind(held.0).bind(held.1.as_micros());
                Ok(sql.execute(connection).await? == 1)
            })
        })
        .await
    }

    /// Returns the lease, so that another gateway can take it at once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn return_sweeper_lease(&self, gateway: i64) -> Result<(), Error> {
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "UPDATE sweeper SET gateway = 0, held_until = 0 WHERE single = 1 AND gateway = ?",
                );
                sql.bind(gateway);
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    /// Saves what the holder of the lease has measured.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn save_measurement(&self, gateway: i64, measured: &SweeperMeasurement) -> Result<(), Error> {
        self.write(|connection| {
            let SweeperMeasurement { at, payload } = measured.clone();
            Box::pin(async move {
                let mut sql = Statement::new(
                    "UPDATE sweeper SET measured = ?, measured_at = ? WHERE single = 1 AND gateway = ?",
                );
                sql.bind(payload).bind(at.as_micros()).bind(gateway);
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    /// Returns what was measured last.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn measurement(&self) -> Result<Option<SweeperMeasurement>, Error> {
        self.read(|connection| {
            Box::pin(async move {
                let sql = Statement::new("SELECT measured_at, measured FROM sweeper WHERE single = 1");
                let found = sql.fetch(connection).await?;
                let Some(row) = found.first() else { return Ok(None) };
                let payload = row.get::<Option<String>>(1)?;
                Ok(payload.map(|payload| SweeperMeasurement {
                    at: rows::time(row, 0).unwrap_or_default(),
                    payload,
                }))
            })
        })
        .await
    }
}
