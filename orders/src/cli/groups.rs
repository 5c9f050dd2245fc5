//! The settings, in the groups that the commands are put together from. The text above each field is
//! what `--help` says.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use domain::Currency;

use super::Switch;
use crate::log::LogFormat;
use crate::values::{self, DatabaseUrl, ListenAddr, Secret, ServerUrl};

/// Where HTTP is served.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct HttpArgs {
    /// Where REST, GraphQL and the page are served: host:port, port 0 for any free one
    #[arg(
        long,
        env = "ORDERS_HTTP_ADDR",
        hide_env_values = true,
        value_name = "ADDR",
        default_value = "127.0.0.1:3000"
    )]
    pub(crate) http_addr: ListenAddr,
}

/// Where gRPC is served.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct GrpcArgs {
    /// Where processors connect over gRPC: host:port, port 0 for any free one
    #[arg(
        long,
        env = "ORDERS_GRPC_ADDR",
        hide_env_values = true,
        value_name = "ADDR",
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) grpc_addr: ListenAddr,
    /// Whether workers may report completed, failed and pending without the lease token of their attempt:
    /// on or off [default: on when --grpc-addr is a loopback address, otherwise off]
    #[arg(
        long,
        env = "ORDERS_ALLOW_TOKENLESS_REPORTS",
        hide_env_values = true,
        value_name = "SWITCH",
        num_args = 0..=1,
        default_missing_value = "on"
    )]
    pub(crate) allow_tokenless_reports: Option<Switch>,
}

/// Where a processor finds its gateways.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct GatewayUrlArgs {
    /// gRPC address of a gateway; several by repeating the flag or separated by commas. The
    /// processor uses one of them and goes on to the next when it is gone
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

/// Where a processor shows its health.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct MetricsArgs {
    /// Where a processor serves /livez, /readyz and /metrics: host:port [default: 127.0.0.1:9090,
    /// or any free port when that one is taken]
    #[arg(long, env = "ORDERS_METRICS_ADDR", hide_env_values = true, value_name = "ADDR")]
    pub(crate) metrics_addr: Option<ListenAddr>,
}

/// The folder of the SQLite file unless another one is given.
pub(crate) const DEFAULT_DATA_DIR: &str = "./data";

/// Where orders are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct DatabaseArgs {
    /// mysql://user:password@host:3306/database (MySQL 8, MariaDB 10.11 or newer) or
    /// sqlite:path/of/file.db [default: the SQLite file orders.db in the data folder]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database_url: Option<DatabaseUrl>,
    /// Folder of the SQLite file, created when it is not there; unused with DATABASE_URL
    #[arg(
        long,
        env = "ORDERS_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER",
        default_value = DEFAULT_DATA_DIR
    )]
    pub(crate) data_dir: PathBuf,
}

/// When a gateway changes the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MigrateMode {
    /// When they are missing or older than the program.
    Auto,
    /// Never: older tables are an error.
    Off,
    /// Never: it waits until another process has changed them.
    Wait,
}

/// How a gateway uses the database.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StoreArgs {
    /// What happens when the tables are missing or older than the program: auto creates or updates them, off refuses
    /// to start, wait waits until `orders migrate` has run
    #[arg(long, env = "ORDERS_MIGRATE", hide_env_values = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) migrate: MigrateMode,
    /// Connections to MySQL for reading, and as many again for writing; searches have two more: 1 to 1000
    #[arg(
        long,
        env = "ORDERS_DATABASE_CONNECTIONS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<u32>(1, 1_000),
        default_value = "8"
    )]
    pub(crate) database_connections: u32,
}

/// What connects gateways and processors besides gRPC.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct RedisArgs {
    /// redis://host:6379 or rediss://… (Redis 7 or newer, Valkey). Carries the queue and the events
    /// between processes; needed unless everything is one process [default: in memory]
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL", value_parser = ServerUrl::redis)]
    pub(crate) redis_url: Option<ServerUrl>,
    /// Start of every key in Redis; the queue is the list PREFIX:queue
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

/// How gateways know each other's messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct BusArgs {
    /// File of a secret of at least 16 bytes, the same for all gateways, with which they sign what they tell each
    /// other over Redis [default: a secret that they keep in the database]
    #[arg(long, env = "ORDERS_BUS_SECRET_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) bus_secret_file: Option<PathBuf>,
}

/// How a gateway treats orders.
#[derive(Debug, Args)]
#[command(next_help_heading = "Orders")]
pub(crate) struct RuleArgs {
    /// ISO 4217 currency of orders that name none
    #[arg(
        long,
        env = "ORDERS_DEFAULT_CURRENCY",
        hide_env_values = true,
        value_name = "CODE",
        value_parser = values::currency,
        default_value = "USD"
    )]
    pub(crate) default_currency: Currency,
    /// An attempt belongs to its worker for so many milliseconds after each sign of life; then the
    /// order is given to another one: 1000 to 3600000
    #[arg(
        long,
        env = "ORDERS_LEASE_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(1_000, 3_600_000),
        default_value = "30000"
    )]
    pub(crate) lease_ms: u64,
    /// A queued order that no worker has started is queued again after so many milliseconds:
    /// 1000 to 3600000
    #[arg(
        long,
        env = "ORDERS_REDELIVERY_GUARD_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(1_000, 3_600_000),
        default_value = "10000"
    )]
    pub(crate) redelivery_guard_ms: u64,
    /// Most orders in the queue at once; the rest waits in the database: 1 to 100000
    #[arg(
        long,
        env = "ORDERS_QUEUE_WINDOW",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<u32>(1, 100_000),
        default_value = "1000"
    )]
    pub(crate) queue_window: u32,
    /// How long an idempotency key is remembered: 60 to 2592000 seconds
    #[arg(
        long,
        env = "ORDERS_IDEMPOTENCY_TTL_S",
        hide_env_values = true,
        value_name = "SECONDS",
        value_parser = values::number::<u64>(60, 2_592_000),
        default_value = "86400"
    )]
    pub(crate) idempotency_ttl_s: u64,
    /// Completed and cancelled orders are removed so many days after their last change, with their
    /// events and idempotency keys; 0 keeps them for ever: 0 to 36500
    #[arg(
        long,
        env = "ORDERS_RETAIN_FINAL_DAYS",
        hide_env_values = true,
        value_name = "DAYS",
        value_parser = values::number::<u64>(0, 36_500),
        default_value = "0"
    )]
    pub(crate) retain_final_days: u64,
    /// The same for failed orders, which can no longer be redriven then: 0 to 36500
    #[arg(
        long,
        env = "ORDERS_RETAIN_FAILED_DAYS",
        hide_env_values = true,
        value_name = "DAYS",
        value_parser = values::number::<u64>(0, 36_500),
        default_value = "0"
    )]
    pub(crate) retain_failed_days: u64,
}

