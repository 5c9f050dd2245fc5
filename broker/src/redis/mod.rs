//! Over Redis (7 or newer) or Valkey, between any number of gateways and processors.
//!
//! # What is in Redis
//! | key or channel | holds |
//! |---|---|
//! | `<prefix>:queue` | a list of `{"orderId","quantity"}`: `LPUSH` in on the left, `BLMPOP … RIGHT COUNT n` out on the right |
//! | `<prefix>:events` | a pub/sub channel; one message is a list of order events, in a form of our own (`message`), sealed by its sender (`seal`) |
//! | `<prefix>:workers`, `<prefix>:installations` | sorted sets of who uses the queue, each with the time until which it counts (`presence`) |
//!
//! Nothing else is written, and all of it may be wiped at any moment. Producers and consumers in other
//! languages can use the same list: it is the plain form that `LPUSH` and `BRPOP` of any client speak.
//! A restricted Redis user needs these names and the commands INFO, PING, UNWATCH, LPUSH, RPUSH, LLEN, LMPOP, BLMPOP,
//! PUBLISH, SUBSCRIBE, SETRANGE, TIME, ZADD, ZREM, ZREMRANGEBYSCORE, ZCOUNT and PEXPIRE, and SELECT where the URL has a
//! database number. Without SETRANGE a server that takes no jobs is noticed with the first push; without those from TIME
//! on the number of workers is not known.
//!
//! # What is promised
//! [`Redis::new`] never connects, so a program starts while Redis is away. Every call has a deadline
//! and answers [`Error::Unavailable`] when it passes; the next call tries again with a fresh
//! connection. No message of this module contains the password.
//!
//! Start reading at [`queue`](self::Queue) and [`bus`](self::Bus); `address` reads the URL, `server`
//! judges the version.

mod address;
mod bus;
mod message;
mod pool;
mod presence;
mod queue;
mod refusal;
mod seal;
mod server;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{Pool, PoolError};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult};

use self::address::Address;
pub use self::bus::Bus;
use self::pool::Manager;
pub use self::queue::Queue;
pub use self::seal::{BusKey, MIN_SECRET_BYTES};
pub use self::server::ServerInfo;
use crate::Error;

/// The prefix of the keys when none is given: `orders:queue` and `orders:events`.
pub const DEFAULT_PREFIX: &str = "orders";

/// The longest that a command may take, from asking for a connection to the answer.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// How often it is tried whether the server takes writes, while the length of the queue is asked for.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// The most values in one command. A longer slice becomes several commands in one round trip.
const MAX_VALUES_PER_COMMAND: usize = 500;

/// Connections for commands that answer at once.
const MAX_COMMAND_CONNECTIONS: usize = 8;

/// Connections for pulls, each of which holds one while it waits.
const MAX_PULL_CONNECTIONS: usize = 64;

/// One Redis server and one key prefix. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    /// The URL without its password, for messages.
    shown: String,
    /// For connections outside the pools: one for each subscription.
    client: Client,
    commands: Pool<Manager>,
    /// Apart from `commands`, because a blocking command makes all others on its connection wait.
    pulls: Pool<Manager>,
    queue_key: String,
    workers_key: String,
    installations_key: String,
    channel: String,
    /// When the server last took a write that was tried.
    took_write: Mutex<Option<Instant>>,
}

impl Redis {
    /// Prepares connections to the server at `url`, without connecting: `redis://host:port/db`,
    /// `rediss://…` for TLS (certificates as the system or `SSL_CERT_FILE` trusts them), or
    /// `unix:///path/to/socket`. The names of keys and channels begin with `prefix`.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`], which says what to change.
    pub fn new(url: &str, prefix: &str) -> Result<Self, Error> {
        let Address { info, shown, tls } = Address::parse(url)?;
        if tls {
            install_crypto_provider();
        }
        let unusable = |cause: RedisError| Error::InvalidUrl(format!("the Redis URL {shown}: {cause}"));
        // The client library turns TCP_NODELAY off unless it is asked for. Without it a command that follows an
        // unacknowledged one waits for the server's delayed acknowledgement.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(unusable)?;
        let pool = |config, connections| pool::pool(&client, config, connections);
        let config = || AsyncConnectionConfig::new().set_connection_timeout(Some(DEADLINE));
        let commands = pool(config().set_response_timeout(Some(DEADLINE)), MAX_COMMAND_CONNECTIONS);
        // A pull waits longer than any other command; it keeps its own deadline.
        let pulls = pool(config().set_response_timeout(None), MAX_PULL_CONNECTIONS);
        let (queue_key, channel) = (format!("{prefix}:queue"), format!("{prefix}:events"));
        let (workers_key, installations_key) =
            (format!("{prefix}:workers"), format!("{prefix}:installations"));
        Ok(Self {
            shared: Arc::new(Shared {
                shown,
                client,
                commands,
                pulls,
                queue_key,
                workers_key,
                installations_key,
                channel,
                took_write: Mutex::new(None),
            }),
        })
    }

