//! Jobs in batches through a list in Redis.

use std::io;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use super::limit::{Limit, cpu_since};
use crate::load::run_on_this_thread;
use crate::servers::Servers;

/// Jobs of one command.
const BATCH: usize = 100;
/// Commands in one round trip.
const PIPELINE: usize = 4;
const KEY: &str = "bench:queue";
const JOB: &str = r#"{"orderId":"01890a5d-ac96-774b-bcce-b302099a8057","quantity":2}"#;

pub(crate) fn measure(servers: &Servers, duration: Duration) -> io::Result<Limit> {
    let before = servers.cpu()?;
    let count = run_on_this_thread(async {
        let client = redis::Client::open(servers.redis_url.as_str())?;
        let connect = || client.get_multiplexed_async_connection();
        let push = tokio::task::spawn_local(push_jobs(connect().await?, duration));
        let count = pop_jobs(connect().await?, duration).await?;
        push.await.map_err(io::Error::other)??;
        Ok::<_, redis::RedisError>(count)
    })?
    .map_err(io::Error::other)?;
    let name = format!("LPUSH and BLMPOP of {BATCH} jobs each");
    Ok(Limit::new(name, None, count, duration, cpu_since(servers, &before)?))
}

async fn push_jobs(mut connection: MultiplexedConnection, duration: Duration) -> redis::RedisResult<()> {
    let jobs = vec![JOB; BATCH];
    let mut pipeline = redis::pipe();
    for _ in 0..PIPELINE {
        pipeline.cmd("LPUSH").arg(KEY).arg(&jobs).ignore();
    }
    // The list stays short: a long one would measure memory.
    pipeline.cmd("LTRIM").arg(KEY).arg(0).arg(10_000).ignore();
    let began = Instant::now();
    while began.elapsed() < duration {
        pipeline.query_async::<()>(&mut connection).await?;
    }
    Ok(())
}

async fn pop_jobs(mut connection: MultiplexedConnection, duration: Duration) -> redis::RedisResult<u64> {
    let mut pop = redis::cmd("BLMPOP");
    pop.arg(0.1).arg(1).arg(KEY).arg("RIGHT").arg("COUNT").arg(BATCH);
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let popped: Option<(String, Vec<String>)> = pop.query_async(&mut connection).await?;
        count += popped.map_or(0, |(_, jobs)| jobs.len() as u64);
    }
    Ok(count)
}
