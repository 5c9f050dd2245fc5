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
//! distinguishes the attempts.
//!
//! # The signature
//!
//! With a secret, the request has `Orders-Signature: t=<time>,v1=<signature>`. The time of the request is in seconds since
//! 1970. The signature is HMAC-SHA256 in lower-case hexadecimal digits, with the secret as the key, over the time, a dot,
//! and the bytes of the body (see [`sign`]). A receiver computes it over the body as received, compares in constant time,
//! and rejects requests that are minutes old.
//!
//! During a rotation there are several secrets, at most [`MAX_SECRETS`]. The header then has a `v1=<signature>` for each, in
//! their order, and the receiver accepts the request if one of them is right.
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
//! [`Webhook::show_responses_in_reasons`] adds its first 500 characters to them. The error class is `http_<status>`,
//! `webhook_timeout` or `webhook_unreachable`.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use domain::{Outcome, strings};
use hmac::{Hmac, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, format_causes};
use crate::handler::{Attempt, OrderHandler};

/// The part of a response that is read: enough for any reason, and for the reuse of the connection.
const MAX_BODY_BYTES: usize = 4 * 1024;
const USER_AGENT: &str = concat!("orders-processor/", env!("CARGO_PKG_VERSION"));

/// The maximum number of secrets that sign a request.
pub const MAX_SECRETS: usize = 3;

/// Sends each order to a URL, and maps the status of the response to the outcome.
pub struct Webhook {
    endpoint: RwLock<Endpoint>,
    timeout: Duration,
    show_responses: bool,
    max_retry_after: Duration,
}

/// Where requests are sent, and how they are signed.
#[derive(Clone)]
struct Endpoint {
    client: Client,
    url: Url,
    secrets: Arc<[SecretString]>,
}

/// The default maximum of `Retry-After`.
const DEFAULT_MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Omits the secret, and the credentials and the query of the URL, which may contain another one.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { url, secrets, .. } = self.endpoint();
        f.debug_struct("Webhook")
            .field("host", &url.host_str().unwrap_or_default())
            .field("path", &url.path())
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
    /// [`Error::Invalid`] for an invalid argument, [`Error::HttpClient`] for `https` if the system has no root
    /// certificates.
    pub fn new(
        url: &str,
        secrets: impl IntoIterator<Item = SecretString>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        if timeout.is_zero() {
            return Err(Error::invalid("timeout", "must be longer than zero"));
        }
        let (client, url) = create_client(url, timeout)?;
        let endpoint = RwLock::new(Endpoint { client, url, secrets: check_secrets(secrets)? });
        let max_retry_after = DEFAULT_MAX_RETRY_AFTER;
        Ok(Self { endpoint, timeout, show_responses: false, max_retry_after })
    }

    /// Replaces the URL for the next requests.
    ///
    /// # Errors
    /// As [`Webhook::new`]; the previous URL then stays in use.
    pub fn replace_url(&self, url: &str) -> Result<(), Error> {
        let (client, url) = create_client(url, self.timeout)?;
        let mut endpoint = self.endpoint.write().unwrap_or_else(PoisonError::into_inner);
        (endpoint.client, endpoint.url) = (client, url);
        Ok(())
    }

    /// Replaces the secrets for the next requests.
    ///
    /// # Errors
    /// As [`Webhook::new`]; the previous secrets then stay in use.
    pub fn replace_secrets(&self, secrets: impl IntoIterator<Item = SecretString>) -> Result<(), Error> {
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
        let Endpoint { client, url, secrets } = self.endpoint();
        let mut request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", attempt.idempotency_key())
            .header("Orders-Attempt", attempt.number());
        if !secrets.is_empty() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            request = request.header("Orders-Signature", sign_with_each(&secrets, now, &body));
        }
        match request.body(body).send().await {
            Ok(response) => {
                let status = response.status();
                let after = parse_retry_after(response.headers(), SystemTime::now());
                let after =
                    after.map(|after| after.min(self.max_retry_after)).filter(|after| !after.is_zero());
                let body = strings::clean_reason(&read_body_start(response).await);
                if let (Some(text), false) = (&body, status.is_success()) {
                    tracing::info!(order_id = %attempt.order.id, %status, text, "webhook rejected order");
                }
                outcome_of(status, after, body.filter(|_| self.show_responses))
            }
            // The URL may contain a secret, and every client can read the reason.
            Err(error) => {
                let class = if error.is_timeout() { "webhook_timeout" } else { "webhook_unreachable" };
                Outcome::retry(format!("the webhook: {}", format_causes(&error.without_url())))
                    .with_class(class)
            }
        }
    }
}

fn create_client(url: &str, timeout: Duration) -> Result<(Client, Url), Error> {
    let url = Url::parse(url)
        .map_err(|error| Error::invalid("url", format!("must be like https://host/path: {error}")))?;
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .timeout(timeout)
        .redirect(redirect::Policy::none())
        .tcp_nodelay(true);
    let builder = match url.scheme() {
        "https" => {
            // reqwest's default setup uses the roots of the system and the process-wide TLS provider. If the
            // installation fails, another thread has installed one.
            if CryptoProvider::get_default().is_none() {
                let _ = ring::default_provider().install_default();
            }
            builder
        }
        // This setup is never used; reqwest's default one fails on machines without root certificates.
        "http" => builder.tls_backend_preconfigured(no_tls()),
        _ => return Err(Error::invalid("url", "must start with http:// or https://")),
    };
    Ok((builder.build().map_err(Error::HttpClient)?, url))
}

fn check_secrets(secrets: impl IntoIterator<Item = SecretString>) -> Result<Arc<[SecretString]>, Error> {
    let secrets: Arc<[SecretString]> = secrets.into_iter().take(MAX_SECRETS + 1).collect();
    if secrets.len() > MAX_SECRETS {
        return Err(Error::invalid("secrets", format!("must be at most {MAX_SECRETS}")));
    }
    if secrets.iter().any(|secret| secret.expose_secret().is_empty()) {
        return Err(Error::invalid("secrets", "must not be empty"));
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

/// Returns the value of the header `Orders-Signature` for a request at this time (seconds since 1970).
///
/// ```
/// let header = processor::handlers::sign("secret", 1_700_000_000, br#"{"orderId":"1"}"#);
/// let signature = "1e918fb7109a44b3948c70c2d51c4df62894b6a5f25450f4362e44da36efeef3";
/// assert_eq!(header, format!("t=1700000000,v1={signature}"));
/// ```
pub fn sign(secret: &str, unix_seconds: u64, body: &[u8]) -> String {
    sign_with_each(&[secret.into()], unix_seconds, body)
}

/// Returns the same with a signature for each secret.
fn sign_with_each(secrets: &[SecretString], unix_seconds: u64, body: &[u8]) -> String {
    let mut header = format!("t={unix_seconds}");
    for secret in secrets {
        header.push_str(",v1=");
        header.push_str(&signature(secret.expose_secret(), unix_seconds, body));
    }
    header
}

fn signature(secret: &str, unix_seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(unix_seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn no_tls() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
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

async fn read_body_start(mut response: Response) -> String {
    let mut start = Vec::new();
    while start.len() < MAX_BODY_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                start.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY_BYTES - start.len())])
            }
            // The status is known, so an incomplete body does not matter.
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&start).into_owned()
}

/// Parses seconds or an HTTP date. Any other value is ignored.
fn parse_retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
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
