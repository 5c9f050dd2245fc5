//! The calls to the gateways: one connection at a time, which is replaced if a call on it fails.
//!
//! A call is repeated until a gateway answers it. Its caller limits the time.

use std::time::Duration;

use connection::{ConnectError, Gateways, Settings, format_status};
use domain::{Backoff, ErrorCode, EventType};
use proto::v1;
use proto::v1::events_client::EventsClient;
use telemetry::LogThrottle;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::config::{Config, RECONNECT_DELAYS, Start};
use crate::error::Error;
use crate::health::SubscriberHealth;
use crate::metrics;

/// The maximum wait of a call for events.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// A call waits for events at most this fraction of the lease.
const LEASE_PARTS: u32 = 3;
/// A page is smaller.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// The metadata with the time after which a refused call can be repeated.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A refusal that a repetition over another connection does not change.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Another process has the lease, for this long.
    Leased(Duration),
    /// This process no longer has the lease.
    Stale,
    /// The events after the cursor are missing; this is the oldest cursor.
    Expired(String),
    /// The call is invalid.
    Final(String),
}

/// What a process commits.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// The cursor; empty to keep the committed one.
    pub(crate) cursor: String,
    pub(crate) metadata: String,
    pub(crate) release: bool,
}

pub(crate) struct Calls {
    /// The request of a page, without the token.
    request: v1::ReadEventsRequest,
    response_timeout: Duration,
    connection: Mutex<Connection>,
    log: LogThrottle,
    health: SubscriberHealth,
}

struct Connection {
    gateways: Gateways,
    client: Option<EventsClient<Channel>>,
    /// The number of the connection, so that one failure replaces it once.
    number: u64,
    backoff: Backoff,
}

