//! One request to an endpoint, and its record.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use domain::{EndpointId, OrderId, Timestamp};
use gateway_store::{Store, WebhookAttempt, WebhookEndpoint};
use telemetry::trace::{self, Span, SpanKind};
use tokio::sync::watch;
use tokio::time::Instant;
use webhook::header::{HeaderMap, HeaderValue};
use webhook::{Client, EndpointUrl, Outcome, OutcomeKind, Request};

use crate::Config;
use crate::body::Message;
use crate::secrets::EndpointSecrets;

/// Maximum time of a request whose user waits for its outcome: within the time limits of the APIs.
pub(crate) const TIMEOUT_OF_USER: Duration = Duration::from_secs(8);
/// Maximum length of a stored error, in characters.
const MAX_ERROR: usize = 500;

/// Where messages of an endpoint are sent, and how they are signed.
#[derive(Clone)]
pub(crate) struct Target {
    url: Result<EndpointUrl, String>,
    secrets: Option<EndpointSecrets>,
    timeout: Duration,
}

impl Target {
    pub(crate) fn new(endpoint: &WebhookEndpoint, config: &Config) -> Self {
        let url = EndpointUrl::parse(&endpoint.settings.url, &config.allowed_networks);
        let url = url.map_err(|problem| format!("the URL {problem}"));
        let secrets = config.secret_keys.open(endpoint.id, &endpoint.secrets);
        Self { url, secrets, timeout: config.request_timeout }
    }

    pub(crate) fn has_secrets(&self) -> bool {
        self.secrets.is_some()
    }

    /// Sends a message. Every failure is an outcome.
    pub(crate) async fn send(&self, client: &Client, message: &Message, now: Timestamp) -> Outcome {
        let refused = |error: &str| Outcome {
            kind: OutcomeKind::Refused,
            status: None,
            duration: Duration::ZERO,
            response: Vec::new(),
            retry_after: None,
            error: Some(error.to_owned()),
        };
        let url = match &self.url {
            Ok(url) => url,
            Err(problem) => return refused(problem),
        };
        let Some(secrets) = &self.secrets else {
            return refused("the gateway cannot decrypt the secrets of the endpoint");
        };
        let mut span = trace::span(SpanKind::Client, "POST webhook", message.trace);
        let mut headers = HeaderMap::new();
        // Without export here, another process may record the trace.
        let parent = span.as_ref().and_then(Span::context).or(message.trace);
        if let Some(value) = parent.and_then(|parent| HeaderValue::try_from(parent.to_string()).ok()) {
            headers.insert("traceparent", value);
        }
        let request = Request {
            url,
            id: &message.id,
            timestamp_secs: u64::try_from(now.as_micros() / 1_000_000).unwrap_or_default(),
            secrets: &secrets.at(now),
            content_type: message.content_type,
            headers,
            body: message.body.clone(),
            timeout: self.timeout,
        };
        let outcome = client.post(request).await;
        metrics::counter!("orders_webhook_deliveries_total", "outcome" => outcome.kind.as_str()).increment(1);
        metrics::histogram!("orders_webhook_delivery_duration_seconds")
            .record(outcome.duration.as_secs_f64());
        if let Some(span) = &mut span {
            span.set("orders.message.id", message.id.clone());
            span.set("orders.message.type", message.kind.clone());
            span.set("http.request.method", "POST");
            span.set("server.address", url.host().to_owned());
            if let Some(status) = outcome.status {
                span.set("http.response.status_code", i64::from(status));
            }
            if outcome.kind != OutcomeKind::Delivered {
                span.set("error.type", outcome.kind.as_str());
                span.fail(describe(&outcome));
            }
        }
        outcome
    }
}

/// Runs `work` as long as the lease lasts. Returns `None` when it has ended.
///
/// A process that was stopped for a while continues with its sends. Each step looks at the lease first, so a send of the
/// time before does not arrive after those of the next holder.
pub(crate) async fn while_leased<T>(
    lease: &watch::Receiver<Instant>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        if Instant::now() >= *lease.borrow() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// Returns the failure in one line; empty after a success.
pub(crate) fn describe(outcome: &Outcome) -> String {
    let text = match (outcome.status, &outcome.error) {
        (_, Some(error)) => error.clone(),
        (Some(status), None) => format!("the endpoint answered {status}"),
        (None, None) => String::new(),
    };
    text.chars().take(MAX_ERROR).collect()
}

/// Returns the record of a request.
pub(crate) fn record(message: &Message, attempt: u32, outcome: &Outcome, now: Timestamp) -> WebhookAttempt {
    WebhookAttempt {
        id: OrderId::new(now),
        message_id: message.id.clone(),
        kind: message.kind.clone(),
        attempt,
        succeeded: outcome.kind == OutcomeKind::Delivered,
        outcome: outcome.kind.as_str().to_owned(),
        status: outcome.status,
        duration: outcome.duration,
        error: outcome.error.as_ref().map(|error| error.chars().take(MAX_ERROR).collect()),
        response: outcome.response.clone(),
    }
}

/// Sends a message now, outside of the deliveries, and records it.
pub(crate) async fn send_now(
    store: &Store,
    client: &Client,
    target: &Target,
    endpoint: EndpointId,
    message: &Message,
) -> Result<WebhookAttempt, gateway_store::Error> {
    let now = store.now();
    let outcome = match tokio::time::timeout(TIMEOUT_OF_USER, target.send(client, message, now)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome {
            kind: OutcomeKind::Timeout,
            status: None,
            duration: TIMEOUT_OF_USER,
            response: Vec::new(),
            retry_after: None,
            error: Some(format!("no response within {} s", TIMEOUT_OF_USER.as_secs())),
        },
    };
    let attempt = record(message, 1, &outcome, now);
    store.record_webhook_attempt(endpoint, &attempt).await?;
    Ok(attempt)
}
