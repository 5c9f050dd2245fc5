//! The registered users of the queue: workers and installations.
//!
//! They are in two sorted sets, `<prefix>:workers` and `<prefix>:installations`. The score of a member is its expiry time
//! in milliseconds, by the clock of the Redis server. The sets are for display only; no decision depends on them.

use std::time::Duration;

use super::client::Redis;
use crate::error::Error;
use crate::queue::{REGISTRATION_TTL, Registrations};

impl Redis {
    /// Registers a worker that pulls from the queue.
    pub(super) async fn register_worker(&self, worker: &str) -> Result<(), Error> {
        let now_ms = self.server_time_ms().await?;
        let mut commands = redis::pipe();
        add_registration(&mut commands, &self.keys.workers, worker.as_bytes(), now_ms);
        self.run_commands(&self.keys.workers, &commands).await
    }

    /// Removes the registration of a worker.
    pub(super) async fn deregister_worker(&self, worker: &str) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands.cmd("ZREM").arg(&self.keys.workers).arg(worker).ignore();
        self.run_commands(&self.keys.workers, &commands).await
    }

    /// Registers an installation that pushes to the queue, and counts the workers and the installations.
    pub(super) async fn register_installation(&self, installation: &[u8]) -> Result<Registrations, Error> {
        let now_ms = self.server_time_ms().await?;
        let count = |commands: &mut redis::Pipeline, key: &str| {
            commands.cmd("ZCOUNT").arg(key).arg(now_ms).arg("+inf");
        };
        // In a cluster the two sets may be on different nodes.
        let (workers, installations) = (&self.keys.workers, &self.keys.installations);
        let mut commands = redis::pipe();
        add_registration(&mut commands, installations, installation, now_ms);
        count(&mut commands, installations);
        let (installations,) = self.run_commands(installations, &commands).await?;
        let mut commands = redis::pipe();
        count(&mut commands, workers);
        let (workers,) = self.run_commands(workers, &commands).await?;
        Ok(Registrations { workers, installations })
    }

    /// Returns the server's time, so that the clocks of workers and gateways do not matter.
    async fn server_time_ms(&self) -> Result<u64, Error> {
        let mut commands = redis::pipe();
        commands.cmd("TIME");
        let ((seconds, micros),): ((u64, u64),) = self.run_commands(&self.keys.queue, &commands).await?;
        Ok(seconds.saturating_mul(1_000).saturating_add(micros / 1_000))
    }
}

/// Adds a member, removes expired ones, and lets the set expire with its last member.
fn add_registration(commands: &mut redis::Pipeline, key: &str, member: &[u8], now_ms: u64) {
    let to_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let expires_at_ms = now_ms.saturating_add(to_ms(REGISTRATION_TTL));
    commands.cmd("ZADD").arg(key).arg(expires_at_ms).arg(member).ignore();
    commands.cmd("ZREMRANGEBYSCORE").arg(key).arg("-inf").arg(now_ms).ignore();
    commands.cmd("PEXPIRE").arg(key).arg(to_ms(REGISTRATION_TTL)).ignore();
}
