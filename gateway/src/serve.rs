//! Starts a gateway from its parts, and shuts it down gracefully.
//!
//! The shutdown proceeds from the listeners to the database, so that everything that can still finish does:
//! 1. Readiness turns off and health reports NOT_SERVING. All requests are served as before for the shutdown delay, so
//!    that load balancers notice. Then workers are told to drain.
//! 2. Dispatch stops, so there are no new jobs.
//! 3. No new connections are accepted. Streams and sockets end, spread over the shutdown timeout, and open requests
//!    finish. gRPC ends before HTTP, so that reports of workers still arrive.
//! 4. Submitted batches are written and published. Then the caller that opened the store can close it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use broker::{Bus, Queue};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use gateway_service::{Service, ServiceParts};
use gateway_webhooks::Webhooks;
use telemetry::panics::restart_on_panic;

use crate::health::HealthState;
use crate::{Config, Store, authentication, graphql, grpc, rest, router};
use gateway_access::TrackingLinks;
use gateway_http::context::Context;
use gateway_http::server::{self, Connections, Listener, Port};
use gateway_rest::RestState;

/// The parts of a gateway. The listeners are bound already, so a port in use is detected before the start.
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The migrated database. The caller closes it after the gateway has ended.
    pub store: Store,
    /// Receives jobs.
    pub queue: Arc<dyn Queue>,
    /// Carries events between gateways.
    pub bus: Arc<dyn Bus>,
    /// The listener for REST, GraphQL and the page.
    pub http: TcpListener,
    /// The listener for gRPC.
    pub grpc: TcpListener,
    /// The listener for probes and metrics, if there is a separate one.
    pub admin: Option<TcpListener>,
}