    /// The queue in the list `<prefix>:queue`.
    pub fn queue(&self) -> Queue {
        Queue::new(self.clone())
    }

    /// The bus on the channel `<prefix>:events`, for all who have this key.
    pub fn bus(&self, key: BusKey) -> Bus {
        Bus::new(self.clone(), key)
    }

    /// Asks the server who it is, and tries a write. For the start, and for readiness: an answer means that it can be
    /// reached and can do what is needed of it. The warnings are for the log; nothing is logged here.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be reached or takes no jobs, [`Error::Unsupported`] when it is too old.
    pub async fn check(&self) -> Result<ServerInfo, Error> {
        let mut sections = redis::pipe();
        // Two commands, because servers before Redis 7 take no list of sections.
        sections.cmd("INFO").arg("server").cmd("INFO").arg("memory").cmd("INFO").arg("cluster");
        let (server, memory, cluster): (String, String, String) = self.command(&sections).await?;
        let info = ServerInfo::read(&server, &memory, &cluster)
            .map_err(|reason| Error::Unsupported(format!("Redis at {}: {reason}", self.shared.shown)))?;
        self.try_write().await?;
        Ok(info)
    }

    /// As [`Self::try_write`], unless one was tried a moment ago.
    async fn try_write_now_and_then(&self) -> Result<(), Error> {
        let took = *self.shared.took_write.lock().unwrap_or_else(PoisonError::into_inner);
        if took.is_some_and(|took| took.elapsed() < TRIED_EVERY) {
            return Ok(());
        }
        self.try_write().await
    }

    /// Sends a write to the queue's key that changes nothing. A replica, a node of a cluster that does not have the key
    /// and a server without memory answer reads all the same, and refuse this.
    async fn try_write(&self) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands.cmd("SETRANGE").arg(&self.shared.queue_key).arg(0).arg("").ignore_errors();
        let answers: Vec<RedisResult<redis::Value>> = self.command(&commands).await?;
        if let Some(Err(cause)) = answers.first() {
            // The queue is a list and not a text, which is looked at last. A user who may not use the command learns
            // from its pushes.
            if !refusal::is(cause, "WRONGTYPE") && !refusal::is(cause, "NOPERM") {
                self.shared.commands.retain(|_, _| false);
                return Err(self.failed(cause));
            }
        }
        *self.shared.took_write.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// Runs commands in one round trip, within the deadline.
    async fn command<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        let mut used = None;
        let call = async {
            let pooled = self.shared.commands.get().await.map_err(|cause| self.not_connected(&cause))?;
            let connection = used.insert(pooled);
            commands.query_async(&mut **connection).await.map_err(|cause| self.failed(&cause))
        };
        let answer = tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| Err(self.no_answer()));
        if let (Err(_), Some(connection)) = (&answer, used) {
            // It may be dead without knowing it yet.
            pool::give_up(connection);
        }
        answer
    }

    fn not_connected(&self, cause: &PoolError<RedisError>) -> Error {
        match cause {
            PoolError::Backend(cause) => self.failed(cause),
            PoolError::Timeout(_) => self.no_answer(),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                self.unavailable(cause)
            }
        }
    }

    fn failed(&self, cause: &RedisError) -> Error {
        if cause.is_timeout() {
            self.no_answer()
        } else if cause.kind() == ErrorKind::AuthenticationFailed {
            self.unavailable("it refuses the user name or password (WRONGPASS)")
        } else if let Some(meaning) = refusal::explained(cause) {
            self.unavailable(meaning)
        } else {
            self.unavailable(cause)
        }
    }

    fn no_answer(&self) -> Error {
        self.unavailable(format_args!("no response within {} s", DEADLINE.as_secs()))
    }

    fn unavailable(&self, reason: impl fmt::Display) -> Error {
        Error::Unavailable(format!("Redis at {}: {reason}", self.shared.shown))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("url", &self.shared.shown).finish_non_exhaustive()
    }
}

/// The Redis client takes the process-wide provider and panics when there is none. A program that has
/// chosen one already keeps it.
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, with the same result.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
