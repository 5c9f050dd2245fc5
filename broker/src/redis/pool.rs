//! Connections that are kept for the next call.
//!
//! deadpool-redis asks each connection before each use. Here one that was used a moment ago is taken as it
//! is; one that was not is asked, because its server may have gone since. A connection that failed does not
//! come back (see `give_up`).

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, Pool, RecycleResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};

use super::DEADLINE;

/// A connection that was not used for so long is asked whether it is still good.
const ASKED_AFTER: Duration = Duration::from_secs(1);

/// How long it may take to show that.
const ANSWER_DEADLINE: Duration = Duration::from_millis(500);

/// Connects and asks.
pub(super) struct Manager {
    inner: deadpool_redis::Manager,
}

/// At most `connections` of them, none of which is made yet.
pub(super) fn pool(client: &Client, config: AsyncConnectionConfig, connections: usize) -> Pool<Manager> {
    let inner = deadpool_redis::Manager::new_with_config(client.get_connection_info().clone(), config)
        .expect("a client's own address is an address");
    Pool::builder(Manager { inner })
        .max_size(connections)
        .wait_timeout(Some(DEADLINE))
        .create_timeout(Some(DEADLINE))
        .recycle_timeout(Some(ANSWER_DEADLINE))
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a pool with timeouts has been given a runtime")
}

/// Drops a connection that failed, and with it those that wait for their next use: they lead to the same
/// server, and the next call should not have to find out.
pub(super) fn give_up(connection: Object<Manager>) {
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
        if metrics.last_used() >= ASKED_AFTER {
            self.inner.recycle(connection, metrics).await?;
        }
        Ok(())
    }
}
