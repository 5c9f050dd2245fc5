//! Sends the requests.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use reqwest::dns::Resolve;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, InvalidHeaderValue};
use reqwest::{Response, redirect};
use rustls::ClientConfig;
use tokio::time::timeout_at;

use crate::networks::AllowedNetworks;
use crate::resolver::{CheckedResolver, SystemResolver};
use crate::response::{Outcome, OutcomeKind, read_start, retry_after};
use crate::secret::Secret;
use crate::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, sign};
use crate::url::{EndpointUrl, UrlProblem};

/// The maximum time until a connection is open, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of idle connections to a receiver.
pub(crate) const MAX_IDLE_CONNECTIONS: usize = 8;
/// The time after which an idle connection is closed.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

const ALPN: &[&[u8]] = &[b"http/1.1"];

/// Sends requests over HTTP/1.1, and keeps connections for the next ones.
///
/// It follows no redirect, uses no proxy, and connects to permitted addresses only. It decodes no compressed response.
#[derive(Debug, Clone)]
pub struct Client {
    https: Result<reqwest::Client, Arc<tls::Error>>,
    http: reqwest::Client,
    allowed: AllowedNetworks,
}

/// The reason why a client cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has no certificate authorities, which only `https` needs.
    #[error(transparent)]
    Tls(Arc<tls::Error>),
    /// The HTTP client cannot be built.
    #[error("failed to build the HTTP client: {}", causes(.0))]
    Build(reqwest::Error),
}

/// One attempt to deliver a message. It has no Debug, because its body and headers are not for logs.
pub struct Request<'a> {
    /// The receiver.
    pub url: &'a EndpointUrl,
    /// The id of the message, the same for all attempts, without a dot.
    pub id: &'a str,
    /// The time of the attempt, in seconds since 1970. Receivers refuse requests that are minutes old.
    pub timestamp_secs: u64,
    /// The secrets that sign, at most [`MAX_SECRETS`](crate::MAX_SECRETS). Without any, the request has no signature.
    pub secrets: &'a [Secret],
    /// The media type of the body.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The maximum time of the attempt, until the end of the response.
    pub timeout: Duration,
}

impl Client {
    /// Creates a client that reaches public addresses and the allowed networks.
    ///
    /// # Errors
    /// If the HTTP client cannot be built. Missing certificate authorities are an error of `https` requests only.
    pub fn new(allowed: AllowedNetworks, user_agent: &'static str) -> Result<Self, Error> {
        Self::with_resolver(allowed, user_agent, Arc::new(SystemResolver::default()))
    }

    /// Creates a client that resolves names with `resolver`.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_resolver(
        allowed: AllowedNetworks,
        user_agent: &'static str,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, Error> {
        Self::with_tls(allowed, user_agent, resolver, tls::trusting_system(ALPN))
    }

    fn with_tls(
        allowed: AllowedNetworks,
        user_agent: &'static str,
        resolver: Arc<dyn Resolve>,
        tls: Result<ClientConfig, tls::Error>,
    ) -> Result<Self, Error> {
        let builder = |plain| {
            let checked = CheckedResolver { resolver: resolver.clone(), allowed: allowed.clone(), plain };
            reqwest::Client::builder()
                .user_agent(user_agent)
                .http1_only()
                .no_proxy()
                .redirect(redirect::Policy::none())
                .referer(false)
                .dns_resolver(Arc::new(checked))
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .tcp_nodelay(true)
                .https_only(!plain)
        };
        // reqwest's default configuration fails on systems without authorities, and `http` needs none.
        let http = builder(true).tls_backend_preconfigured(tls::without_authorities()).build();
        let https = match tls {
            Ok(config) => {
                Ok(builder(false).tls_backend_preconfigured(config).build().map_err(Error::Build)?)
            }
            Err(error) => Err(Arc::new(error)),
        };
        Ok(Self { https, http: http.map_err(Error::Build)?, allowed })
    }

    /// Checks whether requests to the URL are possible.
    ///
    /// # Errors
    /// [`Error::Tls`] for `https` on a system without certificate authorities.
    pub fn check(&self, url: &EndpointUrl) -> Result<(), Error> {
        self.of(url).map(|_| ())
    }

    /// Sends a request. Every failure is an outcome.
    pub async fn post(&self, request: Request<'_>) -> Outcome {
        let start = Instant::now();
        let deadline = start + request.timeout;
        let without_status = |kind, error: String| Outcome {
            kind,
            status: None,
            duration: start.elapsed(),
            response: Vec::new(),
            retry_after: None,
            error: Some(error),
        };
        // The resolver sees names only.
        if let Err(problem) = request.url.check_address(&self.allowed) {
            return without_status(OutcomeKind::Refused, format!("the URL {problem}"));
        }
        let timeout = request.timeout;
        let response = match timeout_at(deadline.into(), self.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(SendError { kind, text })) => return without_status(kind, text),
            Err(_) => {
                let text = format!("timed out: no response within {timeout:?}");
                return without_status(OutcomeKind::Timeout, text);
            }
        };
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let mut kept = Vec::new();
        // The status is known, so a body that is not complete in time does not matter.
        let _ = timeout_at(deadline.into(), read_start(response, &mut kept)).await;
        Outcome {
            kind: OutcomeKind::of_status(status),
            status: Some(status),
            duration: start.elapsed(),
            response: kept,
            retry_after,
            error: None,
        }
    }

    fn of(&self, url: &EndpointUrl) -> Result<&reqwest::Client, Error> {
        if url.is_plain() {
            Ok(&self.http)
        } else {
            self.https.as_ref().map_err(|error| Error::Tls(error.clone()))
        }
    }

    async fn send(&self, request: Request<'_>) -> Result<Response, SendError> {
        let client = self.of(request.url).map_err(|error| SendError::unreachable(error.to_string()))?;
        let headers = headers(&request)
            .map_err(|error| SendError::unreachable(format!("a header cannot be sent: {error}")))?;
        let request = client.post(request.url.url().clone()).headers(headers).body(request.body);
        request.send().await.map_err(|error| SendError::from(error.without_url()))
    }
}

