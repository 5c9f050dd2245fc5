use std::time::Duration;

use std::sync::Arc;

use domain::transition::Rules;
use domain::{Currency, LeasePrefix};

use gateway_store::{LogRetention, Retention};

/// Maximum number of orders that one request can create.
pub const MAX_ROWS: usize = 1_000;

/// A setting of this gateway. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, such as `--http-addr`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it comes from: `flag`, `environment`, the path of a file, or `default`.
    pub source: String,
}

/// The settings of the use cases and the background tasks.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the host in the list of gateways; empty if it is unknown.
    pub host: String,
    /// The settings of the gateway, for operators. Secrets are masked.
    pub settings: Arc<[Setting]>,
    /// Currency of orders that name none.
    pub default_currency: Currency,
    /// Lease and retry rules.
    pub rules: Rules,
    /// The prefix of the lease tokens that this gateway draws.
    pub lease_prefix: Option<LeasePrefix>,
    /// Maximum time of a job in the queue before its order is pushed again.
    pub visibility_timeout: Duration,
    /// Maximum number of jobs in the queue; further orders wait in the database.
    pub max_queue_depth: u32,
    /// Maximum number of rows in one transaction.
    pub batch_size: usize,
    /// Maximum number of requests that wait for a transaction; further ones are rejected as overloaded.
    pub batch_backlog: usize,
    /// Maximum number of concurrent transactions of one kind.
    pub writers: usize,
    /// Time for which an idempotency key is stored.
    pub idempotency_ttl: Duration,
    /// Time for which final orders are kept; at least [`Self::idempotency_ttl`].
    pub retention: Retention,
    /// Time for which entries of the audit log are kept; `None` keeps them forever.
    pub audit_retention: Option<Duration>,
    /// For how long and up to which size events are kept in the event log.
    pub log_retention: LogRetention,
    /// Maximum time that a request waits for the database.
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: String::new(),
            settings: Arc::from([]),
            default_currency: Currency::USD,
            rules: Rules::default(),
            lease_prefix: None,
            visibility_timeout: Duration::from_secs(10),
            max_queue_depth: 1_000,
            batch_size: 256,
            batch_backlog: 4_096,
            writers: 2,
            idempotency_ttl: Duration::from_secs(24 * 60 * 60),
            retention: Retention::default(),
            audit_retention: Some(Duration::from_secs(400 * 24 * 60 * 60)),
            log_retention: LogRetention {
                age: Some(Duration::from_secs(7 * 24 * 60 * 60)),
                bytes: Some(10 * 1024 * 1024 * 1024),
            },
            request_timeout: Duration::from_secs(5),
        }
    }
}
