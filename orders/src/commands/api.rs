//! The REST client of the commands for operators.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, LINK, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use super::gateway_start::{GatewayStart, check_starting, is_refused};
use super::http_client::{TRUST_HINT, Timeout, certificate_problem, http_client};
use super::target::{Target, below};
use crate::cli::{ApiArgs, RequesterArgs};
use crate::error::{Error, Kind};
use crate::output::Item;
use crate::values::redacted;

/// Exceeds every timeout of a gateway.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Exceeds the timeout of a bulk create, and the wait for others before it.
const BULK_TIMEOUT: Duration = Duration::from_secs(90);
/// Time without a byte after which a stream is lost. A gateway sends a comment every 12 s.
const SILENCE: Duration = Duration::from_secs(40);

/// A client for a running gateway.
pub(super) struct Api {
    target: Target,
    client: reqwest::Client,
    streams: reqwest::Client,
    start: GatewayStart,
}

impl Api {
    pub(super) fn new(args: &ApiArgs) -> Result<Self, Error> {
        let target = Target::of(args)?;
        let client = http_client(Timeout::Total(TIMEOUT), &target.trust)?;
        let streams = http_client(Timeout::Silence(SILENCE), &target.trust)?;
        Ok(Self { client, streams, target, start: GatewayStart::new(args.address.connect_timeout) })
    }

    /// Returns the object at a path.
    pub(super) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Item, Error> {
        Ok(item(self.request(path, query).await?))
    }

    /// Returns a page of a list, and the cursor `after` of the next one.
    pub(super) async fn get_page(
        &self,
        path: &str,
        query: &[(impl AsRef<str>, String)],
    ) -> Result<(Vec<Item>, Option<String>), Error> {
        let Answer { text, links } = self.request(path, query).await?;
        let items = Item::parse(&text).map(|page| page.elements()).unwrap_or_default();
        Ok((items, links.as_deref().and_then(next_cursor)))
    }

    async fn request(&self, path: &str, query: &[(impl AsRef<str>, String)]) -> Result<Answer, Error> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.client.request(Method::GET, url)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Item, Error> {
        self.send(self.client.request(Method::POST, self.url(path)).json(body)).await.map(item)
    }

    /// Creates something with an idempotency key.
    pub(super) async fn create(&self, path: &str, body: &Value, key: Option<&str>) -> Result<Item, Error> {
        let request = self.client.request(Method::POST, self.url(path)).json(body);
        let request = match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        };
        self.send(request).await.map(item)
    }

    /// Creates the valid ones of the orders, of which each line has one.
    pub(super) async fn create_bulk(&self, lines: String, key: &str) -> Result<BulkAnswer, Error> {
        let mut url = self.url("/orders/bulk");
        url.set_query(Some("errorPolicy=REJECT_FAILED_ROWS"));
        let request = self.client.request(Method::POST, url).timeout(BULK_TIMEOUT);
        let request = request.header(CONTENT_TYPE, "application/x-ndjson").header("Idempotency-Key", key);
        let response = match self.try_send(request.body(lines)).await {
            Err(error) if error.is_unavailable() => return Ok(BulkAnswer::TryAgain { error, after: None }),
            response => response?,
        };
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        let text = match response.text().await {
            Ok(text) => text,
            // The connection ended within the response.
            Err(_) => {
                let error = Error::new(Kind::Unavailable, "the response of a bulk create was lost");
                return Ok(BulkAnswer::TryAgain { error, after: None });
            }
        };
        // If no row is valid, the problem has the results.
        let has_results =
            || serde_json::from_str::<Value>(&text).is_ok_and(|body| body["results"].is_array());
        let is_about_rows = matches!(status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT);
        if status.is_success() || is_about_rows && has_results() {
            return Ok(BulkAnswer::Results(text));
        }
        let error = self.refusal(status, &text);
        if error.is_unavailable() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(BulkAnswer::TryAgain { error, after: after.map(Duration::from_secs) });
        }
        Err(error)
    }

    /// Opens a stream of server-sent events after the one with the id `last`. `None` if it has ended.
    pub(super) async fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
        last: Option<&str>,
    ) -> Result<Option<Response>, Error> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.streams.request(Method::GET, url).header(ACCEPT, "text/event-stream");
        let request = match last {
            Some(last) => request.header("Last-Event-ID", last),
            None => request,
        };
        let response = self.response(request).await?;
        Ok(Some(response).filter(|response| response.status() != StatusCode::NO_CONTENT))
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Item, Error> {
        self.send(self.client.request(Method::PATCH, self.url(path)).json(body)).await.map(item)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Item, Error> {
        self.send(self.client.request(Method::DELETE, self.url(path))).await.map(item)
    }

    fn url(&self, path: &str) -> Url {
        below(&self.target.url, path)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let response = self.response(request).await?;
        let links = response.headers().get(LINK).and_then(|links| links.to_str().ok()).map(str::to_owned);
        Ok(Answer { text: response.text().await.unwrap_or_default(), links })
    }

    /// Sends a request, and returns the response if it is a success.
    async fn response(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = self.try_send(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(self.refusal(status, &response.text().await.unwrap_or_default()))
    }

    /// Sends a request, and returns the response with any status but a redirect. Waits for a gateway that starts.
    async fn try_send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let shown = self.target.shown();
        let request = match &self.target.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = loop {
            // Every body is in memory, so a request can be copied.
            let copy = request.try_clone().filter(|_| self.start.is_expected());
            let Some(copy) = copy else { break request.send().await };
            let (is_absent, result) = match copy.send().await {
                Ok(response) => match check_starting(response).await {
                    Ok((is_starting, response)) => (is_starting, Ok(response)),
                    Err(error) => (false, Err(error)),
                },
                Err(error) => (is_refused(&error), Err(error)),
            };
            if !is_absent || !self.start.wait(&shown).await {
                break result;
            }
        };
        let response = response.map_err(|error| self.unreachable(&error))?;
        self.start.end();
        let status = response.status();
        if status.is_redirection() {
            return Err(Error::failed(format!("{shown} redirects, which is not followed: {status}"))
                .hint("give the address of the gateway itself, such as https:// in place of http://"));
        }
        Ok(response)
    }

    /// Returns the error of a request without a response.
    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let shown = self.target.shown();
        if let Some(problem) = certificate_problem(error) {
            return Error::failed(format!("the certificate of {shown} is not accepted: {problem}"))
                .hint(TRUST_HINT);
        }
        let problem = if error.is_timeout() { "does not respond in time" } else { "cannot be reached" };
        Error::new(Kind::Unavailable, format!("the gateway at {shown} {problem}"))
            .hint("start one, or give its address with --url (ORDERS_URL)")
    }

    /// Returns the error of a response that is no success.
    fn refusal(&self, status: StatusCode, text: &str) -> Error {
        let shown = self.target.shown();
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        let detail = body["detail"].as_str().map_or_else(|| format!("{status} {text}"), str::to_owned);
        let kind = kind_of(status);
        let verb = if kind == Kind::Unavailable { "is unavailable" } else { "refused" };
        let refused = Error::new(kind, format!("the gateway at {shown} {verb}: {detail}"));
        if status == StatusCode::UNAUTHORIZED {
            return refused.hint(self.target.key_hint());
        }
        refused.hint(format!(
            "{} explains the code {}",
            redacted(&self.url("/problems")),
            body["code"].as_str().unwrap_or("unknown")
        ))
    }
}