/// Maximum time of the last batches and of publishing, after the shutdown timeout.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Runs a gateway until `shutdown` completes, then drains it.
///
/// # Errors
/// If a listener fails.
pub async fn serve(parts: Parts, shutdown: impl Future<Output = ()> + Send) -> Result<(), std::io::Error> {
    let Parts { mut config, store, queue, bus, http: http_listener, grpc: grpc_listener, admin } = parts;
    let all_hosts = config.http.allowed_hosts.clone();
    config.http.allowed_hosts = config.http.allowed_hosts.on(http_listener.local_addr()?);
    config.http.strict_transport_security = config.tls.http.is_some();
    let is_loopback = grpc_listener.local_addr()?.ip().to_canonical().is_loopback();
    config.grpc.tokenless_reports.get_or_insert(is_loopback);
    let config = Arc::new(config);
    let parts = ServiceParts {
        config: config.service.clone(),
        store: store.clone(),
        queue: queue.clone(),
        bus: bus.clone(),
    };
    metrics::gauge!("orders_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let service = Service::start(parts).await.map_err(std::io::Error::other)?;
    let Service {
        orders,
        feed,
        event_log,
        presence,
        health,
        signals,
        workers,
        claims,
        progress,
        health_reasons,
        system,
        background,
        writes,
    } = service;
    let (auth, authenticator) =
        authentication::auth(&config.access, &store, presence.shares(), orders.keys());
    let context = Context::new(&config.http, auth, config.shutdown_timeout);
    let webhooks = Webhooks::new(store.clone(), event_log.clone(), config.webhooks.clone());
    let webhooks = webhooks.map_err(std::io::Error::other)?;
    let tracking = TrackingLinks::new(store.clone(), &orders.keys().derive("tracking"));
    let rest = RestState::new(rest::StateParts {
        config: config.rest.clone(),
        orders: orders.clone(),
        store: store.clone(),
        tracking: tracking.clone(),
        webhooks: webhooks.clone(),
        feed: feed.clone(),
        event_log: event_log.clone(),
        queue: queue.clone(),
        health: health.clone(),
        signals: signals.clone(),
        workers: workers.clone(),
        health_reasons: health_reasons.clone(),
        system: system.clone(),
        context: context.clone(),
    });
    let probes = HealthState {
        orders: orders.clone(),
        store: store.clone(),
        queue: queue.clone(),
        health: health.clone(),
        context: context.clone(),
    };
    let graphql = graphql::State::new(graphql::StateParts {
        config: config.graphql.clone(),
        hooks: config.graphql_hooks.clone(),
        orders: orders.clone(),
        store,
        tracking,
        webhooks: webhooks.clone(),
        feed: feed.clone(),
        event_log: event_log.clone(),
        queue: queue.clone(),
        health: health.clone(),
        signals,
        workers: workers.clone(),
        health_reasons,
        system,
        context: context.clone(),
    });
    let grpc = grpc::State {
        config: grpc::Config { reflection: config.access.developer_tools, ..config.grpc.clone() },
        // Moved, because the batches end when the last clone of the use cases is dropped.
        orders,
        feed,
        event_log,
        workers,
        claims,
        progress,
        health,
        gateways: presence.shares(),
        context: context.clone(),
    };

    // Background loops stop with their token and must not end before.
    let loops = TaskTracker::new();
    let stop_loops = CancellationToken::new();
    if let Some(authenticator) = authenticator {
        loops.spawn(authenticator.run(stop_loops.clone()));
    }
    loops.spawn(presence.run(bus, stop_loops.clone()));
    let (delivering, observing) = (webhooks.clone(), webhooks);
    let (stop_delivering, stop_observing) = (context.draining.clone(), stop_loops.clone());
    loops.spawn(restart_on_panic("webhooks", move || delivering.clone().run(stop_delivering.clone())));
    loops.spawn(restart_on_panic("webhook_housekeeping", move || {
        observing.clone().keep_house(stop_observing.clone())
    }));
    let dispatching = background.spawn(&loops, &stop_loops, context.draining.clone());

    let stop_http = CancellationToken::new();
    let connections = Connections::sharing(&config.http, context.buffers.clone());
    let mut admin_server = match admin {
        Some(listener) => {
            let addr = listener.local_addr()?;
            let hosts = router::admin_hosts(all_hosts, addr);
            let tls = router::admin_tls(config.tls.http.clone(), addr);
            Some(tokio::spawn(server::serve(
                Listener::new(listener, tls),
                router::admin(&config, hosts, addr, probes.clone()),
                Port::HTTP,
                connections.clone(),
                stop_http.clone(),
                config.shutdown_timeout,
            )))
        }
        None => None,
    };
    let public = router::router(&config, rest, graphql, probes);
    let http_runtime = HttpRuntime::new()?;
    let serving = server::serve(
        Listener::new(http_listener, config.tls.http.clone()),
        public,
        Port::HTTP,
        connections.clone(),
        stop_http.clone(),
        config.shutdown_timeout,
    );
    let mut http_server = http_runtime.spawn(serving);
    let router = grpc::router(&grpc).await;
    drop(grpc);
    let serving = server::serve(
        Listener::new(grpc_listener, config.tls.grpc.clone()),
        router,
        grpc::PORT,
        connections,
        context.draining.clone(),
        config.shutdown_timeout,
    );
    let mut grpc_server = tokio::spawn(serving);

    let result = tokio::select! {
        () = shutdown => Ok(()),
        _ = &mut http_server => Err(std::io::Error::other("the HTTP server ended by itself")),
        _ = &mut grpc_server => Err(std::io::Error::other("the gRPC server ended by itself")),
    };
    context.departing.cancel();
    if result.is_ok() && !config.shutdown_delay.is_zero() {
        tracing::info!(ms = config.shutdown_delay.as_millis(), "readiness withdrawn, still serving requests");
        tokio::time::sleep(config.shutdown_delay).await;
    }
    let drained_by = tokio::time::Instant::now() + config.shutdown_timeout;
    context.draining.cancel();
    if result.is_ok() {
        // Dispatch ends after its current round; both servers continue meanwhile.
        let drained = async {
            let (_, grpc) = tokio::join!(dispatching, &mut grpc_server);
            if let Err(error) = grpc {
                tracing::error!(%error, "gRPC server failed");
            }
            stop_http.cancel();
        };
        if let (Err(error), ()) = tokio::join!(&mut http_server, drained) {
            tracing::error!(%error, "HTTP server failed");
        }
    }
    if let Some(server) = &mut admin_server {
        // It serves until the others have drained.
        let _ = server.await;
    }
    grpc_server.abort();
    stop_loops.cancel();
    loops.close();
    context.tasks.close();
    let tasks = context.tasks.clone();
    // Batches end when every component that can add to them is dropped.
    drop(http_server);
    let finish = async {
        loops.wait().await;
        tasks.wait().await;
    };
    // Sockets and streams can use the whole shutdown timeout, so their tasks get a little longer.
    if tokio::time::timeout_at(drained_by + LAST_WRITES, finish).await.is_err() {
        tracing::warn!("tasks exceeded the shutdown timeout");
    }
    writes.close();
    if tokio::time::timeout(LAST_WRITES, writes.wait()).await.is_err() {
        tracing::warn!(
            "writes exceeded the shutdown timeout, the outcome of unacknowledged requests is unknown"
        );
    }
    result
}

/// The threads that serve HTTP, separate from those of the rest of the gateway.
///
/// Under overload, requests queue for a thread. On shared threads, each step of a transaction would queue behind
/// thousands of requests, which would delay all clients further. The operating system schedules threads with little
/// work fairly.
struct HttpRuntime(Option<Runtime>);

impl HttpRuntime {
    /// Leaves one core to the other threads, unless the variable of tokio sets their number: on a small machine a second
    /// thread is mostly woken in vain.
    fn new() -> Result<Self, std::io::Error> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            builder.worker_threads(cores.saturating_sub(1).max(1));
        }
        Ok(Self(Some(builder.thread_name("http").enable_all().build()?)))
    }

    fn spawn(&self, server: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        match &self.0 {
            Some(runtime) => runtime.spawn(server),
            // `None` only during the drop.
            None => tokio::spawn(server),
        }
    }
}

impl Drop for HttpRuntime {
    fn drop(&mut self) {
        // Blocking is not allowed in an async context, and the tasks that matter have ended.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
