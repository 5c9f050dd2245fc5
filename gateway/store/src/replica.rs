//! A replica that is read in place of the primary, and whether it can be read. [`super::replica_read`] uses it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use telemetry::LogThrottle;

use super::connection::Pool;
use super::hosts::Host;

/// Whether a replica can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// It is read.
    Ok,
    /// It does not respond.
    Unreachable,
    /// It does not have the tables of this installation.
    OtherDatabase,
}

/// The replica of a store: one of these hosts.
pub(super) struct Replica {
    pub(super) hosts: Vec<Host>,
    pub(super) current: AtomicUsize,
    pub(super) pool: Pool,
    state: Mutex<ReplicaState>,
    log: LogThrottle,
}

/// Where a read may take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It contains everything that was responded before it.
    Current,
    /// It may be behind, as a replica is.
    MayBeOlder,
}

impl Replica {
    /// Creates the replica, which is not read before a check.
    pub(super) fn new(hosts: Vec<Host>, pool: Pool) -> Self {
        let state = Mutex::new(ReplicaState::Unreachable);
        Self { hosts, current: AtomicUsize::new(0), pool, state, log: LogThrottle::default() }
    }

    pub(super) fn state(&self) -> ReplicaState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, state: ReplicaState, cause: &str) {
        let before =
            std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state);
        if state != ReplicaState::Ok
            && let Some(more) = self.log.allow()
        {
            tracing::warn!(cause, more, "the replica cannot be read, the primary is read in its place");
        } else if state == ReplicaState::Ok && before != state {
            tracing::info!(host = self.host().shown, "the replica is read");
        }
    }

    fn host(&self) -> &Host {
        &self.hosts[self.current.load(Ordering::Relaxed) % self.hosts.len()]
    }
}
