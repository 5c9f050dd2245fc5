//! The store: all SQL of the gateway. No other crate contains any.
//!
//! Start with [`transition`]: every change of an order after its creation passes through it. [`insert`] accepts orders,
//! [`ready`] claims them for the queue, [`expired_claims`] finds those that were held for too long, [`read`] and [`list`]
//! show them, [`timeline`] assembles their events, and [`retention`] removes them.
//!
//! One body of SQL serves MySQL, MariaDB and SQLite; [`Dialect`] contains the differences, and `connection`, `row` and
//! `statement` hide which driver is used. Every write is one short transaction over many rows, at READ COMMITTED. The
//! rows are locked while the domain decides about them. The store repeats transactions that conflict. It reports a lost
//! response to COMMIT, and the caller, which knows what was written, resolves it.
//!
//! SQLite has one connection that writes and some that read. MySQL has a pool for each, so that reads and writes cannot
//! starve each other. Searches have two connections besides (see [`search`]).

mod abandoned_leases;
mod address;
mod api_keys;
mod assembly;
mod audit;
mod backup;
mod clock;
mod clock_sync;
mod columns;
mod connect;
mod connect_error;
mod connection;
mod counts;
mod create_request;
mod dialect;
mod due_tenants;
mod engines;
mod error;
mod error_codes;
mod event_log;
mod event_readers;
mod expired_claims;
mod files;
mod health;
mod host_list;
mod hosts;
mod hot_connections;
mod idempotency;
mod insert;
mod insert_plan;
mod inspect;
mod installation;
mod isolate;
mod last_statements;
mod later_clock;
mod list;
mod metadata;
mod migrate;
mod mysql_url;
mod notes;
mod options;
mod outputs;
mod owner;
mod park;
mod pause;
mod pause_state;
mod personal_data;
mod pools;
mod primary;
mod primary_check;
mod primary_search;
mod probe;
mod read;
mod read_installation;
mod read_path;
mod ready;
mod references;
mod repair;
mod replace_url;
mod replica;
mod replica_read;
mod request_hash;
mod retention;
mod row;
mod row_cache;
mod rows;
mod scan;
mod search;
mod search_pool;
mod session;
mod shards;
mod signals;
mod statement;
mod steady_time;
mod sweeper;
mod tcp_nodelay;
mod tenants;
#[cfg(test)]
mod tests;
mod timeline;
mod tracking;
mod transition;
mod unique_references;
mod unreadable;
mod unserved_kinds;
mod webhooks;
mod workers;
mod write_path;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use telemetry::LogThrottle;

use connection::Pool;

pub use address::check as check_database_url;
pub use api_keys::{ApiKey, KeyActor, KeyChange, MAX_API_KEYS, MAX_KEY_PAGE};
pub use audit::{AuditEntry, MAX_AUDIT_PAGE};
pub use backup::{BackupError, back_up};
pub use connect_error::ConnectError;
pub use counts::{COUNT_LIMIT, Counts};
pub use create_request::{CreateRequest, Idempotency, InsertOutcome, NewOrder, TakenReference};
pub use dialect::Dialect;
pub use due_tenants::{DueTenants, FairClaim, MAX_KINDS};
pub use error::{Error, Outage};
pub use event_log::{EventLogReport, LogEnds, LogLag, LogPage, LogRetention, LoggedEvent, Numbered};
pub use event_readers::{
    EventReader, LeaseOutcome, MAX_EVENT_READERS, ReaderChange, ReaderCommit, ReaderLease,
};
pub use expired_claims::ExpiredClaims;
pub use host_list::{MAX_DATABASE_HOSTS, database_hosts};
pub use insert_plan::{DirectStart, InsertPlan, Inserted};
pub use inspect::{IntegrityIssue, IntegrityReport, IssueKind};
pub use installation::Installation;
pub use isolate::LARGEST_ORDER;
pub use later_clock::ClaimLimits;
pub use list::{DeadLetterGroup, DeadLetterGroups, ExportPage, MAX_GROUPED};
pub use metadata::{MetadataChange, metadata_version};
pub use migrate::{MigrationProgress, Schema};
pub use mysql_url::BadUrl;
pub use notes::NoteOutcome;
pub use options::Options;
pub use outputs::Outputs;
pub use pause_state::Pause;
pub use personal_data::Erasure;
pub use probe::Probe;
pub use read::FoundOrders;
pub use ready::{Claimed, DispatchCursor, ReadyOrder};
pub use repair::{InvalidSetting, Repaired, Setting};
pub use replica::ReplicaState;
pub use request_hash::{bulk_hash, replace_hash, request_hash};
pub use request_hash::{draft_hash, unreadable_hash};
pub use retention::{PRUNE_BATCH, PrunePosition, Pruned, Retention};
pub use scan::{Listed, Scan, ScanStart, Scanned};
pub use search_pool::{SEARCHES, SearchPass};
pub use shards::MAX_SHARDS;
pub use signals::{MAX_SIGNAL_ROWS, SignalRow};
pub use sweeper::SweeperMeasurement;
pub use tenants::{LimitChanges, MAX_TENANTS, Tenant, TenantCreation, TenantState};
pub use timeline::Timelines;
pub use tracking::TrackedTenant;
pub use transition::{CommandOutcome, ReplaceRequest, Replacement};
pub use unique_references::{DuplicateReference, MAX_NAMED_DUPLICATES, ReferenceSwitch};
pub use unreadable::{Cause, Unreadable};
pub use webhooks::{
    DeliveryState, EndpointChange, EndpointSettings, EndpointUpdate, MAX_ATTEMPT_PAGE, MAX_ENDPOINTS,
    MAX_MESSAGE_PAGE, MAX_TENANT_ENDPOINTS, MessageCounts, MessageState, SavedProgress, WebhookAttempt,
    WebhookEndpoint, WebhookHealth, WebhookLease, WebhookMessage, WebhookNotice, WebhookProgress,
    WebhookReplay, WebhookReplayProgress,
};
pub use workers::{MAX_WORKER_ORDERS, MAX_WORKERS, WorkerOrder, WorkerRow};

