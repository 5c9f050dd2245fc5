//! The port for jobs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Kind, OrderId};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The time after which a worker or an installation that does not register again is no longer counted.
pub const REGISTRATION_TTL: Duration = Duration::from_secs(15);

/// The number of workers and installations that use a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrations {
    /// The registered workers.
    pub workers: u64,
    /// The installations whose gateways push to the queue. More than one is a misconfiguration: their workers take each
    /// other's jobs.
    pub installations: u64,
}

/// A hint that an order can be started: `{"orderId","quantity"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The order.
    pub order_id: OrderId,
    /// Its number of units, for workers that need it.
    pub quantity: u64,
}

/// The end of the queue to which jobs are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEnd {
    /// After all other jobs.
    Back,
    /// Before all other jobs, for urgent ones.
    Front,
}

/// Delivers jobs from front to back, each to one puller.
///
/// The queue has no maximum length: the pusher keeps it short with [`Queue::len`].
#[async_trait]
#[expect(
    clippy::len_without_is_empty,
    reason = "the dispatcher, the only caller, needs the number of free places"
)]
pub trait Queue: Send + Sync + 'static {
    /// Returns the queue of the orders of a kind, which has its own jobs and length. Registrations are those of this queue.
    ///
    /// Any queue of an installation returns the same one, and its own one for the kind that it has.
    fn of_kind(&self, kind: &Kind) -> Arc<dyn Queue>;

    /// Returns the lists of the queue, from each of which jobs are pulled separately; `None` if it is one list.
    fn lists(&self) -> Option<&[Arc<dyn Queue>]> {
        None
    }

    /// Adds jobs, so that the first of them is pulled first, and returns the new length of the queue.
    /// An empty slice changes nothing and returns 0.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; some of the jobs may have been added.
    async fn push(&self, jobs: &[Job], end: QueueEnd) -> Result<u64, Error>;

    /// Returns the name and the version of the server, such as `Redis 7.0.15`; `None` if the queue is in this process.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn server(&self) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// Takes up to `max` jobs from the front, oldest first.
    /// Waits up to `wait` for the first job and never for further ones. Returns no jobs after that time, and
    /// immediately if `max` is 0. Logs and drops an entry that is not a job.
    ///
    /// Dropping the future before it is ready loses no jobs: jobs that were already taken return to the front. A process
    /// that crashes with them loses them, which costs a redelivery.
    ///
    /// # Errors
    /// [`Error::Unavailable`], often immediately; the caller waits before the next call.
    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, Error>;

    /// Returns the number of jobs in the queue.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also if the server responds but would accept no job.
    async fn len(&self) -> Result<u64, Error>;

    /// Registers a worker that pulls from this queue, for [`REGISTRATION_TTL`].
    /// A queue without registrations does nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn register_worker(&self, _worker: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Removes the registration of a worker that stops.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn deregister_worker(&self, _worker: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Registers an installation that pushes to this queue, for [`REGISTRATION_TTL`], and counts all registrations.
    ///
    /// # Errors
    /// [`Error::Unavailable`], and [`Error::Unsupported`] from a queue without registrations.
    async fn register_installation(&self, _installation: &[u8]) -> Result<Registrations, Error> {
        Err(Error::Unsupported("this queue does not know who uses it".to_owned()))
    }
}
