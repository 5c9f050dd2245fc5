//! What travels between gateways and processors besides gRPC: hints that an order can be started
//! (the [`Queue`]) and the news that orders have changed (the [`Bus`]).
//!
//! Nothing here is the truth. The database is; whatever is lost here costs a delay and no order: a
//! lost job is pushed again, a repeated one is refused when it is started, and a subscriber that
//! missed events reads them from the database. So the queue needs no acknowledgements, and the bus
//! may drop everything while it is disconnected, as long as it says so.
//!
//! Two adapters: [`memory`] within one process, [`redis`] between many. Both pass the same tests
//! (`tests/it`); what the memory adapter cannot do, the ports do not promise.

pub mod memory;
pub mod redis;
mod subscriber;

pub use subscriber::SUBSCRIPTION_BUFFER;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{OrderEvent, OrderId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// The most events that travel in one message of the bus. More than that are split over several, so
/// that no single message holds up the others or the memory of a subscriber.
pub const MAX_EVENTS_PER_MESSAGE: usize = 500;

/// A worker or an installation that has announced itself counts for so long.
pub const REGISTRATION_TTL: Duration = Duration::from_secs(15);

/// Who uses a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrations {
    /// Workers that have announced themselves.
    pub workers: u64,
    /// Installations whose gateways push to the queue. More than one is a mistake: their workers take each other's jobs.
    pub installations: u64,
}

/// A hint that an order can be started: `{"orderId","quantity"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The order.
    pub order_id: OrderId,
    /// Its number of units, for workers that care.
    pub quantity: u64,
}

/// Where jobs are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEnd {
    /// Behind all others.
    Back,
    /// Ahead of all others, for what is urgent.
    Front,
}

/// Hands out jobs from front to end, each one to one puller.
///
/// The queue sets no limit on its length: whoever pushes keeps it short, by [`Queue::len`].
#[async_trait]
#[expect(
    clippy::len_without_is_empty,
    reason = "the dispatcher asks how much room is left, nobody else asks"
)]
pub trait Queue: Send + Sync + 'static {
    /// Adds jobs, so that the first of them is pulled first. Answers how many jobs wait now. Nothing
    /// happens for an empty slice, which is answered 0.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; some of the jobs may have been added.
    async fn push(&self, jobs: &[Job], place: QueueEnd) -> Result<u64, Error>;

    /// Takes up to `max` jobs from the front, oldest first. Waits up to `wait` for the first one and
    /// never for more; empty when none came. `max` 0 answers at once. An entry that is not a job is
    /// logged and left out.
    ///
    /// Dropping the future before it is ready loses no jobs: those already taken go back to the front.
    /// (A process that dies with them loses them, which costs a redelivery.)
    ///
    /// # Errors
    /// [`Error::Unavailable`], often at once: the caller waits a moment before the next try.
    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, Error>;

    /// How many jobs wait.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when the queue answers and would take no job.
    async fn len(&self) -> Result<u64, Error>;

    /// Notes that a worker pulls from this queue; it counts for [`REGISTRATION_TTL`]. A queue that does not know who uses it
    /// does nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn register_worker(&self, _worker: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Forgets a worker that has announced itself and ends.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn deregister_worker(&self, _worker: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Notes that an installation pushes to this queue, which counts for [`REGISTRATION_TTL`], and says who uses it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], and [`Error::Unsupported`] from a queue that does not know.
    async fn register_installation(&self, _installation: &[u8]) -> Result<Registrations, Error> {
        Err(Error::Unsupported("this queue does not know who uses it".to_owned()))
    }
}

/// Tells every subscriber what every publisher says, from the moment of subscription.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends the events as one message, or as several of [`MAX_EVENTS_PER_MESSAGE`] when there are
    /// more. Nothing happens for an empty slice.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the events are lost to the bus.
    async fn publish(&self, events: &[Arc<OrderEvent>]) -> Result<(), Error>;

    /// Tells every subscriber, by [`Signal::Connected`], that events were lost on their way to the bus.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; nobody may have been told.
    async fn publish_gap(&self) -> Result<(), Error>;

    /// Starts a subscription, which lasts until the receiver is dropped and reconnects for ever. Its
    /// first signal is [`Signal::Connected`], once it is in place. The channel holds
    /// [`SUBSCRIPTION_BUFFER`] messages; what does not fit is dropped and announced by
    /// [`Signal::Connected`] in its place.
    async fn subscribe(&self) -> mpsc::Receiver<Signal>;
}

/// What a subscriber of the bus receives.
#[derive(Clone, Debug)]
pub enum Signal {
    /// The subscription is in place, for the first time or again, or it fell behind, or a publisher
    /// could not reach the bus: whatever happened before this may have been missed.
    Connected,
    /// The events of one message, shared by everybody who receives it.
    Events(Arc<[Arc<OrderEvent>]>),
}

/// Why a call did not work. The caller tries again or does without.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The other side cannot be reached, did not answer in time, or refused. Says which and why.
    #[error("{0}")]
    Unavailable(String),
    /// The server answers, and cannot do what is needed of it. Says what it lacks.
    #[error("{0}")]
    Unsupported(String),
    /// The URL of the server is not usable. Says what to change.
    #[error("{0}")]
    InvalidUrl(String),
}