/// The database. Cloning it is cheap.
///
/// A method that is not declared here is one of the first shard, which has everything that belongs to no order. A database
/// without shards is one shard.
#[derive(Clone)]
pub struct Store {
    shard: Shard,
    /// All shards; `None` if there are none, or if this is a store of one of them.
    shards: Option<Arc<Shards>>,
}

/// The shards of a store, by their ranges. The first one has what belongs to no order.
struct Shards(std::sync::RwLock<Arc<[Shard]>>);

/// One database, or one shard of a database. Its methods are those of [`Store`].
#[derive(Clone)]
pub struct Shard {
    inner: Arc<Inner>,
}

impl std::ops::Deref for Store {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

struct Inner {
    dialect: Dialect,
    readers: Pool,
    lane: search_pool::SearchPool,
    writers: hot_connections::HotConnections,
    /// The connection that numbers the event log; `None` if a writer does.
    numbering: Option<hot_connections::HotConnections>,
    /// Host and port, or the file, for messages.
    address: address::Shown,
    /// The path of the URL of a server.
    database_name: Option<String>,
    options: Options,
    deadline: Duration,
    /// Whether the server takes several statements in one text.
    joins_statements: bool,
    clock: clock::Clock,
    /// Whether the last write did not reach the database.
    unhealthy: AtomicBool,
    /// The tenants that want unique references, as far as they are known.
    reference_rules: references::ReferenceRules,
    /// Rows that transitions need not read.
    row_cache: row_cache::RowCache,
    /// The number of responses of the database.
    answers: AtomicU64,
    /// The number of statements that were sent.
    statements: Arc<AtomicU64>,
    log: LogThrottle,
    primary: Arc<primary::Primary>,
    /// `None` if embedded.
    hosts: Option<Arc<hosts::Hosts>>,
    /// Is read in place of the primary where the result may be older.
    replica: std::sync::Mutex<Option<Arc<replica::Replica>>>,
    /// The task that searches for the primary.
    search: std::sync::Mutex<tokio::task::JoinSet<()>>,
    parking: unreadable::ParkingLog,
    installation: tokio::sync::OnceCell<Installation>,
    pause_seen: pause_state::LastPause,
    steady: clock::SteadyTimeRecord,
    /// Excludes other processes from an SQLite file while the store exists.
    file: Option<files::Claim>,
    /// The shard that this is, if the database has shards, and its name.
    place: Option<shards::Place>,
    shard_name: Option<String>,
    /// The first shard, if this is another one.
    first: Option<Shard>,
    /// All shards, if the database has some.
    siblings: std::sync::OnceLock<std::sync::Weak<Shards>>,
}

/// The future of work on one connection.
type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

impl Shard {
    /// Returns the kind of the database.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// Returns the number of statements sent, without those that open and end transactions.
    pub fn statements(&self) -> u64 {
        self.inner.statements.load(Ordering::Relaxed)
    }

    /// Returns the number of open connections of each pool, and of those that are idle.
    pub fn connections(&self) -> [(&'static str, usize, usize); 4] {
        let named = |name, (open, idle)| (name, open, idle);
        let replica = self.replica().map_or((0, 0), |replica| replica.pool.count());
        [
            named("readers", self.inner.readers.count()),
            named("writers", self.inner.writers.count()),
            named("searches", self.inner.lane.pool.count()),
            named("replica", replica),
        ]
    }

    /// Closes every connection after its present work.
    pub async fn close(&self) {
        self.end_search();
        if let Some(numbering) = &self.inner.numbering {
            numbering.close().await;
        }
        self.inner.writers.close().await;
        self.inner.readers.close().await;
        self.inner.lane.close().await;
        if let Some(replica) = self.replica() {
            replica.pool.close().await;
        }
    }
}
