//! The queue in one or several Redis lists for each kind of orders: jobs are pushed left, and the right end is the front.
//!
//! A pop removes jobs from Redis before a worker has them. Therefore each popped batch is a [`Delivery`] until its puller
//! takes it; a delivery that is dropped returns its jobs to the front of the list. Jobs that are lost with a process or a
//! connection in between are pushed again from the database after their visibility timeout.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Kind;
use redis::Cmd;
use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::client::{MAX_VALUES_PER_COMMAND, Redis};
use super::connections::Connections;
use super::pool::{self, COMMAND_TIMEOUT};
use crate::error::Error;
use crate::queue::{Job, Queue, QueueEnd, Registrations};
use crate::sharding::ShardedQueue;

/// The maximum wait of one `BLMPOP`.
/// A longer pull repeats it, so that a hanging Redis and a dropped puller are detected.
const MAX_BLOCK: Duration = Duration::from_secs(1);

/// The maximum number of lists of a queue. A gateway with a worker waits at each of them on a connection.
pub const MAX_QUEUE_LISTS: u8 = 16;

/// The maximum length of an invalid entry in the log.
const MAX_LOGGED_ENTRY_BYTES: usize = 200;

/// The queue in one list; see the module. At most 64 pulls wait at the same time; further ones wait for a connection.
#[derive(Clone, Debug)]
pub struct RedisQueue {
    redis: Redis,
    /// The list.
    key: Arc<str>,
    /// Its number among the lists of the queue.
    number: u8,
}

impl Redis {
    /// Returns the queue of the default kind, in the list `<prefix>:queue`. Those of other kinds are in
    /// `<prefix>:queue:<kind>`.
    pub fn queue(&self) -> RedisQueue {
        self.queue_list(&Kind::default(), 0)
    }

    /// Returns the queue of the default kind in `lists` lists: `<prefix>:queue`, `<prefix>:queue.1` and so on. All gateways need
    /// the same number.
    pub fn queue_lists(&self, lists: NonZeroU8) -> Arc<dyn Queue> {
        match lists.get() {
            1 => Arc::new(self.queue()),
            lists => {
                let list = |number| Arc::new(self.queue_list(&Kind::default(), number)) as Arc<dyn Queue>;
                Arc::new(ShardedQueue::new((0..lists).map(list).collect()))
            }
        }
    }

    fn queue_list(&self, kind: &Kind, number: u8) -> RedisQueue {
        let mut key = self.keys.queue.clone();
        if !kind.is_default() {
            key.push(':');
            key.push_str(kind.as_str());
        }
        // No kind contains a full stop.
        if number > 0 {
            key.push_str(&format!(".{number}"));
        }
        RedisQueue { redis: self.clone(), key: key.into(), number }
    }
}

impl RedisQueue {
    fn key(&self) -> &str {
        &self.key
    }

    /// Pops until there are jobs, the wait has elapsed, or the puller was dropped.
    async fn pop_until(
        &self,
        max: usize,
        wait: Duration,
        puller: &oneshot::Sender<Result<Delivery, Error>>,
    ) -> Result<Delivery, Error> {
        let started = Instant::now();
        let mut current = self.redis.subscribe_connections();
        let connections = current.borrow_and_update().clone();
        let server = connections.server(self.key()).await?;
        let mut connection = timeout(COMMAND_TIMEOUT, server.pulls.get())
            .await
            .map_err(|_| connections.timeout_error())?
            .map_err(|cause| connections.pool_error(&cause))?;
        while !puller.is_closed() {
            let block = wait.saturating_sub(started.elapsed()).min(MAX_BLOCK);
            match self.pop_once(&connections, &mut connection, max, block).await {
                Ok(jobs) if !jobs.is_empty() => return Ok(Delivery { jobs, queue: self.clone() }),
                Ok(_) if started.elapsed() >= wait => break,
                // The next pull uses the new connections, or the server that has the list now.
                Ok(_) if current.has_changed().unwrap_or(true) => break,
                Ok(_) if !Arc::ptr_eq(&server, &connections.server(self.key()).await?) => break,
                Ok(_) => {}
                Err(error) => {
                    // A response may still arrive on the connection, so no other call may use it.
                    pool::discard(connection);
                    connections.forget_routes();
                    return Err(error);
                }
            }
        }
        Ok(Delivery { jobs: Vec::new(), queue: self.clone() })
    }

    async fn pop_once(
        &self,
        connections: &Connections,
        connection: &mut MultiplexedConnection,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Job>, Error> {
        let count = max.min(MAX_VALUES_PER_COMMAND);
        let command = pop_command(self.key(), count, wait);
        let popped: Option<(String, Vec<Vec<u8>>)> =
            timeout(wait + COMMAND_TIMEOUT, command.query_async(connection))
                .await
                .map_err(|_| connections.timeout_error())?
                .map_err(|cause| match cause.detail() {
                    Some(detail) if detail.contains("unknown command") => connections
                        .unavailable("the server does not know BLMPOP, so use Redis 7 or newer, or Valkey"),
                    _ => connections.command_error(&cause),
                })?;
        Ok(popped.map(|(_, entries)| self.decode_jobs(&entries)).unwrap_or_default())
    }

    /// Decodes the entries. Any client can write to the list, so one log line reports all entries that are not jobs.
    fn decode_jobs(&self, entries: &[Vec<u8>]) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(entries.len());
        let mut first_invalid = None;
        for entry in entries {
            match serde_json::from_slice(entry) {
                Ok(job) => jobs.push(job),
                Err(error) => _ = first_invalid.get_or_insert((entry, error)),
            }
        }
        if let Some((entry, error)) = first_invalid {
            let shown = String::from_utf8_lossy(&entry[..entry.len().min(MAX_LOGGED_ENTRY_BYTES)]);
            warn!(
                key = self.key(), skipped = entries.len() - jobs.len(), first = %shown.escape_debug(), %error,
                "left out entries of the queue that are not jobs"
            );
        }
        jobs
    }

