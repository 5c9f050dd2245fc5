//! The settings, in the groups that the commands are composed of. The comment above each field is its `--help`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use domain::Currency;
use secrecy::SecretString;

use crate::log::LogFormat;
use crate::values::{self, DatabaseUrl, ListenAddr, ServerUrl};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The address of the HTTP server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct HttpArgs {
    /// Address of REST, GraphQL and the page: host:port; port 0 takes a free port
    #[arg(
        long,
        env = "ORDERS_HTTP_ADDR",
        hide_env_values = true,
        value_name = "ADDR",
        default_value = "127.0.0.1:3000"
    )]
    pub(crate) http_addr: ListenAddr,
}

/// The gRPC server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct GrpcArgs {
    /// Address of the gRPC server for processors: host:port; port 0 takes a free port
    #[arg(
        long,
        env = "ORDERS_GRPC_ADDR",
        hide_env_values = true,
        value_name = "ADDR",
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) grpc_addr: ListenAddr,
    /// Accept the reports completed, failed and pending without a lease token: on or off [default: on when
    /// --grpc-addr is a loopback address, otherwise off]
    #[arg(
        long,
        env = "ORDERS_ALLOW_TOKENLESS_REPORTS",
        hide_env_values = true,
        value_name = "SWITCH",
        value_parser = values::switch(),
        num_args = 0..=1,
        default_missing_value = "on"
    )]
    pub(crate) allow_tokenless_reports: Option<bool>,
}

/// The gateways of a processor.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct GatewayUrlArgs {
    /// gRPC address of a gateway; repeat the flag or separate several with commas. The processor uses one of them
    /// and fails over to the next
    #[arg(
        long,
        env = "ORDERS_GATEWAY_URL",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        value_parser = ServerUrl::gateway,
        default_value = "http://127.0.0.1:50051"
    )]
    pub(crate) gateway_url: Vec<ServerUrl>,
}

/// The health server of a processor.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct MetricsArgs {
    /// Address of /livez, /readyz and /metrics of a processor: host:port [default: 127.0.0.1:9090, or a free port
    /// when that port is in use]
    #[arg(long, env = "ORDERS_METRICS_ADDR", hide_env_values = true, value_name = "ADDR")]
    pub(crate) metrics_addr: Option<ListenAddr>,
}

/// The default folder of the SQLite file.
pub(crate) const DEFAULT_DATA_DIR: &str = "./data";

/// The database.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct DatabaseArgs {
    /// mysql://user:password@host:3306/database (MySQL 8, MariaDB 10.11 or newer) or sqlite:path/of/file.db
    /// [default: the SQLite file orders.db in the data folder]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database_url: Option<DatabaseUrl>,
    /// Folder of the SQLite file, created if it does not exist; ignored with --database-url
    #[arg(
        long,
        env = "ORDERS_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER",
        default_value = DEFAULT_DATA_DIR
    )]
    pub(crate) data_dir: PathBuf,
}

/// Whether a gateway migrates the database at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MigrateMode {
    /// Migrates when the schema is missing or older than the program.
    Auto,
    /// Never migrates; an older schema is an error.
    Off,
    /// Never migrates; waits until another process has migrated.
    Wait,
}

/// How a gateway uses the database.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StoreArgs {
    /// Action at start when the schema is missing or older than the program: auto migrates, off refuses to start,
    /// wait waits for `orders migrate`
    #[arg(long, env = "ORDERS_MIGRATE", hide_env_values = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) migrate: MigrateMode,
    /// Connections in each of the two MySQL pools, one for reads and one for writes; searches use two more: 1 to
    /// 1000
    #[arg(
        long,
        env = "ORDERS_DATABASE_POOL_SIZE",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<u32>(1..=1_000),
        default_value = "8"
    )]
    pub(crate) database_pool_size: u32,
}

/// Redis.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct RedisArgs {
    /// redis://host:6379 or rediss://… (Redis 7 or newer, Valkey). Transports the queue and the events between
    /// processes; required unless one process runs everything [default: in memory]
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL", value_parser = ServerUrl::redis)]
    pub(crate) redis_url: Option<ServerUrl>,
    /// Prefix of every key in Redis; the queue is the list PREFIX:queue
    #[arg(
        long,
        env = "ORDERS_REDIS_PREFIX",
        hide_env_values = true,
        value_name = "PREFIX",
        value_parser = values::key_prefix,
        default_value = broker::redis::DEFAULT_PREFIX
    )]
    pub(crate) redis_prefix: String,
}

/// How gateways authenticate each other's messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct BusArgs {
    /// File with a secret of at least 16 bytes, the same for all gateways, that signs the messages between them
    /// over Redis [default: a secret in the database]
    #[arg(long, env = "ORDERS_BUS_SECRET_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) bus_secret_file: Option<PathBuf>,
}

