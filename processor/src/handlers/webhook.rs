//! Orders as HTTP requests.
//!
//! # The request
//!
//! `POST` with `Content-Type: application/json` and this body. Amounts are decimal strings, because most languages read a
//! JSON number as a binary fraction, which cannot represent `1299.99`.
//!
//! ```json
//! {
//!   "orderId": "01890a5d-ac96-774b-bcce-b302099a8057",
//!   "status": "processing",
//!   "attempt": 1,
//!   "lineItems": [{ "item": "Laptop", "quantity": 2, "price": "1299.99" }],
//!   "quantity": 2,
//!   "total": "2599.98",
//!   "currency": "USD",
//!   "customer": null,
//!   "externalReference": null,
//!   "createdAt": "2026-01-31T12:00:00.000000Z"
//! }
//! ```
//!
//! `Idempotency-Key: <orderId>` is the same for all attempts of the order, because another attempt follows one whose
//! response was lost. A receiver that must not process an order twice stores the key. `Orders-Attempt: <number>`
//! distinguishes the attempts. If the trace of the order is recorded, `traceparent` is the span of the attempt.
//!
//! # The signature
//!
//! The request is signed as [Standard Webhooks](https://www.standardwebhooks.com) define it, so that their libraries verify
//! it. `webhook-id` is the order's id, `webhook-timestamp` the time of the attempt in seconds since 1970. With a secret,
//! `webhook-signature` is `v1,` and the HMAC-SHA256 of `{id}.{timestamp}.{body}` in base64.
//!
//! During a rotation there are several secrets, at most [`MAX_SECRETS`]. The header then has a signature of each, separated
//! by spaces, and the receiver accepts the request if one of them is right.
//!
//! # The response
//!
//! | response | attempt |
//! |---|---|
//! | 2xx | completed |
//! | 408, 409, 425, 429, 5xx | failed, may be repeated |
//! | one of these with `Retry-After` (seconds or a date) | postponed: not repeated before that time, at most [`Webhook::max_retry_after`], and not counted as a failure, up to 100 times |
//! | none in time, or no connection | failed, may be repeated |
//! | any other, also a redirect | failed permanently |
//!
//! The reason contains the status. Every client can read reasons, so the body of the response is only logged, unless
//! [`Webhook::show_responses_in_reasons`] adds its start to them: up to 500 characters of its first KiB. The error class is `http_<status>`,
//! `webhook_timeout` or `webhook_unreachable`.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use domain::{Outcome, strings};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use webhook::{AllowedNetworks, Client, EndpointUrl, OutcomeKind, Request};
pub use webhook::{MAX_SECRETS, Secret};

use crate::error::Error;
use crate::handler::{Attempt, OrderHandler};

const USER_AGENT: &str = concat!("orders-processor/", env!("CARGO_PKG_VERSION"));

/// Sends each order to a URL, and maps the status of the response to the outcome.
pub struct Webhook {
    client: Client,
    endpoint: RwLock<Endpoint>,
    timeout: Duration,
    show_responses: bool,
    max_retry_after: Duration,
}

/// Where requests are sent, and how they are signed.
#[derive(Clone)]
struct Endpoint {
    url: EndpointUrl,
    secrets: Arc<[Secret]>,
}

