//! Checks the Redis server at start.

use broker::redis::Redis;
use tokio_util::sync::CancellationToken;

use super::reconnect::ReconnectPause;
use crate::error::Error;

/// Checks that Redis is reachable and not too old.
///
/// The process also starts without a reachable server: a task waits for it and logs its return. `consequence` states the
/// effect until then.
pub(crate) async fn check_redis(
    redis: &Redis,
    consequence: &'static str,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    match check_and_log(redis).await {
        Ok(()) => Ok(()),
        Err(broker::Error::Unavailable(_)) => {
            let (redis, shutdown) = (redis.clone(), shutdown.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = wait_for_redis(&redis, consequence) => {}
                }
            });
            Ok(())
        }
        Err(error @ (broker::Error::Unsupported(_) | broker::Error::InvalidUrl(_))) => {
            Err(Error::failed(error.to_string()).hint("use another server with --redis-url (REDIS_URL)"))
        }
    }
}

async fn wait_for_redis(redis: &Redis, consequence: &'static str) {
    let mut pause = ReconnectPause::default();
    while let Err(error) = check_and_log(redis).await {
        pause.log_throttled(|| tracing::warn!(%error, "waiting for Redis; {consequence}"));
        pause.wait().await;
    }
}

async fn check_and_log(redis: &Redis) -> Result<(), broker::Error> {
    let server = redis.check().await?;
    for warning in &server.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = %server.version, "connected to Redis");
    Ok(())
}