fn headers(request: &Request<'_>) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = request.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type));
    headers.insert(HEADER_ID, HeaderValue::from_str(request.id)?);
    headers.insert(HEADER_TIMESTAMP, HeaderValue::from(request.timestamp_secs));
    if !request.secrets.is_empty() {
        let signatures = sign(request.secrets, request.id, request.timestamp_secs, &request.body);
        headers.insert(HEADER_SIGNATURE, HeaderValue::from_str(&signatures)?);
    }
    Ok(headers)
}

/// The reason why there is no response.
struct SendError {
    kind: OutcomeKind,
    text: String,
}

impl SendError {
    fn unreachable(text: String) -> Self {
        Self { kind: OutcomeKind::Unreachable, text }
    }
}

impl From<reqwest::Error> for SendError {
    fn from(error: reqwest::Error) -> Self {
        if let Some(problem) = refusal(&error) {
            return Self { kind: OutcomeKind::Refused, text: format!("the URL {problem}") };
        }
        let kind = if error.is_timeout() { OutcomeKind::Timeout } else { OutcomeKind::Unreachable };
        Self { kind, text: causes(&error) }
    }
}

/// Returns the problem of the checked resolver among the causes.
fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a UrlProblem> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(problem) = error.downcast_ref() {
            return Some(problem);
        }
        cause = error.source();
    }
    None
}

/// Formats an error and its causes in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !line.ends_with(&message) {
            // A write to a String cannot fail.
            let _ = write!(line, ": {message}");
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use reqwest::dns::{Addrs, Name, Resolving};
    use test_certificates::{Authority, Leaf};
    use tls::{ClientFiles, ClientTls, ServerFiles, ServerTls};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// Resolves every name to the loopback address.
    struct Loopback;

    impl Resolve for Loopback {
        fn resolve(&self, _: Name) -> Resolving {
            Box::pin(async { Ok(Box::new([SocketAddr::from(([127, 0, 0, 1], 1))].into_iter()) as Addrs) })
        }
    }

    /// Answers one request over TLS, and returns the URL.
    async fn serve_once(server: ServerTls, name: &str) -> EndpointUrl {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{name}:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = TlsAcceptor::from(server.config()).accept(stream).await else { return };
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        EndpointUrl::parse(&url, &AllowedNetworks::default()).unwrap()
    }

    #[tokio::test]
    async fn https_verifies_the_certificate_and_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("authority");
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, authority.pem()).unwrap();
        let (certificate, key) = authority.issue(&Leaf::server()).write(folder.path(), "server");
        let server = || {
            ServerTls::load(
                "test",
                ServerFiles { certificate: certificate.clone(), key: key.clone(), client_ca: None },
                ALPN,
            )
            .unwrap()
        };
        let trusting = || {
            let files = ClientFiles { ca: Some(ca.clone()), certificate_and_key: None };
            Arc::unwrap_or_clone(ClientTls::load("test", files, ALPN).unwrap().config())
        };
        let post = async |url: &EndpointUrl, tls| {
            let client = Client::with_tls("127.0.0.0/8".parse().unwrap(), "test", Arc::new(Loopback), tls);
            let request = Request {
                url,
                id: "message",
                timestamp_secs: 1,
                secrets: &[],
                content_type: "application/json",
                headers: HeaderMap::new(),
                body: Bytes::new(),
                timeout: Duration::from_secs(20),
            };
            client.unwrap().post(request).await
        };

        let outcome = post(&serve_once(server(), "localhost").await, Ok(trusting())).await;
        assert_eq!(outcome.kind, OutcomeKind::Delivered, "{outcome:?}");
        for (name, tls) in [("localhost", tls::without_authorities()), ("hooks.example", trusting())] {
            let outcome = post(&serve_once(server(), name).await, Ok(tls)).await;
            assert_eq!(outcome.kind, OutcomeKind::Unreachable);
            assert!(outcome.error.as_deref().unwrap().contains("certificate"), "{outcome:?}");
        }
        // Without authorities, only `https` fails.
        let url = serve_once(server(), "localhost").await;
        let outcome = post(&url, Err(tls::Error::NoAuthorities)).await;
        assert!(outcome.error.unwrap().contains("install ca-certificates"));
    }
}
