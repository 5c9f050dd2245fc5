//! Where the keys of an issuer come from: a file, a URL, or the URL that the issuer announces.
//!
//! A request has a timeout, follows no redirect, and its response has a maximum size. Plain HTTP is used for loopback
//! addresses only.

use std::error::Error as _;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::{Client, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tls::ClientTls;
use url::{Host, Url};

/// Maximum size of a document of an issuer, and of a file of keys.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// Timeout of a request to an issuer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between reads of the keys of a URL.
pub(crate) const URL_INTERVAL: Duration = Duration::from_secs(600);
/// Interval between reads of a file of keys.
pub(crate) const FILE_INTERVAL: Duration = Duration::from_secs(60);

/// The reason for which keys cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct LoadError(pub(crate) String);

/// Reads the keys of an issuer.
pub(super) trait KeySource: Send + Sync {
    /// Returns the document with the keys.
    fn load(&self) -> BoxFuture<'_, Result<Vec<u8>, LoadError>>;

    /// Returns the time between two reads.
    fn interval(&self) -> Duration;
}

/// The location of the keys of an issuer.
#[derive(Debug, Clone)]
pub enum KeyLocation {
    /// A file.
    File(PathBuf),
    /// A URL that [`check_url`] accepts.
    Url(Url),
    /// The `jwks_uri` that an issuer with such a URL announces.
    Discovery {
        /// The issuer, as its tokens have it.
        issuer: String,
        /// The URL of its metadata.
        metadata: Url,
    },
}

impl KeyLocation {
    /// Returns the location of the keys that an issuer announces (OpenID Connect Discovery 1.0).
    ///
    /// # Errors
    /// If the issuer is not a URL, or [`check_url`] refuses it.
    pub fn discovery(issuer: &str) -> Result<Self, InvalidUrl> {
        let url = Url::parse(issuer).map_err(|_| InvalidUrl::Unreadable)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidUrl::Unreadable);
        }
        let metadata = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let metadata = Url::parse(&metadata).map_err(|_| InvalidUrl::Unreadable)?;
        check_url(&metadata)?;
        Ok(Self::Discovery { issuer: issuer.to_owned(), metadata })
    }

    /// Returns whether the requests need certificate authorities. Without a URL there are no requests.
    pub fn uses_tls(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Url(url) | Self::Discovery { metadata: url, .. } => url.scheme() == "https",
        }
    }
}

/// The reason for which a URL of an issuer is refused.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum InvalidUrl {
    /// It is not a URL, or has parts that are not used.
    #[error("it is not a URL such as https://issuer.example/keys, without a user and a fragment")]
    Unreadable,
    /// Its scheme protects nothing.
    #[error("it does not start with https://, which only loopback addresses may replace by http://")]
    Insecure,
}

/// Checks that a URL is `https`, or `http` on a loopback address.
///
/// # Errors
/// [`InvalidUrl`].
pub fn check_url(url: &Url) -> Result<(), InvalidUrl> {
    let has_user = !url.username().is_empty() || url.password().is_some();
    let host = url.host().filter(|_| !has_user && url.fragment().is_none()).ok_or(InvalidUrl::Unreadable)?;
    let is_loopback = match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.to_canonical().is_loopback(),
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        _ => Err(InvalidUrl::Insecure),
    }
}

/// A file.
pub(super) struct FileSource(pub(super) PathBuf);

impl KeySource for FileSource {
    fn load(&self) -> BoxFuture<'_, Result<Vec<u8>, LoadError>> {
        let file = self.0.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || read_file(&file)).await;
            read.unwrap_or_else(|_| Err(LoadError("the file cannot be read".to_owned())))
        })
    }

    fn interval(&self) -> Duration {
        FILE_INTERVAL
    }
}

/// Reads a file of keys.
pub(super) fn read_file(file: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |error: std::io::Error| LoadError(format!("the file cannot be read: {error}"));
    let mut content = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    opened.take(MAX_DOCUMENT_BYTES as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() > MAX_DOCUMENT_BYTES {
        return Err(LoadError(format!("the file is larger than {MAX_DOCUMENT_BYTES} bytes")));
    }
    Ok(content)
}

/// A URL, or the URL that is announced at another one.
pub(super) struct HttpSource {
    pub(super) location: HttpLocation,
    /// The trusted authorities. `None` if every URL is a loopback address without TLS.
    pub(super) tls: Option<Arc<ClientTls>>,
}

pub(super) enum HttpLocation {
    Keys(Url),
    Metadata { issuer: String, url: Url },
}

impl KeySource for HttpSource {
    fn load(&self) -> BoxFuture<'_, Result<Vec<u8>, LoadError>> {
        Box::pin(async move {
            self.reload_authorities().await;
            match &self.location {
                HttpLocation::Keys(url) => self.get(url).await,
                HttpLocation::Metadata { issuer, url } => {
                    let keys = keys_url(issuer, url, &self.get(url).await?)?;
                    self.get(&keys).await
                }
            }
        })
    }

    fn interval(&self) -> Duration {
        URL_INTERVAL
    }
}