/// What a processor does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Handler {
    /// Waits a random time and completes the order; for trying things out.
    Simulate,
    /// Posts the order as JSON to a URL of yours.
    Webhook,
}

/// How a processor works.
#[derive(Debug, Args)]
#[command(next_help_heading = "Work")]
pub(crate) struct WorkArgs {
    /// Handlers that this processor runs at the same time: 1 to 10000
    #[arg(
        long,
        env = "ORDERS_CONCURRENCY",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1, 10_000),
        default_value = "64"
    )]
    pub(crate) concurrency: usize,
    /// Name of this worker in logs and metrics [default: host name and process id]
    #[arg(long, env = "ORDERS_WORKER_ID", hide_env_values = true, value_name = "NAME", value_parser = values::worker_id)]
    pub(crate) worker_id: Option<String>,
    /// An attempt that takes longer than so many milliseconds is given up and counts as failed:
    /// 100 to 86400000
    #[arg(
        long,
        env = "ORDERS_ATTEMPT_TIMEOUT_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(100, 86_400_000),
        default_value = "300000"
    )]
    pub(crate) attempt_timeout_ms: u64,
    /// What is done with an order
    #[arg(
        long,
        env = "ORDERS_HANDLER",
        hide_env_values = true,
        value_name = "HANDLER",
        default_value = "simulate"
    )]
    pub(crate) handler: Handler,
    /// simulate: shortest wait in milliseconds; 0 and 0 means none: 0 to 3600000
    #[arg(
        long,
        env = "ORDERS_SIMULATE_MIN_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(0, 3_600_000),
        default_value = "500"
    )]
    pub(crate) simulate_min_ms: u64,
    /// simulate: longest wait in milliseconds: 0 to 3600000
    #[arg(
        long,
        env = "ORDERS_SIMULATE_MAX_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(0, 3_600_000),
        default_value = "2000"
    )]
    pub(crate) simulate_max_ms: u64,
    /// simulate: share of the attempts that fail and are repeated: 0 to 1
    #[arg(
        long,
        env = "ORDERS_SIMULATE_FAILURE_RATE",
        hide_env_values = true,
        value_name = "SHARE",
        value_parser = values::share,
        default_value = "0"
    )]
    pub(crate) simulate_failure_rate: f64,
    /// webhook: where orders are posted to; required with --handler webhook
    #[arg(long, env = "ORDERS_WEBHOOK_URL", hide_env_values = true, value_name = "URL", value_parser = ServerUrl::http)]
    pub(crate) webhook_url: Option<ServerUrl>,
    /// webhook: key of the signature in each request, without which requests are not signed. Prefer
    /// the variable: flags can be read by other users of the machine
    #[arg(long, env = "ORDERS_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub(crate) webhook_secret: Option<Secret>,
    /// webhook: longest wait for an answer, in milliseconds: 100 to 3600000
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_TIMEOUT_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(100, 3_600_000),
        default_value = "30000"
    )]
    pub(crate) webhook_timeout_ms: u64,
    /// webhook: longest `Retry-After` of the endpoint that is obeyed, in seconds; longer ones are cut to it: 0 to 604800
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_MAX_RETRY_AFTER_S",
        hide_env_values = true,
        value_name = "S",
        value_parser = values::number::<u64>(0, 604_800),
        default_value = "86400"
    )]
    pub(crate) webhook_max_retry_after_s: u64,
    /// webhook: whether the reason of a failed order has the text of the endpoint's response, which every client can
    /// read then; it is logged either way
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_SHOW_RESPONSES",
        hide_env_values = true,
        value_name = "SWITCH",
        default_value = "off"
    )]
    pub(crate) webhook_show_responses: Switch,
}

/// How the process logs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct LogArgs {
    /// How log lines look; they go to stderr
    #[arg(
        long,
        env = "ORDERS_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// How a gateway leaves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct LeaveArgs {
    /// After SIGTERM a gateway serves on for so many milliseconds, while /readyz says that it is going away, so that
    /// load balancers stop sending requests first; then it drains: 0 to 3600000
    #[arg(
        long,
        env = "ORDERS_SHUTDOWN_DELAY_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(0, 3_600_000),
        default_value = "0"
    )]
    pub(crate) shutdown_delay_ms: u64,
}

/// How the process behaves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessArgs {
    /// At the end (SIGTERM, Ctrl-C), work and connections get so many milliseconds to finish:
    /// 0 to 3600000
    #[arg(
        long,
        env = "ORDERS_DRAIN_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(0, 3_600_000),
        default_value = "10000"
    )]
    pub(crate) drain_ms: u64,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
