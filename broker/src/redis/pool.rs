//! Pooled connections.
//!
//! deadpool-redis pings each connection before each use. This pool pings only a connection that was idle, because its
//! server may have stopped since. A connection that failed does not return to the pool (see [`discard`]).

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, Pool, RecycleResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};

/// The maximum duration of a command, from the request of a connection to the response.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// The idle time after which a connection is pinged before its next use.
const PING_IF_IDLE_FOR: Duration = Duration::from_secs(1);

/// The maximum duration of that ping.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// Opens and pings connections.
pub(super) struct Manager {
    inner: deadpool_redis::Manager,
}

/// Creates a pool of at most `connections` connections, without opening any.
pub(super) fn create_pool(
    client: &Client,
    config: AsyncConnectionConfig,
    connections: usize,
) -> Pool<Manager> {
    let inner = deadpool_redis::Manager::new_with_config(client.get_connection_info().clone(), config)
        .expect("the address of an existing client is valid");
    Pool::builder(Manager { inner })
        .max_size(connections)
        .wait_timeout(Some(COMMAND_TIMEOUT))
        .create_timeout(Some(COMMAND_TIMEOUT))
        .recycle_timeout(Some(PING_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a pool with timeouts has been given a runtime")
}

/// Closes a connection that failed, and all idle connections of its pool.
/// They lead to the same server, so the next call should not fail on them.
pub(super) fn discard(connection: Object<Manager>) {
    if let Some(pool) = Object::pool(&connection) {
        pool.retain(|_, _| false);
    }
    drop(Object::take(connection));
}

impl managed::Manager for Manager {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        self.inner.create().await
    }

    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        metrics: &Metrics,
    ) -> RecycleResult<RedisError> {
        if metrics.last_used() >= PING_IF_IDLE_FOR {
            self.inner.recycle(connection, metrics).await?;
        }
        Ok(())
    }
}
