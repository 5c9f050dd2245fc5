use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{Currency, EventTypes, RetryPolicy};
use secrecy::SecretString;
use tls::ClientTls;

use crate::error::Error;
use crate::health::SubscriberHealth;

/// The limits of a lease, which are those of the gateway.
const LEASES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(600)];
/// The maximum number of events of a page.
const MAX_PAGE: u32 = 1_000;
/// The delays after failures of the gateways.
pub(crate) const RECONNECT_DELAYS: RetryPolicy =
    RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(2) };

/// Where a reader begins that does not exist yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event that is kept.
    #[default]
    Oldest,
    /// After the latest event.
    End,
}

/// What to do when the event log no longer has the events after the cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExpired {
    /// End with [`Error::Expired`].
    #[default]
    Stop,
    /// Log an error, and continue with the oldest event that is kept.
    ContinueAtOldest,
}

/// The settings of a subscriber.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateways, as `http://host:port`, or `https://host:port` for TLS. Default: `http://127.0.0.1:50051`.
    ///
    /// One of them is used at a time, chosen at random.
    pub gateway_urls: Vec<String>,
    /// The authorities of `https://` gateways, and the certificate of this process. Default: none, and `https://` is an
    /// error.
    pub gateway_tls: Option<Arc<ClientTls>>,
    /// The credential for the gateways: an API key with the scope `events:read`. Default: none.
    pub token: Option<SecretString>,
    /// A file with the credential, which replaces `token` before each connection. Default: none.
    pub token_file: Option<PathBuf>,
    /// The name of the reader, whose cursor the gateway stores: 1 to 64 letters, digits, `.`, `_` and `-`.
    pub reader: String,
    /// The types of the events. Default: all.
    pub types: EventTypes,
    /// Only events of orders of this customer. Default: of all.
    pub customer: Option<String>,
    /// Only events of orders in this currency. Default: in all.
    pub currency: Option<Currency>,
    /// Where to begin if the reader does not exist yet. Default: with the oldest event.
    pub start: Start,
    /// What to do when events are missing. Default: end with an error.
    pub on_expired: OnExpired,
    /// The lease of the reader: 1 second to 10 minutes. Default: 30 seconds.
    ///
    /// Another process takes over this long after a crash. A handler may take longer: the lease is renewed meanwhile.
    pub lease: Duration,
    /// The maximum number of events that are read at once: 1 to 1,000. Default: 100.
    pub page: u32,
    /// The maximum time between two commits while events are applied. Default: 1 second.
    ///
    /// After a crash, the events since the last commit are delivered again.
    pub commit_interval: Duration,
    /// The delays after a failure of the handler. Default: 1 second, doubled up to 1 minute.
    pub retry: RetryPolicy,
    /// The time that a running handler has to finish at shutdown. Default: 10 seconds.
    pub shutdown_timeout: Duration,
    /// The maximum response time of a gateway, after which another one is used. Default: 10 seconds.
    pub response_timeout: Duration,
    /// The state of the running subscriber, for health checks.
    pub health: SubscriberHealth,
}

impl Config {
    /// Returns the default settings for a reader with this name.
    pub fn new(reader: impl Into<String>) -> Self {
        Self {
            gateway_urls: vec!["http://127.0.0.1:50051".to_owned()],
            gateway_tls: None,
            token: None,
            token_file: None,
            reader: reader.into(),
            types: EventTypes::ALL,
            customer: None,
            currency: None,
            start: Start::default(),
            on_expired: OnExpired::default(),
            lease: Duration::from_secs(30),
            page: 100,
            commit_interval: Duration::from_secs(1),
            retry: RetryPolicy { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
            shutdown_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(10),
            health: SubscriberHealth::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let [min, max] = LEASES;
        if !(min..=max).contains(&self.lease) {
            return Err(Error::invalid(
                "lease",
                format!("must be from {min:?} to {max:?}, is {:?}", self.lease),
            ));
        }
        if !(1..=MAX_PAGE).contains(&self.page) {
            return Err(Error::invalid("page", format!("must be from 1 to {MAX_PAGE}, is {}", self.page)));
        }
        if self.response_timeout.is_zero() {
            return Err(Error::invalid("response_timeout", "must be longer than zero"));
        }
        Ok(())
    }
}