/// How a gateway treats orders.
#[derive(Debug, Args)]
#[command(next_help_heading = "Orders")]
pub(crate) struct RuleArgs {
    /// ISO 4217 currency of orders without a currency
    #[arg(
        long,
        env = "ORDERS_DEFAULT_CURRENCY",
        hide_env_values = true,
        value_name = "CODE",
        value_parser = values::currency,
        default_value = "USD"
    )]
    pub(crate) default_currency: Currency,
    /// Lease duration of an attempt; without a heartbeat for this time the order is reassigned: 1s to 1h
    #[arg(
        long,
        env = "ORDERS_LEASE",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(SECOND, HOUR),
        default_value = "30s"
    )]
    pub(crate) lease: Duration,
    /// Time after which a queued order that no worker has started is queued again: 1s to 1h
    #[arg(
        long,
        env = "ORDERS_VISIBILITY_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(SECOND, HOUR),
        default_value = "10s"
    )]
    pub(crate) visibility_timeout: Duration,
    /// Maximum number of orders in the queue; further orders wait in the database: 1 to 100000
    #[arg(
        long,
        env = "ORDERS_MAX_QUEUE_DEPTH",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<u32>(1..=100_000),
        default_value = "1000"
    )]
    pub(crate) max_queue_depth: u32,
    /// Lifetime of an idempotency key: 1m to 30d
    #[arg(
        long,
        env = "ORDERS_IDEMPOTENCY_TTL",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(MINUTE, DAY * 30),
        default_value = "1d"
    )]
    pub(crate) idempotency_ttl: Duration,
    /// Retention of completed and cancelled orders, counted from their last change; their events and idempotency
    /// keys are removed with them. 0 keeps them forever: 0 to 36500d
    #[arg(
        long,
        env = "ORDERS_RETAIN_COMPLETED",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY * 36_500),
        default_value = "0"
    )]
    pub(crate) retain_completed: Duration,
    /// Retention of failed orders; a removed order cannot be redriven. 0 keeps them forever: 0 to 36500d
    #[arg(
        long,
        env = "ORDERS_RETAIN_FAILED",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY * 36_500),
        default_value = "0"
    )]
    pub(crate) retain_failed: Duration,
}

/// What a processor does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Handler {
    /// Waits a random time and completes the order; for demonstrations.
    Simulate,
    /// Posts the order as JSON to a URL.
    Webhook,
}

/// How a processor works.
#[derive(Debug, Args)]
#[command(next_help_heading = "Work")]
pub(crate) struct WorkArgs {
    /// Maximum number of handlers that run concurrently in this processor: 1 to 10000
    #[arg(
        long,
        env = "ORDERS_CONCURRENCY",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=10_000),
        default_value = "64"
    )]
    pub(crate) concurrency: usize,
    /// Name of this worker in logs and metrics [default: host name and process id]
    #[arg(long, env = "ORDERS_WORKER_ID", hide_env_values = true, value_name = "NAME", value_parser = values::worker_id)]
    pub(crate) worker_id: Option<String>,
    /// Timeout of an attempt; an attempt that exceeds it is cancelled and counts as failed: 100ms to 1d
    #[arg(
        long,
        env = "ORDERS_ATTEMPT_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(MS * 100, DAY),
        default_value = "5m"
    )]
    pub(crate) attempt_timeout: Duration,
    /// Handler that processes the orders
    #[arg(
        long,
        env = "ORDERS_HANDLER",
        hide_env_values = true,
        value_name = "HANDLER",
        default_value = "simulate"
    )]
    pub(crate) handler: Handler,
    /// simulate: minimum processing time; a minimum and maximum of 0 complete orders at once: 0 to 1h
    #[arg(
        long,
        env = "ORDERS_SIMULATE_MIN_DELAY",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, HOUR),
        default_value = "500ms"
    )]
    pub(crate) simulate_min_delay: Duration,
    /// simulate: maximum processing time: 0 to 1h
    #[arg(
        long,
        env = "ORDERS_SIMULATE_MAX_DELAY",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, HOUR),
        default_value = "2s"
    )]
    pub(crate) simulate_max_delay: Duration,
    /// simulate: share of the attempts that fail and are retried: 0 to 1
    #[arg(
        long,
        env = "ORDERS_SIMULATE_FAILURE_RATE",
        hide_env_values = true,
        value_name = "SHARE",
        value_parser = values::share,
        default_value = "0"
    )]
    pub(crate) simulate_failure_rate: f64,
    /// webhook: URL that receives the orders; required with --handler webhook
    #[arg(long, env = "ORDERS_WEBHOOK_URL", hide_env_values = true, value_name = "URL", value_parser = ServerUrl::http)]
    pub(crate) webhook_url: Option<ServerUrl>,
    /// webhook: key that signs the requests; without it they are not signed. Prefer the variable: other users of
    /// the machine can read flags
    #[arg(long, env = "ORDERS_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET", value_parser = values::secret)]
    pub(crate) webhook_secret: Option<SecretString>,
    /// webhook: timeout of a request: 100ms to 1h
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(MS * 100, HOUR),
        default_value = "30s"
    )]
    pub(crate) webhook_timeout: Duration,
    /// webhook: maximum `Retry-After` of the endpoint; a longer one is shortened to it: 0 to 7d
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_MAX_RETRY_AFTER",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY * 7),
        default_value = "1d"
    )]
    pub(crate) webhook_max_retry_after: Duration,
    /// webhook: include the response body of the endpoint in the reason of a failed order, which every client can
    /// read: on or off. The log contains it in both cases
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_SHOW_RESPONSES",
        hide_env_values = true,
        value_name = "SWITCH",
        value_parser = values::switch(),
        action = ArgAction::Set,
        default_value = "off"
    )]
    pub(crate) webhook_show_responses: bool,
}

/// How the process logs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct LogArgs {
    /// Format of the log on stderr
    #[arg(
        long,
        env = "ORDERS_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// How a gateway shuts down.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct LeaveArgs {
    /// Time after SIGTERM in which the gateway still serves requests while /readyz reports 503, so that load
    /// balancers stop sending traffic: 0 to 1h
    #[arg(
        long,
        env = "ORDERS_SHUTDOWN_DELAY",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, HOUR),
        default_value = "0"
    )]
    pub(crate) shutdown_delay: Duration,
}

/// How the process behaves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessArgs {
    /// Time for running work and open connections to finish at shutdown (SIGTERM, Ctrl-C): 0 to 1h
    #[arg(
        long,
        env = "ORDERS_SHUTDOWN_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, HOUR),
        default_value = "10s"
    )]
    pub(crate) shutdown_timeout: Duration,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
