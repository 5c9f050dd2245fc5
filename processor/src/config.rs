use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{Kinds, LeasePrefix, RetryPolicy};
use secrecy::SecretString;
use tls::ClientTls;

use crate::error::Error;
use crate::health::ProcessorHealth;

/// The maximum number of concurrent handlers of a processor.
const MAX_CONCURRENCY: usize = 100_000;

/// The delays after failures of a gateway or of the queue. They are short, because a processor without them is idle.
pub(crate) const RETRY_DELAYS: RetryPolicy =
    RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(2) };

/// The settings of a processor.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this processor on the events of its attempts and in the list of workers, at most 64 characters.
    /// Default: `processor-` and 8 random hexadecimal digits.
    pub worker_id: String,
    /// The host of this processor in the list of workers. Default: none.
    pub host: String,
    /// The gateways, as `http://host:port`, or `https://host:port` for TLS. Default: `http://127.0.0.1:50051`.
    ///
    /// One of them is used at a time, chosen at random. A name with several addresses counts as several gateways.
    pub gateway_urls: Vec<String>,
    /// The authorities of `https://` gateways, and the certificate of this processor. Default: none, and `https://` is
    /// an error.
    pub gateway_tls: Option<Arc<ClientTls>>,
    /// The credential for the gateways: an API key with the scope `work`. Default: none.
    pub token: Option<SecretString>,
    /// A file with the credential, which replaces `token` before each connection to a gateway. Default: none.
    pub token_file: Option<PathBuf>,
    /// The kinds of orders that gateways assign to this processor. Default: the default kind. Of a queue a processor takes
    /// orders of the default kind only.
    pub kinds: Kinds,
    /// The maximum number of concurrent handlers: 1 to 100,000. Default: 64.
    ///
    /// While handlers are short, further orders are prefetched, up to sixteen times the concurrency: as many as handlers
    /// end during one start.
    pub concurrency: usize,
    /// The maximum duration of one attempt. Default: 5 minutes.
    ///
    /// Leases are renewed while a handler runs, so without this limit a hanging handler would keep its order. After it,
    /// the handler is stopped and the attempt counts as a failure that may be repeated.
    pub attempt_timeout: Duration,
    /// The time that running handlers have to finish at shutdown. Default: 10 seconds.
    pub shutdown_timeout: Duration,
    /// The maximum wait for the acknowledgements of the last reports, after all handlers have ended. Default: 3 seconds.
    pub report_timeout: Duration,
    /// The maximum response time of a gateway, after which another one is used. Default: 10 seconds.
    pub response_timeout: Duration,
    /// The maximum number of unacknowledged reports while jobs are pulled. Default: 4,096.
    pub report_buffer: usize,
    /// The prefix of the lease tokens of this processor. Default: none.
    ///
    /// A program that owns the database recognises its own leases by it after a crash.
    pub lease_prefix: Option<LeasePrefix>,
    /// The state of the running processor, for health checks.
    pub health: ProcessorHealth,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            worker_id: format!("processor-{:08x}", rand::random::<u32>()),
            host: String::new(),
            gateway_urls: vec!["http://127.0.0.1:50051".to_owned()],
            gateway_tls: None,
            token: None,
            token_file: None,
            kinds: Kinds::default(),
            concurrency: 64,
            attempt_timeout: Duration::from_secs(300),
            shutdown_timeout: Duration::from_secs(10),
            report_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(10),
            report_buffer: 4_096,
            lease_prefix: None,
            health: ProcessorHealth::default(),
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(1..=MAX_CONCURRENCY).contains(&self.concurrency) {
            let problem = format!("must be from 1 to {MAX_CONCURRENCY}, is {}", self.concurrency);
            return Err(Error::invalid("concurrency", problem));
        }
        for (setting, value) in
            [("attempt_timeout", self.attempt_timeout), ("response_timeout", self.response_timeout)]
        {
            if value.is_zero() {
                return Err(Error::invalid(setting, "must be longer than zero"));
            }
        }
        Ok(())
    }
}
