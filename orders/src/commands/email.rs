//! `orders email`: sends e-mail for events. Several processes can run; one of them sends.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::routing::get;
use subscriber::SubscriberHealth;
use subscriber_email::{READER, write_examples};
use tokio_util::sync::CancellationToken;

use super::health_port;
use super::task::task_result;
use crate::cli::{EmailCommand, EmailRoleArgs};
use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::{console, signal, startup};

/// Runs a command of e-mail.
pub(super) fn run_command(command: &EmailCommand) -> Result<(), Error> {
    let EmailCommand::Templates { folder } = command;
    write_examples(folder).map_err(|error| {
        Error::failed(error.to_string()).hint("name a folder that does not exist yet, or an empty one")
    })?;
    console::print(&format!(
        "the templates are in {0}; use them with --email-templates {0}\n",
        folder.display()
    ))
}

/// Runs until a signal comes, and then until the present e-mail is sent.
pub(super) async fn run(args: EmailRoleArgs) -> Result<(), Error> {
    let mut secret_files = SecretFiles::default();
    let handler = args.email.handler(&mut secret_files)?.ok_or_else(|| {
        Error::usage("--smtp-url (ORDERS_SMTP_URL) is not set")
            .hint("give the URL of the SMTP server, such as smtp://user:password@mail.example.com:587")
    })?;
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
    let urls = gateways.iter().map(ToString::to_string).collect();
    let mut config = args.email.config(&handler, urls, &args.process);
    config.gateway_tls = gateway_tls;
    config.token = args.token.read()?;
    config.token_file = args.token.token_file.clone();
    tracing::info!(metrics = %metrics_addr, types = %handler.types(), "e-mail is ready");
    let health = Health { subscriber: config.health.clone(), shutdown: shutdown.clone() };
    let (stop_health, readiness) = (CancellationToken::new(), get(readyz).with_state(health));
    let name = Some(HeaderValue::from_static(READER));
    let served = tokio::spawn(health_port::serve(listener, readiness, name, stop_health.clone()));
    let outcome = subscriber::run(config, handler, shutdown.cancelled_owned()).await;
    stop_health.cancel();
    outcome.map_err(|error| Error::failed(format!("e-mail ended: {error}")))?;
    task_result("health server", served.await.map(Ok::<_, Infallible>))
}

/// The parts that readiness depends on.
#[derive(Clone)]
struct Health {
    subscriber: SubscriberHealth,
    shutdown: CancellationToken,
}

/// Ready: the last call to a gateway was answered. A process that waits for the lease is ready.
async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    match (health.subscriber.is_connected(), health.subscriber.has_lease()) {
        (true, true) => (StatusCode::OK, "ready\n"),
        (true, false) => (StatusCode::OK, "ready, another process sends\n"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "no gateway can be reached\n"),
    }
}
