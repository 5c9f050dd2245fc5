//! The queue in one Redis list: the left end is where jobs come in, the right end is the front.
//!
//! A pop takes a job out of Redis before anybody has it, so every popped batch is under guard until
//! its puller has taken it: whatever is dropped on the way goes back to the front of the list. What
//! dies with a process or a broken connection in between is lost here and pushed again from the
//! database when its guard time is over.

use std::time::Duration;

use async_trait::async_trait;
use redis::Cmd;
use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::{DEADLINE, MAX_VALUES_PER_COMMAND, Redis, pool};
use crate::{Error, Job, QueueEnd, Registrations};

/// The longest that one `BLMPOP` waits. A longer pull asks again, so that a Redis that hangs and a
/// puller that has gone are noticed.
const ROUND: Duration = Duration::from_secs(1);

/// How much of an entry that is not a job is shown in the log.
const SHOWN_OF_ENTRY: usize = 200;

/// See the module. At most 64 pulls wait at the same time; more wait for a connection first.
#[derive(Clone, Debug)]
pub struct Queue {
    redis: Redis,
}

impl Queue {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis }
    }

    fn key(&self) -> &str {
        &self.redis.shared.queue_key
    }

    /// Pops until there are jobs, the wait is over, or nobody listens any more.
    async fn pop(
        &self,
        max: usize,
        wait: Duration,
        puller: &oneshot::Sender<Result<Popped, Error>>,
    ) -> Result<Popped, Error> {
        let started = Instant::now();
        let pool = &self.redis.shared.pulls;
        let mut connection = timeout(DEADLINE, pool.get())
            .await
            .map_err(|_| self.redis.no_answer())?
            .map_err(|cause| self.redis.not_connected(&cause))?;
        while !puller.is_closed() {
            let round = wait.saturating_sub(started.elapsed()).min(ROUND);
            match self.pop_once(&mut connection, max, round).await {
                Ok(jobs) if !jobs.is_empty() => return Ok(Popped { jobs, queue: self.clone() }),
                Ok(_) if started.elapsed() >= wait => break,
                Ok(_) => {}
                Err(error) => {
                    // An answer may still be under way on it: not for the next user.
                    pool::give_up(connection);
                    return Err(error);
                }
            }
        }
        Ok(Popped { jobs: Vec::new(), queue: self.clone() })
    }

    async fn pop_once(
        &self,
        connection: &mut MultiplexedConnection,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Job>, Error> {
        let count = max.min(MAX_VALUES_PER_COMMAND);
        let command = pop_command(self.key(), count, wait);
        let popped: Option<(String, Vec<Vec<u8>>)> =
            timeout(wait + DEADLINE, command.query_async(connection))
                .await
                .map_err(|_| self.redis.no_answer())?
                .map_err(|cause| match cause.detail() {
                    Some(detail) if detail.contains("unknown command") => self
                        .redis
                        .unavailable("the server does not know BLMPOP, so use Redis 7 or newer, or Valkey"),
                    _ => self.redis.failed(&cause),
                })?;
        Ok(popped.map(|(_, entries)| self.jobs(&entries)).unwrap_or_default())
    }

    /// The jobs among the entries. Anybody can write to the list, so the others are reported, once for
    /// all of them.
    fn jobs(&self, entries: &[Vec<u8>]) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(entries.len());
        let mut first_bad = None;
        for entry in entries {
            match serde_json::from_slice(entry) {
                Ok(job) => jobs.push(job),
                Err(error) => _ = first_bad.get_or_insert((entry, error)),
            }
        }
        if let Some((entry, error)) = first_bad {
            let shown = String::from_utf8_lossy(&entry[..entry.len().min(SHOWN_OF_ENTRY)]);
            warn!(
                key = self.key(), skipped = entries.len() - jobs.len(), first = %shown.escape_debug(), %error,
                "left out entries of the queue that are not jobs"
            );
        }
        jobs
    }

    /// Puts jobs to the front, the first of them foremost.
    async fn push_to_front(&self, jobs: &[Job]) -> Result<u64, Error> {
        let mut commands = redis::pipe();
        for chunk in jobs.rchunks(MAX_VALUES_PER_COMMAND) {
            commands.cmd("RPUSH").arg(self.key()).arg(entries(chunk.iter().rev()));
        }
        self.last_length(&commands).await
    }

    /// Sends pushes, each of which is answered with the length of the list.
    async fn last_length(&self, pushes: &redis::Pipeline) -> Result<u64, Error> {
        let lengths: Vec<u64> = self.redis.command(pushes).await?;
        Ok(lengths.last().copied().unwrap_or_default())
    }
}

#[async_trait]
impl crate::Queue for Queue {
    async fn push(&self, jobs: &[Job], place: QueueEnd) -> Result<u64, Error> {
        if jobs.is_empty() {
            return Ok(0);
        }
        if place == QueueEnd::Front {
            return self.push_to_front(jobs).await;
        }
        let mut commands = redis::pipe();
        for chunk in jobs.chunks(MAX_VALUES_PER_COMMAND) {
            commands.cmd("LPUSH").arg(self.key()).arg(entries(chunk));
        }
        self.last_length(&commands).await
    }

    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        // A task of its own finishes the pop when this future is dropped in the middle of it: it ends
        // within one round and the deadline, and puts back what it got. Nobody needs to wait for it.
        let (puller, answer) = oneshot::channel();
        let queue = self.clone();
        tokio::spawn(async move {
            let popped = queue.pop(max, wait, &puller).await;
            // A puller that has gone leaves `popped` here, and it is dropped.
            let _ = puller.send(popped);
        });
        match answer.await {
            Ok(popped) => popped.map(Popped::take),
            Err(_) => Err(self.redis.unavailable("the pull was stopped together with the program")),
        }
    }

    async fn len(&self) -> Result<u64, Error> {
        self.redis.try_write_now_and_then().await?;
        let mut command = redis::pipe();
        command.cmd("LLEN").arg(self.key());
        let (len,) = self.redis.command(&command).await?;
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

/// Jobs that have left the list and not reached a puller yet. Dropped, they go back.
struct Popped {
    jobs: Vec<Job>,
    queue: Queue,
}

impl Popped {
    fn take(mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }
}

impl Drop for Popped {
    fn drop(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        if jobs.is_empty() {
            return;
        }
        let queue = self.queue.clone();
        // Without a runtime the program is ending, and the database brings the jobs back.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = queue.push_to_front(&jobs).await {
                    warn!(jobs = jobs.len(), %error, "could not put jobs back; they will be pushed again later");
                }
            });
        }
    }
}

/// `BLMPOP` without a wait would wait for ever, so that case is `LMPOP`.
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

fn entries<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<String> {
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
            let good = entries([&job]).remove(0).into_bytes();
            let read = queue.jobs(&[json.into_bytes(), good, bytes]);
            prop_assert!(read.contains(&job));
        }
    }
}