/// The default maximum of `Retry-After`.
const DEFAULT_MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Omits the secret, and the parts of the URL that may contain another one.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { url, secrets, .. } = self.endpoint();
        f.debug_struct("Webhook")
            .field("url", &url)
            .field("signed", &!secrets.is_empty())
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Creates a handler that sends to `url`, signs with each of `secrets`, and limits each request to `timeout`.
    ///
    /// The URL is `http` or `https`, with the root certificates of the system.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid argument, [`Error::Webhook`] for `https` if the system has no root
    /// certificates.
    pub fn new(
        url: &str,
        secrets: impl IntoIterator<Item = Secret>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        if timeout.is_zero() {
            return Err(Error::invalid("timeout", "must be longer than zero"));
        }
        // The URL is the operator's, who may use internal receivers.
        let client = Client::new(AllowedNetworks::all(), USER_AGENT)?;
        let url = check_url(url, &client)?;
        let endpoint = RwLock::new(Endpoint { url, secrets: check_secrets(secrets)? });
        let max_retry_after = DEFAULT_MAX_RETRY_AFTER;
        Ok(Self { client, endpoint, timeout, show_responses: false, max_retry_after })
    }

    /// Replaces the URL for the next requests.
    ///
    /// # Errors
    /// As [`Webhook::new`]; the previous URL then stays in use.
    pub fn replace_url(&self, url: &str) -> Result<(), Error> {
        let url = check_url(url, &self.client)?;
        self.endpoint.write().unwrap_or_else(PoisonError::into_inner).url = url;
        Ok(())
    }

    /// Replaces the secrets for the next requests.
    ///
    /// # Errors
    /// As [`Webhook::new`]; the previous secrets then stay in use.
    pub fn replace_secrets(&self, secrets: impl IntoIterator<Item = Secret>) -> Result<(), Error> {
        let secrets = check_secrets(secrets)?;
        self.endpoint.write().unwrap_or_else(PoisonError::into_inner).secrets = secrets;
        Ok(())
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets whether reasons contain the responses of the endpoint, which every client can then read.
    #[must_use]
    pub fn show_responses_in_reasons(self, show_responses: bool) -> Self {
        Self { show_responses, ..self }
    }

    /// Sets the maximum of `Retry-After`; a longer one is shortened to it.
    #[must_use]
    pub fn max_retry_after(self, max_retry_after: Duration) -> Self {
        Self { max_retry_after, ..self }
    }

    async fn send(&self, attempt: &Attempt) -> Outcome {
        let body = match serde_json::to_vec(&Body::from(attempt)) {
            Ok(body) => body,
            Err(error) => return Outcome::failed(format!("the order cannot be written as JSON: {error}")),
        };
        let Endpoint { url, secrets } = self.endpoint();
        let id = attempt.idempotency_key();
        let mut headers = HeaderMap::new();
        headers.insert("orders-attempt", HeaderValue::from(attempt.number()));
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert("idempotency-key", id);
        }
        if let Some(Ok(span)) = attempt.trace.map(|trace| HeaderValue::try_from(trace.to_string())) {
            headers.insert("traceparent", span);
        }
        let request = Request {
            url: &url,
            id: &id,
            timestamp_secs: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            secrets: &secrets,
            content_type: "application/json",
            headers,
            body: body.into(),
            timeout: self.timeout,
        };
        let answer = self.client.post(request).await;
        let Some(status) = answer.status.and_then(|status| StatusCode::from_u16(status).ok()) else {
            let timeout = answer.kind == OutcomeKind::Timeout;
            let class = if timeout { "webhook_timeout" } else { "webhook_unreachable" };
            let error = answer.error.unwrap_or_default();
            return Outcome::retry(format!("the webhook: {error}")).with_class(class);
        };
        let after = answer.retry_after.map(|after| after.min(self.max_retry_after));
        let text = String::from_utf8_lossy(&answer.response);
        // The last character may be incomplete.
        let text = strings::clean_reason(text.trim_end_matches(char::REPLACEMENT_CHARACTER));
        if let (Some(text), false) = (&text, status.is_success()) {
            tracing::info!(order_id = %attempt.order.id, %status, text, "webhook rejected order");
        }
        outcome_of(status, after.filter(|after| !after.is_zero()), text.filter(|_| self.show_responses))
    }
}

fn check_url(url: &str, client: &Client) -> Result<EndpointUrl, Error> {
    let url = EndpointUrl::of_operator(url).map_err(|problem| Error::invalid("url", problem.to_string()))?;
    client.check(&url)?;
    Ok(url)
}

fn check_secrets(secrets: impl IntoIterator<Item = Secret>) -> Result<Arc<[Secret]>, Error> {
    let secrets: Arc<[Secret]> = secrets.into_iter().take(MAX_SECRETS + 1).collect();
    if secrets.len() > MAX_SECRETS {
        return Err(Error::invalid("secrets", format!("must be at most {MAX_SECRETS}")));
    }
    Ok(secrets)
}

#[async_trait]
impl OrderHandler for Webhook {
    async fn handle(&self, attempt: Attempt, cancelled: CancellationToken) -> Outcome {
        cancelled
            .run_until_cancelled(self.send(&attempt))
            .await
            .unwrap_or_else(|| Outcome::retry("stopped before the webhook answered"))
    }
}

fn outcome_of(status: StatusCode, after: Option<Duration>, body: Option<String>) -> Outcome {
    if status.is_success() {
        return Outcome::Completed;
    }
    let retryable = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::CONFLICT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        );
    let delay = after.filter(|_| retryable);
    let delay = delay.map(|delay| format!(" and asked for a pause of {} s", delay.as_secs()));
    let summary = format!("the webhook answered {status}{}", delay.unwrap_or_default());
    let class = format!("http_{}", status.as_u16());
    let reason = body.map_or(summary.clone(), |body| format!("{summary}: {body}"));
    if retryable {
        Outcome::Retry { reason, class: Some(class), after }
    } else {
        Outcome::failed(reason).with_class(class)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    order_id: String,
    status: &'a str,
    attempt: u32,
    line_items: Vec<BodyLineItem<'a>>,
    quantity: u64,
    total: String,
    currency: String,
    customer: Option<&'a str>,
    external_reference: Option<&'a str>,
    created_at: String,
}

#[derive(Serialize)]
struct BodyLineItem<'a> {
    item: &'a str,
    quantity: u32,
    price: String,
}

impl<'a> From<&'a Attempt> for Body<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        let order = &attempt.order;
        let line_items = order.line_items.iter().map(|line| BodyLineItem {
            item: &line.item,
            quantity: line.quantity,
            price: line.price.to_string(),
        });
        Self {
            order_id: order.id.to_string(),
            status: order.status.as_str(),
            attempt: attempt.number(),
            line_items: line_items.collect(),
            quantity: order.quantity,
            total: order.total.to_string(),
            currency: order.total.currency().to_string(),
            customer: order.customer.as_deref(),
            external_reference: order.external_reference.as_deref(),
            created_at: order.created_at.to_string(),
        }
    }
}