impl Calls {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let gateways = Gateways::new(&Settings {
            urls: config.gateway_urls.clone(),
            tls: config.gateway_tls.clone(),
            token: config.token.clone(),
            token_file: config.token_file.clone(),
        })?;
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let types = EventType::ALL.into_iter().filter(|kind| config.types.contains(*kind));
        let request = v1::ReadEventsRequest {
            reader: config.reader.clone(),
            types: types.map(|kind| kind.as_str().to_owned()).collect(),
            customer: config.customer.clone().unwrap_or_default(),
            currency: config.currency.map(|currency| currency.code().to_owned()).unwrap_or_default(),
            limit: config.page,
            wait_ms: millis((config.lease / LEASE_PARTS).min(MAX_WAIT)),
            lease_ms: millis(config.lease),
            new_at_end: config.start == Start::End,
            ..v1::ReadEventsRequest::default()
        };
        let connection =
            Connection { gateways, client: None, number: 0, backoff: Backoff::new(RECONNECT_DELAYS) };
        Ok(Self {
            request,
            response_timeout: config.response_timeout,
            connection: Mutex::new(connection),
            log: LogThrottle::default(),
            health: config.health.clone(),
        })
    }

    /// Takes or renews the lease and reads a page. Returns the time of the request as well.
    pub(crate) async fn read(&self, holder: &str) -> Result<(v1::ReadEventsResponse, Instant), Refusal> {
        let request = v1::ReadEventsRequest { holder: holder.to_owned(), ..self.request.clone() };
        let limit = self.response_timeout + Duration::from_millis(request.wait_ms.into());
        loop {
            let (mut client, number, request) = self.prepare(request.clone()).await;
            let sent_at = Instant::now();
            if let Some(page) = self.check(number, timeout(limit, client.read(request)).await).await? {
                return Ok((page, sent_at));
            }
        }
    }

    /// Commits and renews the lease. Returns the time of the request.
    pub(crate) async fn commit(&self, holder: &str, commit: Commit) -> Result<Instant, Refusal> {
        let Commit { cursor, metadata, release } = commit;
        let v1::ReadEventsRequest { reader, lease_ms, .. } = self.request.clone();
        let (holder, metadata) = (holder.to_owned(), Some(metadata));
        let request =
            v1::CommitRequest { reader, cursor, rewind: false, holder, lease_ms, release, metadata };
        loop {
            let (mut client, number, request) = self.prepare(request.clone()).await;
            let sent_at = Instant::now();
            let answer = timeout(self.response_timeout, client.commit(request)).await;
            if let Some(v1::CommitResponse {}) = self.check(number, answer).await? {
                return Ok(sent_at);
            }
        }
    }

    /// Returns a connection and the call with the credential.
    async fn prepare<T>(&self, request: T) -> (EventsClient<Channel>, u64, Request<T>) {
        let mut connection = self.connection.lock().await;
        let client = loop {
            if let Some(client) = &connection.client {
                break client.clone();
            }
            match connection.connect().await {
                Ok(()) => {}
                Err(error) => {
                    self.health.set_connected(false);
                    connection.gateways.log_failure(&error);
                    sleep(connection.backoff.next_delay()).await;
                }
            }
        };
        let mut request = Request::new(request);
        connection.gateways.authorize(&mut request);
        (client, connection.number, request)
    }

    /// Returns the answer, or `None` if the call has to be repeated.
    async fn check<T>(
        &self,
        number: u64,
        answer: Result<Result<Response<T>, Status>, tokio::time::error::Elapsed>,
    ) -> Result<Option<T>, Refusal> {
        let (error, wait) = match answer {
            Ok(Ok(response)) => {
                self.connection.lock().await.backoff.reset();
                self.health.set_connected(true);
                return Ok(Some(response.into_inner()));
            }
            Ok(Err(status)) => {
                if let Some(refusal) = refusal(&status) {
                    self.health.set_connected(true);
                    return Err(refusal);
                }
                (format_status(&status), pushback(&status))
            }
            Err(_) => ("no answer in time".to_owned(), None),
        };
        self.health.set_connected(false);
        metrics::count_reconnect();
        if let Some(more) = self.log.allow() {
            tracing::warn!(error, more, "a call to the gateway failed, repeating it over another connection");
        }
        let delay = {
            let mut connection = self.connection.lock().await;
            if connection.number == number {
                connection.client = None;
            }
            connection.backoff.next_delay()
        };
        sleep(wait.map_or(delay, |wait| wait.max(delay))).await;
        Ok(None)
    }
}

impl Connection {
    /// Connects to any gateway.
    async fn connect(&mut self) -> Result<(), ConnectError> {
        self.gateways.read_token();
        let mut last_error = None;
        for target in self.gateways.targets().await? {
            match target.connect().await {
                Ok(channel) => {
                    self.gateways.connected(&target);
                    let client = EventsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
                    self.client = Some(client);
                    self.number += 1;
                    return Ok(());
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or(ConnectError::TimedOut { what: "the gateways".to_owned() }))
    }
}

/// Returns the refusal, unless another connection, a wait or an operator may help.
fn refusal(status: &Status) -> Option<Refusal> {
    let metadata = |name| status.metadata().get(name)?.to_str().ok();
    let code = metadata(proto::ERROR_METADATA)?;
    let is = |other: ErrorCode| code == other.as_str();
    if is(ErrorCode::ReaderLeased) {
        Some(Refusal::Leased(pushback(status).unwrap_or_default()))
    } else if is(ErrorCode::StaleReaderLease) || is(ErrorCode::ReaderBehind) {
        // Another process has committed a later cursor.
        Some(Refusal::Stale)
    } else if is(ErrorCode::CursorExpired) {
        let oldest = metadata(proto::OLDEST_CURSOR_METADATA);
        Some(Refusal::Expired(oldest.unwrap_or_default().to_owned()))
    } else if is(ErrorCode::InvalidInput) {
        Some(Refusal::Final(status.message().to_owned()))
    } else {
        None
    }
}

fn pushback(status: &Status) -> Option<Duration> {
    let millis = status.metadata().get(PUSHBACK)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}
