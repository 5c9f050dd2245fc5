//! The REST client of the commands for operators.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use super::http_client::{TRUST_HINT, certificate_problem, http_client};
use super::target::{Target, below};
use crate::cli::{ApiArgs, RequesterArgs};
use crate::error::Error;
use crate::values::redacted;

/// Exceeds every timeout of a gateway.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client for a running gateway.
pub(super) struct Api {
    target: Target,
    client: reqwest::Client,
}

impl Api {
    pub(super) fn new(args: &ApiArgs) -> Result<Self, Error> {
        let target = Target::of(args)?;
        Ok(Self { client: http_client(TIMEOUT, &target.trust)?, target })
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Error> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.client.request(Method::GET, url)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(self.client.request(Method::POST, self.url(path)).json(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(self.client.request(Method::PATCH, self.url(path)).json(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Error> {
        self.send(self.client.request(Method::DELETE, self.url(path))).await
    }

    fn url(&self, path: &str) -> Url {
        below(&self.target.url, path)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Error> {
        let shown = self.target.shown();
        let request = match &self.target.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = request.send().await.map_err(|error| {
            if let Some(problem) = certificate_problem(&error) {
                return Error::failed(format!("the certificate of {shown} is not accepted: {problem}"))
                    .hint(TRUST_HINT);
            }
            let problem = if error.is_timeout() { "does not respond in time" } else { "cannot be reached" };
            Error::failed(format!("the gateway at {shown} {problem}"))
                .hint("start one, or give its address with --url (ORDERS_URL)")
        })?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Error::failed(format!("{shown} redirects, which is not followed: {status}"))
                .hint("give the address of the gateway itself, such as https:// in place of http://"));
        }
        let text = response.text().await.unwrap_or_default();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let detail = body["detail"].as_str().map_or_else(|| format!("{status} {text}"), str::to_owned);
        let refused = Error::failed(format!("the gateway at {shown} refused: {detail}"));
        if status == StatusCode::UNAUTHORIZED {
            return Err(refused.hint(self.target.key_hint()));
        }
        Err(refused.hint(format!(
            "{} explains the code {}",
            redacted(&self.url("/problems")),
            body["code"].as_str().unwrap_or("unknown")
        )))
    }
}

/// Returns the name of the requester: the flag, or the user name.
pub(super) fn requested_by(args: &RequesterArgs) -> String {
    args.requested_by.clone().unwrap_or_else(user_name)
}

/// Returns the name of the user of the operating system.
pub(super) fn user_name() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
    let usable = |name: &String| domain::strings::validate(name, domain::strings::MAX_REQUESTED_BY).is_ok();
    user.filter(usable).unwrap_or_else(|| "the command line".to_owned())
}