    /// Pushes jobs to the front, so that the first of them is pulled first.
    async fn push_front(&self, jobs: &[Job]) -> Result<u64, Error> {
        let mut commands = redis::pipe();
        for chunk in jobs.rchunks(MAX_VALUES_PER_COMMAND) {
            commands.cmd("RPUSH").arg(self.key()).arg(encode_jobs(chunk.iter().rev()));
        }
        self.run_pushes(&commands).await
    }

    /// Runs push commands and returns the length of the list after the last one.
    async fn run_pushes(&self, pushes: &redis::Pipeline) -> Result<u64, Error> {
        let lengths: Vec<u64> = self.redis.run_commands(self.key(), pushes).await?;
        Ok(lengths.last().copied().unwrap_or_default())
    }
}

#[async_trait]
impl Queue for RedisQueue {
    fn of_kind(&self, kind: &Kind) -> Arc<dyn Queue> {
        Arc::new(self.redis.queue_list(kind, self.number))
    }

    async fn push(&self, jobs: &[Job], end: QueueEnd) -> Result<u64, Error> {
        if jobs.is_empty() {
            return Ok(0);
        }
        if end == QueueEnd::Front {
            return self.push_front(jobs).await;
        }
        let mut commands = redis::pipe();
        for chunk in jobs.chunks(MAX_VALUES_PER_COMMAND) {
            commands.cmd("LPUSH").arg(self.key()).arg(encode_jobs(chunk));
        }
        self.run_pushes(&commands).await
    }

    async fn server(&self) -> Result<Option<String>, Error> {
        Ok(Some(self.redis.check().await?.version))
    }

    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        // A separate task finishes the pop if this future is dropped during it. The task ends within one block and the
        // command timeout, and returns its jobs to the queue. No other code needs to wait for it.
        let (puller, delivery) = oneshot::channel();
        let queue = self.clone();
        tokio::spawn(async move {
            let popped = queue.pop_until(max, wait, &puller).await;
            // If the puller was dropped, `send` returns the delivery, which is dropped here.
            let _ = puller.send(popped);
        });
        match delivery.await {
            Ok(popped) => popped.map(Delivery::into_jobs),
            Err(_) => {
                Err(self.redis.connections().unavailable("the pull was stopped together with the program"))
            }
        }
    }

    async fn len(&self) -> Result<u64, Error> {
        self.redis.check_writable_if_due().await?;
        let mut command = redis::pipe();
        command.cmd("LLEN").arg(self.key());
        let (len,) = self.redis.run_commands(self.key(), &command).await?;
        Ok(len)
    }

    async fn register_worker(&self, worker: &str) -> Result<(), Error> {
        self.redis.register_worker(worker).await
    }

    async fn deregister_worker(&self, worker: &str) -> Result<(), Error> {
        self.redis.deregister_worker(worker).await
    }

    async fn register_installation(&self, installation: &[u8]) -> Result<Registrations, Error> {
        self.redis.register_installation(installation).await
    }
}

/// Jobs that have left the list and have not reached a puller yet. If dropped, they return to the list.
struct Delivery {
    jobs: Vec<Job>,
    queue: RedisQueue,
}

impl Delivery {
    fn into_jobs(mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        if jobs.is_empty() {
            return;
        }
        let queue = self.queue.clone();
        // Without a runtime the program is ending, and the jobs are pushed again from the database.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = queue.push_front(&jobs).await {
                    warn!(jobs = jobs.len(), %error, "could not put jobs back; they will be pushed again later");
                }
            });
        }
    }
}

/// Builds the pop command. `BLMPOP` with a wait of 0 blocks without end, so that case uses `LMPOP`.
fn pop_command(key: &str, count: usize, wait: Duration) -> Cmd {
    let mut command = if wait.is_zero() {
        redis::cmd("LMPOP")
    } else {
        let mut command = redis::cmd("BLMPOP");
        command.arg(wait.max(Duration::from_millis(1)).as_secs_f64());
        command
    };
    command.arg(1).arg(key).arg("RIGHT").arg("COUNT").arg(count);
    command
}

fn encode_jobs<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<String> {
    jobs.into_iter()
        .map(|job| serde_json::to_string(job).expect("an id and a number always have a JSON form"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_entry_panics(
            json in r#"\{("orderId":"[0-9a-f-]{36}"|"quantity":-?[0-9]{1,30}(e[0-9]{1,5})?|,|"x":null){0,4}\}"#,
            bytes in any::<Vec<u8>>(), quantity in any::<u64>(),
        ) {
            let queue = Redis::new("redis://127.0.0.1:1", "test").unwrap().queue();
            let job = Job { order_id: domain::OrderId::from_bytes([7; 16]), quantity };
            let valid = encode_jobs([&job]).remove(0).into_bytes();
            let decoded = queue.decode_jobs(&[json.into_bytes(), valid, bytes]);
            prop_assert!(decoded.contains(&job));
        }
    }
}
