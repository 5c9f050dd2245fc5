//! The steady time: it runs while a gateway runs and does not jump with the clock. Old orders and keys are removed by
//! it.
//!
//! One process alone cannot keep it: a process that starts directly after the clock was set forward by a day takes that
//! clock as right. The store therefore records it in the database each minute, and a process continues from the record.
//! A time without any gateway looks the same as a step and does not count either, so orders are kept for longer and
//! never for less. The time catches up slowly (`clock.rs`).

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Timestamp;

use super::clock::SteadyTimeRecord;
use super::statement::Statement;
use super::{Error, Shard};

/// Interval of the record, and the time that a restart can lose.
const INTERVAL: Duration = Duration::from_secs(60);

impl Shard {
    /// Returns the steady time, and records it when the record is old.
    ///
    /// # Errors
    /// [`Error`]; without the record nothing may be removed.
    pub(super) async fn steady_now(&self) -> Result<Timestamp, Error> {
        let SteadyTimeRecord { resumed, at } = &self.inner.steady;
        resumed.get_or_try_init(|| self.resume_steady_time()).await?;
        let now = self.inner.clock.steady_now();
        let recorded = Timestamp::from_micros(at.load(Ordering::Relaxed));
        if now.since(recorded) >= INTERVAL {
            self.record(now).await?;
            at.store(now.as_micros(), Ordering::Relaxed);
        }
        Ok(now)
    }

    async fn resume_steady_time(&self) -> Result<(), Error> {
        let recorded = self
            .read(|connection| {
                Box::pin(async move {
                    let found =
                        Statement::new("SELECT steady_at FROM installation").fetch(connection).await?;
                    found.first().map_or(Ok(0), |row| row.get(0))
                })
            })
            .await?;
        if recorded > 0 {
            self.inner.clock.resume(Timestamp::from_micros(recorded));
        }
        Ok(())
    }

    /// The latest time of all gateways counts.
    async fn record(&self, now: Timestamp) -> Result<(), Error> {
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new("UPDATE installation SET steady_at = ? WHERE steady_at < ?");
                sql.bind(now.as_micros()).bind(now.as_micros());
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }
}
