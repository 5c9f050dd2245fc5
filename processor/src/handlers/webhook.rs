//! Orders as HTTP requests.
//!
//! # The request
//!
//! `POST` with `Content-Type: application/json` and this body. Amounts are decimal texts, because a
//! JSON number is a binary fraction in most languages and `1299.99` has none.
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
//! `Idempotency-Key: <orderId>` is the same for all attempts of the order, because an attempt whose response was lost is
//! followed by another one: a receiver that must not do its work twice remembers the key. `Orders-Attempt: <number>` tells
//! the attempts apart.
//!
//! # The signature
//!
//! With a secret there is `Orders-Signature: t=<time>,v1=<signature>`: the time of the request in
//! seconds since 1970, and HMAC-SHA256 in lower-case hexadecimal digits, with the secret as the key,
//! over the time, a dot, and the bytes of the body (see [`sign`]). A receiver computes it over the
//! body as received, compares in constant time, and refuses requests that are minutes old.
//!
//! # The answer
//!
//! | answer | the attempt |
//! |---|---|
//! | 2xx | completed |
//! | 408, 409, 425, 429, 5xx | failed, may be repeated |
//! | the same with `Retry-After` (seconds or a date) | postponed: not repeated before that time, at most [`Webhook::max_retry_after`], and not counted as a failure, up to 100 times |
//! | none in time, or no connection | failed, may be repeated |
//! | anything else, redirects too | failed permanently |
//!
//! The reason names the status. Reasons are shown to every client, so the text of the response is only logged, unless
//! [`Webhook::show_responses_in_reasons`] adds its first 500 characters to them. The error class is `http_<status>`, `webhook_timeout` or `webhook_unreachable`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use domain::strings;
use hmac::{Hmac, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::{Attempt, Error, OrderHandler, Outcome};

/// So much of an answer is read: enough for any reason, and for the connection to be used again.
const MAX_BODY_BYTES: usize = 4 * 1024;
const USER_AGENT: &str = concat!("orders-processor/", env!("CARGO_PKG_VERSION"));

/// Sends each order to a URL, and takes the answer's status as the outcome.
pub struct Webhook {
    client: Client,
    url: Url,
    secret: Option<String>,
    show_responses: bool,
    longest_wait: Duration,
}

/// The longest `Retry-After` that is obeyed unless another one is set.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Without the secret, and without credentials and query of the URL, which may hold one as well.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        f.debug_struct("Webhook")
            .field("host", &host)
            .field("path", &self.url.path())
            .field("signed", &self.secret.is_some())
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// A handler that sends to `url` (`http` or `https`, the roots of the system), signs with
    /// `secret` if there is one, and gives each request `timeout` in all.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a URL or a timeout that cannot work, [`Error::HttpClient`] when `https`
    /// is asked for and the system has no root certificates.
    pub fn new(url: &str, secret: Option<String>, timeout: Duration) -> Result<Self, Error> {
        let url = Url::parse(url)
            .map_err(|error| Error::invalid("url", format!("must be like https://host/path: {error}")))?;
        if timeout.is_zero() {
            return Err(Error::invalid("timeout", "must be longer than zero"));
        }
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true);
        let builder = match url.scheme() {
            "https" => {
                // The roots of the system come with reqwest's own setup, which takes the default
                // provider. Losing the race to install it means that there is one.
                if CryptoProvider::get_default().is_none() {
                    let _ = ring::default_provider().install_default();
                }
                builder
            }
            // Never used; reqwest's own setup fails on machines without root certificates.
            "http" => builder.tls_backend_preconfigured(no_tls()),
            _ => return Err(Error::invalid("url", "must start with http:// or https://")),
        };
        let client = builder.build().map_err(Error::HttpClient)?;
        if secret.as_ref().is_some_and(|secret| secret.is_empty()) {
            return Err(Error::invalid("secret", "must not be empty"));
        }
        Ok(Self { client, url, secret, show_responses: false, longest_wait: LONGEST_WAIT })
    }

    /// Whether reasons have the text of the endpoint's responses, which every client can then read.
    #[must_use]
    pub fn show_responses_in_reasons(self, show_responses: bool) -> Self {
        Self { show_responses, ..self }
    }

    /// The longest `Retry-After` that is obeyed; longer ones are cut to it.
    #[must_use]
    pub fn max_retry_after(self, longest_wait: Duration) -> Self {
        Self { longest_wait, ..self }
    }

    async fn send(&self, attempt: &Attempt) -> Outcome {
        let body = match serde_json::to_vec(&Body::from(attempt)) {
            Ok(body) => body,
            Err(error) => return Outcome::failed(format!("the order cannot be written as JSON: {error}")),
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", attempt.idempotency_key())
            .header("Orders-Attempt", attempt.number());
        if let Some(secret) = &self.secret {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            request = request.header("Orders-Signature", sign(secret, now, &body));
        }
        match request.body(body).send().await {
            Ok(response) => {
                let status = response.status();
                let after = retry_after(response.headers(), SystemTime::now());
                let after = after.map(|after| after.min(self.longest_wait)).filter(|after| !after.is_zero());
                let said = strings::clean_reason(&read_start(response).await);
                if let (Some(text), false) = (&said, status.is_success()) {
                    tracing::info!(order_id = %attempt.order.id, %status, text, "webhook rejected order");
                }
                outcome(status, after, said.filter(|_| self.show_responses))
            }
            // The URL may hold a secret, and the reason is shown to everybody.
            Err(error) => {
                let class = if error.is_timeout() { "webhook_timeout" } else { "webhook_unreachable" };
                Outcome::retry(format!("the webhook: {}", chain(&error.without_url()))).with_class(class)
            }
        }
    }
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

/// The value of the header `Orders-Signature` for a request of that time (seconds since 1970).
///
/// ```
/// let header = processor::handlers::sign("secret", 1_700_000_000, br#"{"orderId":"1"}"#);
/// let signature = "1e918fb7109a44b3948c70c2d51c4df62894b6a5f25450f4362e44da36efeef3";
/// assert_eq!(header, format!("t=1700000000,v1={signature}"));
/// ```
pub fn sign(secret: &str, unix_seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(unix_seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={unix_seconds},v1={digits}")
}

fn no_tls() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn outcome(status: StatusCode, after: Option<Duration>, said: Option<String>) -> Outcome {
    if status.is_success() {
        return Outcome::Completed;
    }
    let repeat = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::CONFLICT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        );
    let pause = after.filter(|_| repeat);
    let asked = pause.map(|pause| format!(" and asked for a pause of {} s", pause.as_secs()));
    let answered = format!("the webhook answered {status}{}", asked.unwrap_or_default());
    let class = format!("http_{}", status.as_u16());
    let reason = said.map_or(answered.clone(), |said| format!("{answered}: {said}"));
    if repeat {
        Outcome::Retry { reason, class: Some(class), after }
    } else {
        Outcome::failed(reason).with_class(class)
    }
}

async fn read_start(mut response: Response) -> String {
    let mut start = Vec::new();
    while start.len() < MAX_BODY_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                start.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY_BYTES - start.len())])
            }
            // The status has been said; a body that breaks off takes nothing from it.
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&start).into_owned()
}

/// Seconds, or an HTTP date. Anything else counts as nothing.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
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
