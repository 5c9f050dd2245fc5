//! The command line: what can be asked for and which settings each command takes.
//!
//! Every setting is a flag and an environment variable; the flag wins, an empty variable counts as
//! unset. The settings themselves are in `groups`; `crate::settings` turns them into the
//! configurations of the gateway and the processor.

mod groups;
mod limits;
mod operate;
mod parse;
mod renamed;
mod report;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::OrderId;
use gateway::store::Setting;

use crate::values::{self, ServerUrl};

pub(crate) use groups::{
    BusArgs, DEFAULT_DATA_DIR, DatabaseArgs, GatewayUrlArgs, GrpcArgs, Handler, HttpArgs, LeaveArgs, LogArgs,
    MetricsArgs, MigrateMode, ProcessArgs, RedisArgs, RuleArgs, StoreArgs, WorkArgs,
};
pub(crate) use limits::{LimitArgs, Switch};
pub(crate) use operate::{
    ApiArgs, DeadLettersCommand, ListArgs, PauseArgs, QueueCommand, RedriveArgs, RequesterArgs,
};
pub(crate) use parse::{Parsed, parse, setting_name};

/// Accepts orders over REST and GraphQL, processes them and shows their status live.
#[derive(Debug, Parser)]
#[command(
    name = "orders",
    version,
    subcommand_required = true,
    override_usage = "orders [COMMAND] [SETTINGS]",
    after_help = "\
Without a command, `orders` runs `orders dev`.

Examples:
  orders                                   everything in one process, data in ./data
  orders --http-addr 127.0.0.1:8080        the same on another port
  DATABASE_URL=mysql://user:password@db/orders REDIS_URL=redis://cache orders gateway
  REDIS_URL=redis://cache orders processor --gateway-url http://gateway:50051
  orders config gateway                    which settings a gateway would run with, and why
  orders queue pause --until 2030-01-31T12:00:00Z
  orders dead-letters redrive --error-class http_503 --rate 50/s --dry-run

`orders <COMMAND> --help` lists the settings of a command. RUST_LOG chooses what is logged."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process; needs no other server (default)
    Dev(DevArgs),
    /// Run a gateway: REST, GraphQL, the page, and gRPC for processors
    Gateway(GatewayArgs),
    /// Run a processor: takes orders from the queue and works on them
    Processor(ProcessorArgs),
    /// Create or update the tables of the database, then end
    Migrate(MigrateArgs),
    /// Copy the SQLite database into a file, also while a program uses it
    Backup(BackupArgs),
    /// Look whether every order in the database is as it must be, then end
    Doctor(DoctorArgs),
    /// Repair one order whose stored row cannot be used, or mark it as failed; `orders doctor` lists such orders.
    /// An SQLite file belongs to one process: stop `orders dev` first
    Repair(RepairArgs),
    /// Pause and resume processing: orders are accepted meanwhile, and none is started
    #[command(subcommand)]
    Queue(QueueCommand),
    /// List failed orders and redrive them
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Print the GraphQL schema
    Schema,
    /// Print the OpenAPI document of the REST interface as JSON
    Openapi,
    /// Ask a running gateway or processor whether it is ready; for health checks of containers
    Health(HealthArgs),
    /// Print the settings that a command would run with, where each comes from, passwords masked
    Config(ConfigArgs),
}

/// The settings of `orders dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) grpc: GrpcArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    pub(crate) leave: LeaveArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// The settings of `orders gateway`.
#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) grpc: GrpcArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) leave: LeaveArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// The settings of `orders processor`.
#[derive(Debug, Args)]
pub(crate) struct ProcessorArgs {
    #[command(flatten)]
    pub(crate) gateways: GatewayUrlArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// The settings of `orders migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The settings of `orders backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write; it must not exist
    #[arg(value_name = "FILE")]
    pub(crate) file: std::path::PathBuf,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The settings of `orders doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended without deciding anything about an order
    #[arg(long)]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The settings of `orders repair`.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// The order
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id)]
    pub(crate) id: OrderId,
    /// Give a column this value, such as currency=EUR; repeat the flag for several columns. An empty value is NULL
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = values::setting)]
    pub(crate) set: Vec<Setting>,
    /// Mark the order as failed instead of letting it be processed
    #[arg(long)]
    pub(crate) fail: bool,
    /// Why; it is kept with the order that is marked as failed
    #[arg(long, value_name = "TEXT", requires = "fail")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The settings of `orders health`.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Ask this URL instead of the one that follows from the role and its address
    #[arg(value_name = "URL", value_parser = ServerUrl::http)]
    pub(crate) url: Option<ServerUrl>,
    /// Who to ask: a gateway at --http-addr, or a processor at --metrics-addr
    #[arg(long, value_name = "ROLE", default_value = "gateway")]
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    /// With --role processor: the worker that must answer; another one's answer is an error
    #[arg(long, env = "ORDERS_WORKER_ID", hide_env_values = true, value_name = "NAME", value_parser = crate::values::worker_id)]
    pub(crate) worker_id: Option<String>,
}

/// Who can be asked for its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// `orders gateway` or `orders dev`.
    Gateway,
    /// `orders processor`.
    Processor,
}

/// The settings of `orders config`: those of all commands.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Whose settings to print
    #[arg(value_name = "COMMAND", default_value = "dev")]
    pub(crate) of: Configured,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    grpc: GrpcArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    gateways: GatewayUrlArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    leave: LeaveArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// The commands that have a configuration worth printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Configured {
    /// `orders dev`.
    Dev,
    /// `orders gateway`.
    Gateway,
    /// `orders processor`.
    Processor,
    /// `orders migrate`.
    Migrate,
}

impl Configured {
    /// The command's name on the command line.
    pub(crate) fn command_name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Gateway => "gateway",
            Self::Processor => "processor",
            Self::Migrate => "migrate",
        }
    }
}