/// Returns the meaning of the status of a refusal.
fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        400 | 413..=415 | 422 => Kind::Usage,
        404 | 410 => Kind::NotFound,
        408 | 502..=504 => Kind::Unavailable,
        401 | 403 | 409 | 429 => Kind::Refused,
        _ => Kind::Failed,
    }
}

/// The answer to a bulk create.
pub(super) enum BulkAnswer {
    /// The results of the rows, as JSON.
    Results(String),
    /// The same request can succeed later, and creates no order twice.
    TryAgain {
        error: Error,
        /// The wait that the gateway asks for.
        after: Option<Duration>,
    },
}

/// The body of a response, and its header `Link`.
struct Answer {
    text: String,
    links: Option<String>,
}

/// Returns the body as an item; null for an empty one.
fn item(answer: Answer) -> Item {
    Item::parse(&answer.text).unwrap_or_else(|| Value::Null.into())
}

/// Returns the cursor of the next page in a header such as `</orders?after=C>; rel="next", <…>; rel="first"`.
fn next_cursor(links: &str) -> Option<String> {
    let next = links.split(", ").find(|link| link.ends_with("rel=\"next\""))?;
    let target = next.strip_prefix('<')?.split_once('>')?.0;
    let (_, query) = target.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "after").map(|(_, cursor)| cursor.into_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_a_meaning() {
        for (kind, statuses) in [
            (Kind::Usage, &[400, 413, 414, 415, 422][..]),
            (Kind::NotFound, &[404, 410]),
            (Kind::Refused, &[401, 403, 409, 429]),
            (Kind::Unavailable, &[408, 502, 503, 504]),
            (Kind::Failed, &[402, 405, 418, 500, 501, 505]),
        ] {
            for status in statuses {
                assert_eq!(kind_of(StatusCode::from_u16(*status).unwrap()), kind, "{status}");
            }
        }
    }

    #[test]
    fn the_next_page_is_in_the_links() {
        let first = r#"</orders?limit=2&after=a%2Bb>; rel="next""#;
        assert_eq!(next_cursor(first).as_deref(), Some("a+b"));
        let middle =
            r#"</x?a=1,2&after=c>; rel="next", </x?before=b>; rel="prev", </x?limit=2>; rel="first""#;
        assert_eq!(next_cursor(middle).as_deref(), Some("c"));
        assert_eq!(next_cursor(r#"</x?before=b>; rel="prev""#), None);
        assert_eq!(next_cursor(""), None);
    }
}
