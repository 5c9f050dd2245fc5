//! Queue and bus over Redis (7 or newer) or Valkey, between any number of gateways and processors.
//!
//! # What is in Redis
//! | key or channel | contents |
//! |---|---|
//! | `<prefix>:queue`, `<prefix>:queue.1` … | a list of `{"orderId","quantity"}`: pushed left with `LPUSH`, popped right with `BLMPOP … RIGHT COUNT n` |
//! | `<prefix>:events`, `<prefix>:events.1` … | a pub/sub channel; a message is a list of order events (`bus_content`) with a signature (`message_auth`) |
//! | `<prefix>:workers`, `<prefix>:installations` | sorted sets of the users of the queue, each with its expiry time (`registry`) |
//!
//! Nothing else is written, and all of it may be deleted at any time. Producers and consumers in other languages can use
//! the same list with `LPUSH` and `BRPOP` of any client. A restricted Redis user needs these names and the commands INFO,
//! PING, UNWATCH, LPUSH, RPUSH, LLEN, LMPOP, BLMPOP, PUBLISH, SUBSCRIBE, SETRANGE, TIME, ZADD, ZREM, ZREMRANGEBYSCORE,
//! ZCOUNT and PEXPIRE, SELECT if the URL has a database number, ROLE behind sentinels, and CLUSTER INFO, CLUSTER SLOTS,
//! SPUBLISH and SSUBSCRIBE in a cluster. Without SETRANGE, a server that rejects jobs is
//! detected with the first push. Without TIME and the commands after it, the number of workers is unknown.
//!
//! # What is promised
//! [`Redis::new`] never connects, so a program starts while Redis is unavailable. Every call has a deadline and returns
//! [`Error::Unavailable`](crate::Error::Unavailable) after it; the next call uses a fresh connection. No message of this
//! module contains the password.
//!
//! Start reading at `queue` and `bus`; `client` runs the commands, `connections` finds the server of a key and replaces the
//! connections, `topology` asks sentinels and nodes of a cluster for it, `url` parses the URL, `server_info` checks the
//! version.

mod bus;
mod bus_content;
mod client;
mod connections;
mod message_auth;
mod pool;
mod queue;
mod registry;
mod server_errors;
mod server_info;
mod server_url;
mod subscription;
mod topology;
mod url;
mod url_list;

pub use self::bus::{MAX_EVENT_CHANNELS, RedisBus};
pub use self::client::{DEFAULT_PREFIX, Redis};
pub use self::connections::RedisCertificates;
pub use self::message_auth::{BusKey, MIN_SECRET_BYTES};
pub use self::pool::COMMAND_TIMEOUT;
pub use self::queue::{MAX_QUEUE_LISTS, RedisQueue};
pub use self::server_info::ServerInfo;
pub use self::url::redact_url;
