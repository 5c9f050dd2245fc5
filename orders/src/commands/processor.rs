//! `orders processor`: one of any number of processors on one Redis.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use axum::{Router, extract::State};
use broker::redis::Redis;
use gateway_http::Config as HttpConfig;
use gateway_http::server::{self, Connections, Port};
use processor::ProcessorHealth;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::task::task_result;
use crate::cli::{DEFAULT_METRICS_ADDR, ProcessorArgs};
use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::values::ListenAddr;
use crate::{signal, startup};

/// Timeout for a gateway to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The header with the name of the worker, in every response of its health port.
pub(super) const WORKER_HEADER: HeaderName = HeaderName::from_static("orders-worker");

/// Maximum number of open connections on the health port.
const MAX_CONNECTIONS: usize = 1_000;

/// Runs until a signal comes, and then until the running orders are finished or released.
pub(super) async fn run(args: ProcessorArgs) -> Result<(), Error> {
    let mut secret_files = SecretFiles::default();
    let handler = args.work.order_handler(&mut secret_files)?;
    let redis = args.redis.required_client()?;
    args.redis.add_files(&redis, &mut secret_files)?;
    let gateways = args.gateways.urls();
    let gateway_tls = args.gateway_tls.load(&gateways)?.map(Arc::new);
    gateway::metrics::install();
    let signals = signal::listen()?;
    if let Some(client) = &gateway_tls {
        startup::keep_client_current(client, &signals);
    }
    secret_files.keep_current(signals.reload_requests());
    // The file is read before each connection. A SIGHUP for it must not shut the process down.
    let _token_file = args.token.token_file.is_some().then(|| signals.reload_requests());
    let shutdown = signals.shutdown.clone();

    let listener = bind_health_port(args.metrics.metrics_addr.as_ref()).await?;
    let metrics_addr = startup::local_address(&listener)?;
    startup::check_redis(&redis, "nothing can be processed", &shutdown).await?;

    let urls = gateways.iter().map(ToString::to_string).collect();
    let mut config = args.work.processor_config(urls, &args.process);
    config.gateway_tls = gateway_tls;
    config.token = args.token.read()?;
    config.token_file = args.token.token_file.clone();
    if args.metrics.metrics_addr.is_none() && metrics_addr.to_string() != DEFAULT_METRICS_ADDR {
        tracing::warn!(
            metrics = %metrics_addr,
            "{} is in use, so health and metrics are on another port; choose one with --metrics-addr",
            DEFAULT_METRICS_ADDR
        );
    }
    tracing::info!(worker = %config.worker_id, metrics = %metrics_addr, "the processor is ready");
    let health = Health {
        redis: redis.clone(),
        gateways: gateways.into(),
        processor: config.health.clone(),
        shutdown: shutdown.clone(),
    };
    let worker = HeaderValue::from_str(&config.worker_id).ok();
    let stop_health = CancellationToken::new();
    let served = tokio::spawn(serve_health(listener, health, worker, stop_health.clone()));
    let queue = Arc::new(redis.queue());
    let outcome = processor::run(config, queue, handler, shutdown.cancelled_owned()).await;
    stop_health.cancel();
    outcome.map_err(|error| Error::failed(format!("the processor ended: {error}")))?;
    task_result("health server", served.await.map(Ok::<_, Infallible>))
}

/// Binds the health port. A configured address must be free. If the default one is in use, another port replaces it,
/// so that several processors run on one machine without a setting.
async fn bind_health_port(addr: Option<&ListenAddr>) -> Result<TcpListener, Error> {
    const SETTING: &str = "--metrics-addr (ORDERS_METRICS_ADDR)";
    if let Some(addr) = addr {
        return startup::bind(addr, SETTING).await;
    }
    match TcpListener::bind(DEFAULT_METRICS_ADDR).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind("127.0.0.1:0").await.map_err(|error| {
            Error::failed(format!("cannot listen on any port: {error}"))
                .hint(format!("choose one with {SETTING}"))
        }),
    }
}

/// The parts that readiness depends on.
#[derive(Clone)]
struct Health {
    redis: Redis,
    gateways: Arc<[Url]>,
    processor: ProcessorHealth,
    shutdown: CancellationToken,
}

async fn serve_health(
    listener: TcpListener,
    health: Health,
    worker: Option<HeaderValue>,
    stop: CancellationToken,
) {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(|| async { telemetry::recorder::render() }))
        .with_state(health)
        .layer(map_response(move |mut response: Response| {
            let worker = worker.clone();
            async move {
                if let Some(worker) = worker {
                    response.headers_mut().insert(WORKER_HEADER, worker);
                }
                response
            }
        }));
    let limits = HttpConfig {
        max_connections: startup::raise_connection_limit(MAX_CONNECTIONS),
        ..HttpConfig::default()
    };
    // The end of the process does not wait for open requests.
    server::serve(listener, routes, Port::HTTP, Connections::new(&limits), stop, Duration::ZERO).await;
}

/// Ready: Redis responds, the last pull from the queue succeeded, and there is a stream to a gateway, or at least one
/// accepts connections.
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    if health.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
    }
    if let Err(error) = health.redis.check().await {
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
