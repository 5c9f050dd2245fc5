//! The messages between gateways and processors, apart from gRPC: jobs (the [`Queue`]) and order events (the [`Bus`]).
//!
//! The database is the source of truth, and both ports may lose messages. A lost job is pushed again, which delays its
//! order. A repeated job is rejected when its order is started. A subscriber that missed events reads them from the
//! database. Therefore the queue needs no acknowledgements, and the bus may drop events while it is disconnected if it
//! reports the gap.
//!
//! There are two adapters: [`memory`] within one process, [`redis`] between processes. Both pass the same tests
//! (`tests/it`). The ports promise nothing that the memory adapter cannot do.

mod bus;
mod error;
pub mod memory;
mod queue;
pub mod redis;
mod sharding;
mod signal;
mod subscriber;

pub use bus::{Bus, MAX_EVENTS_PER_MESSAGE};
pub use error::Error;
pub use queue::{Job, Queue, QueueEnd, REGISTRATION_TTL, Registrations};
pub use sharding::{ShardedBus, ShardedQueue};
pub use signal::{GatewayId, GatewayInfo, MAX_GATEWAY_TEXT, Signal};
pub use subscriber::{SUBSCRIPTION_BUFFER, Subscription};
