//! `orders processor`: one of any number of processors. The gateways assign jobs to it, or it takes them
//! from the queue.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::routing::get;
use broker::redis::Redis;
use processor::ProcessorHealth;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::health_port;
use super::task::task_result;
use crate::cli::{JobSource, ProcessorArgs};
use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::{signal, startup};

/// Timeout for a gateway to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until a signal comes, and then until the running orders are finished or released.
pub(super) async fn run(args: ProcessorArgs) -> Result<(), Error> {
    let mut secret_files = SecretFiles::default();
    let handler = args.work.order_handler(&mut secret_files)?.ok_or_else(|| {
        Error::usage("--handler (ORDERS_HANDLER) is none, and a processor needs a handler")
            .hint("set simulate or webhook, or start no processor")
    })?;
    let redis = match args.jobs.job_source {
        JobSource::Gateway => None,
        JobSource::Queue => Some(args.redis.required_client()?),
    };
    if let Some(redis) = &redis {
        args.redis.add_files(redis, &mut secret_files)?;
    }
    let gateways = args.gateways.urls();
    let gateway_tls = args.gateway_tls.load(&gateways)?.map(Arc::new);
    gateway::metrics::install_recorder();
    let signals = signal::listen()?;
    if let Some(client) = &gateway_tls {
        startup::keep_client_current(client, &signals);
    }
    secret_files.keep_current(signals.reload_requests());
    // The file is read before each connection. A SIGHUP for it must not shut the process down.
    let _token_file = args.token.token_file.is_some().then(|| signals.reload_requests());
    let shutdown = signals.shutdown.clone();

    let (listener, metrics_addr) = health_port::bind(args.metrics.metrics_addr.as_ref()).await?;
    if let Some(redis) = &redis {
        startup::check_redis(redis, "nothing can be processed", &shutdown).await?;
    }

    let urls = gateways.iter().map(ToString::to_string).collect();
    let mut config = args.work.processor_config(urls, &args.process);
    config.gateway_tls = gateway_tls;
    config.token = args.token.read()?;
    config.token_file = args.token.token_file.clone();
    tracing::info!(worker = %config.worker_id, metrics = %metrics_addr, "the processor is ready");
    let health = Health {
        redis: redis.clone(),
        gateways: gateways.into(),
        processor: config.health.clone(),
        shutdown: shutdown.clone(),
    };
    let worker = HeaderValue::from_str(&config.worker_id).ok();
    let stop_health = CancellationToken::new();
    let readiness = get(readyz).with_state(health);
    let served = tokio::spawn(health_port::serve(listener, readiness, worker, stop_health.clone()));
    let queue = redis.map(|redis| args.redis.queue(&redis));
    let outcome = processor::run(config, queue, handler, shutdown.cancelled_owned()).await;
    stop_health.cancel();
    outcome.map_err(|error| Error::failed(format!("the processor ended: {error}")))?;
    task_result("health server", served.await.map(Ok::<_, Infallible>))
}

/// The parts that readiness depends on.
#[derive(Clone)]
struct Health {
    redis: Option<Redis>,
    gateways: Arc<[Url]>,
    processor: ProcessorHealth,
    shutdown: CancellationToken,
}

/// Ready: Redis responds and the last pull from the queue succeeded, if there is a queue, and there is a stream to a gateway, or at least one
/// accepts connections.
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    if health.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
    }
    if let Some(redis) = &health.redis
        && let Err(error) = redis.check().await
    {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"));
    }
    if let Some(failure) = health.processor.pull_failure() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the last pull from the queue failed: {failure}\n"),
        );
    }
    if health.processor.is_connected() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    for gateway in health.gateways.iter() {
        if accepts_connections(gateway).await {
            return (StatusCode::OK, "ready\n".to_owned());
        }
    }
    (StatusCode::SERVICE_UNAVAILABLE, "no gateway can be reached\n".to_owned())
}

async fn accepts_connections(gateway: &Url) -> bool {
    let Some((host, port)) = gateway.host_str().zip(gateway.port_or_known_default()) else { return false };
    let connect = TcpStream::connect((host.trim_matches(['[', ']']), port));
    match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
        Ok(Ok(stream)) => stream.set_nodelay(true).is_ok(),
        Ok(Err(_)) | Err(_) => false,
    }
}
