//! Who uses the queue: workers and installations, each with the time until which it counts.
//!
//! Two sorted sets, `<prefix>:workers` and `<prefix>:installations`. The score of a member is the time of the Redis
//! server, in milliseconds, until which it counts. Nothing depends on the sets but what operators are shown.

use std::time::Duration;

use super::Redis;
use crate::{Error, REGISTRATION_TTL, Registrations};

impl Redis {
    /// Notes that a worker pulls from the queue.
    pub(super) async fn register_worker(&self, worker: &str) -> Result<(), Error> {
        let now = self.time_ms().await?;
        let mut commands = redis::pipe();
        enter(&mut commands, &self.shared.workers_key, worker.as_bytes(), now);
        self.command(&commands).await
    }

    /// Forgets a worker.
    pub(super) async fn deregister_worker(&self, worker: &str) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands.cmd("ZREM").arg(&self.shared.workers_key).arg(worker).ignore();
        self.command(&commands).await
    }

    /// Notes that an installation pushes to the queue, and counts the workers and the installations.
    pub(super) async fn register_installation(&self, installation: &[u8]) -> Result<Registrations, Error> {
        let now = self.time_ms().await?;
        let (workers, installations) = (&self.shared.workers_key, &self.shared.installations_key);
        let mut commands = redis::pipe();
        enter(&mut commands, installations, installation, now);
        for key in [workers, installations] {
            commands.cmd("ZCOUNT").arg(key).arg(now).arg("+inf");
        }
        let (workers, installations) = self.command(&commands).await?;
        Ok(Registrations { workers, installations })
    }

    /// The server's time, so that the clocks of workers and gateways do not matter.
    async fn time_ms(&self) -> Result<u64, Error> {
        let mut commands = redis::pipe();
        commands.cmd("TIME");
        let ((seconds, micros),): ((u64, u64),) = self.command(&commands).await?;
        Ok(seconds.saturating_mul(1_000).saturating_add(micros / 1_000))
    }
}

/// Adds a member, removes those that no longer count, and lets the set end with its last member.
fn enter(commands: &mut redis::Pipeline, key: &str, member: &[u8], now: u64) {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let until = now.saturating_add(millis(REGISTRATION_TTL));
    commands.cmd("ZADD").arg(key).arg(until).arg(member).ignore();
    commands.cmd("ZREMRANGEBYSCORE").arg(key).arg("-inf").arg(now).ignore();
    commands.cmd("PEXPIRE").arg(key).arg(millis(REGISTRATION_TTL)).ignore();
}