impl HttpSource {
    /// Reads the trusted authorities again. The loaded ones stay in use if their file is not usable.
    async fn reload_authorities(&self) {
        if let Some(tls) = self.tls.clone() {
            // An error is logged there.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
        }
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, LoadError> {
        let failed = |error: reqwest::Error| LoadError(causes(&error.without_url()));
        let builder = Client::builder()
            .user_agent(concat!("orders/", env!("CARGO_PKG_VERSION")))
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .tls_backend_preconfigured(self.tls_config()?);
        // A proxy of the environment is for other hosts.
        let builder = if url.scheme() == "http" { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(failed)?;
        let mut response = client.get(url.clone()).send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            let status = response.status();
            return Err(LoadError(format!(
                "the status of the response is {status}; redirects are not followed"
            )));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(LoadError(format!("the response is larger than {MAX_DOCUMENT_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn tls_config(&self) -> Result<ClientConfig, LoadError> {
        match &self.tls {
            Some(tls) => Ok((*tls.config()).clone()),
            // No connection uses it, and reqwest's default setup fails on machines without certificate authorities.
            None => ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map(|builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
                .map_err(|error| LoadError(error.to_string())),
        }
    }
}

/// Returns the URL of the keys that the metadata of an issuer announces.
fn keys_url(issuer: &str, metadata: &Url, document: &[u8]) -> Result<Url, LoadError> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }
    let invalid = |problem: &str| LoadError(format!("the metadata of the issuer {problem}"));
    let found: Metadata = serde_json::from_slice(document)
        .map_err(|_| invalid("is not a JSON object with `issuer` and `jwks_uri`"))?;
    if found.issuer != issuer {
        return Err(invalid("is that of another issuer"));
    }
    let url = Url::parse(&found.jwks_uri).map_err(|_| invalid("has a `jwks_uri` that is not a URL"))?;
    // Metadata that came over TLS does not lead to a service of this machine.
    if check_url(&url).is_err() || (metadata.scheme() == "https" && url.scheme() != "https") {
        return Err(invalid("has a `jwks_uri` that is not https"));
    }
    Ok(url)
}

/// Returns an error and its causes in one line.
fn causes(error: &reqwest::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String does not fail.
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_addresses() {
        let check = |url: &str| check_url(&Url::parse(url).unwrap());
        for accepted in [
            "https://issuer.example/keys?p=1",
            "http://127.0.0.1:9000/keys",
            "http://127.9.9.9/",
            "http://[::1]/keys",
            "http://localhost:9000/keys",
        ] {
            assert_eq!(check(accepted), Ok(()), "{accepted}");
        }
        for insecure in
            ["http://issuer.example/", "http://10.0.0.1/", "http://localhost.example/", "ftp://127.0.0.1/"]
        {
            assert_eq!(check(insecure), Err(InvalidUrl::Insecure), "{insecure}");
        }
        for unreadable in
            ["https://ann@issuer.example/", "https://a:b@issuer.example/", "https://x/#a", "file:///keys"]
        {
            assert_eq!(check(unreadable), Err(InvalidUrl::Unreadable), "{unreadable}");
        }
    }

    #[test]
    fn metadata_is_below_the_issuer() {
        for issuer in ["https://issuer.example", "https://issuer.example/"] {
            let Ok(KeyLocation::Discovery { metadata, .. }) = KeyLocation::discovery(issuer) else {
                panic!()
            };
            assert_eq!(metadata.as_str(), "https://issuer.example/.well-known/openid-configuration");
        }
        let Ok(KeyLocation::Discovery { metadata, .. }) = KeyLocation::discovery("https://x/realms/a") else {
            panic!()
        };
        assert_eq!(metadata.path(), "/realms/a/.well-known/openid-configuration");
        for refused in ["shop", "http://issuer.example", "https://x/?a=1", "https://ann@x"] {
            assert!(KeyLocation::discovery(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn metadata_leads_to_the_keys_of_its_issuer() {
        let (secure, local) = (Url::parse("https://a/").unwrap(), Url::parse("http://127.0.0.1/").unwrap());
        let url = |metadata: &Url, issuer: &str, keys: &str| {
            let document = serde_json::json!({"issuer": issuer, "jwks_uri": keys, "scopes_supported": []});
            keys_url("https://a", metadata, document.to_string().as_bytes())
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            url(&secure, "https://a", "https://keys.example/1").unwrap().as_str(),
            "https://keys.example/1"
        );
        assert!(url(&local, "https://a", "http://127.0.0.1/keys").is_ok());
        assert!(url(&secure, "https://a", "http://127.0.0.1/keys").unwrap_err().contains("https"));
        assert!(url(&secure, "https://b", "https://a/keys").unwrap_err().contains("another issuer"));
        assert!(url(&local, "https://a", "http://keys.example/").is_err());
        assert!(keys_url("https://a", &secure, b"[]").is_err());
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "document of a token issuer, or file of its keys",
            &limits_page::bytes(MAX_DOCUMENT_BYTES),
        );
        limits_page::row("timeout of a request to a token issuer", &limits_page::time(REQUEST_TIMEOUT));
        limits_page::row(
            "time between two reads of an issuer's keys; of their file",
            &format!("{}; {}", limits_page::time(URL_INTERVAL), limits_page::time(FILE_INTERVAL)),
        );
    }
}
