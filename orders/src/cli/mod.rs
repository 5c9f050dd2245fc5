//! The command line: the commands and the settings of each.
//!
//! Every setting is a flag, an environment variable and a key of the file of settings (`config_file`), in this order of
//! precedence, and an empty variable counts as unset. The groups in `settings` contain the settings and apply them to the configurations of the gateway and the processor.

mod access;
mod config_file;
mod context;
mod flag_secrets;
mod operator;
mod orders;
mod output;
mod parse;
#[cfg(test)]
mod reference;
mod renamed;
mod render_error;
mod settings;
mod signals;
mod tools;
mod webhooks;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::OrderId;
use gateway::store::Setting;

use crate::output::ColorChoice;
use crate::values::{self, ContextName, ServerUrl};

pub(crate) use access::{
    AuditArgs, CreateKeyArgs, CreateTenantArgs, CustomerArgs, CustomerCommand, KeysCommand, ListKeysArgs,
    OutputArgs, RevokeKeyArgs, RotateKeyArgs, TenantArgs, TenantsCommand, UpdateTenantArgs,
};
pub(crate) use config_file::FileSettings;
pub(crate) use context::{ContextCommand, SetContextArgs};
pub(crate) use flag_secrets::{SecretInFlag, redact_value, secrets_in_flags};
pub(crate) use operator::{
    AddressArgs, ApiArgs, DeadLettersCommand, GroupsArgs, ListArgs, PauseArgs, QueueCommand, RedriveArgs,
    RequesterArgs,
};
pub(crate) use orders::{
    CancelOrdersArgs, CreateOrderArgs, DetailArgs, GetOrdersArgs, ImportArgs, ListOrdersArgs, MetadataArgs,
    NotesArgs, ReplaceOrderArgs, WatchArgs,
};
pub(crate) use output::FormatArgs;
pub(crate) use parse::{Parsed, parse};
pub(crate) use settings::{
    AccessArgs, CaArgs, DEFAULT_DATA_DIR, DEFAULT_METRICS_ADDR, DatabaseArgs, EmailArgs, GatewaySettings,
    GatewayTlsArgs, GatewayUrlArgs, HttpArgs, HttpTlsArgs, JobArgs, JobSource, LogArgs, MetricsArgs,
    MigrateMode, ProcessArgs, RedisArgs, ShutdownDelayArgs, StoreArgs, Switch, TOKEN_VARIABLE, TokenArgs,
    WorkArgs, read_token_file, sqlite_file,
};
pub(crate) use signals::{StatsArgs, SystemArgs, TopArgs, WorkersArgs};
pub(crate) use tools::{CompletionsArgs, DemoArgs, ManArgs, VersionArgs};
pub(crate) use webhooks::{
    AttemptsArgs, CreateWebhookArgs, EndpointArgs, MessagesArgs, RecoverArgs, ResendArgs, RotateWebhookArgs,
    UpdateWebhookArgs, WebhookArgs, WebhookListArgs, WebhooksCommand,
};

/// Order processing system with REST, GraphQL and gRPC APIs and live order status.
#[derive(Debug, Parser)]
#[command(
    name = "orders",
    version,
    subcommand_required = true,
    override_usage = "orders [COMMAND] [SETTINGS]",
    after_help = "\
Without a command, `orders` runs `orders dev`.

Examples:
  orders                                   run everything in one process, data in ./data
  orders --http-addr 127.0.0.1:8080        use another port
  DATABASE_URL=mysql://user:password@db/orders REDIS_URL=redis://cache orders gateway
  REDIS_URL=redis://cache orders processor --gateway-url http://gateway:50051
  orders config gateway                    print the settings of a gateway and their sources
  orders list --status failed --since 2h
  orders create --item Laptop --quantity 2 --price 1299.99
  orders queue pause --for 15m
  orders context set shop --url https://orders.example.com --token-stdin < shop.key
  orders dead-letters redrive --error-class http_503 --rate 50/s --dry-run

Durations are written as 250ms, 30s, 10m, 1h30m or 7d, sizes as 256KiB, 8MiB or 1GiB.
--config orders.toml reads settings from a file, with a line such as: concurrency = 16
`orders <COMMAND> --help` lists the settings of a command. RUST_LOG sets the log filter."
)]
pub(crate) struct Cli {
    /// Colours of the output and of the log: auto, always or never; auto is on for a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub(crate) color: ColorChoice,
    /// File with settings (TOML), which flags and variables precede [default: none]
    #[arg(long, global = true, env = "ORDERS_CONFIG_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<std::path::PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a gateway and a processor in one process, without other servers (default)
    Dev(DevArgs),
    /// Run a gateway: serves REST, GraphQL, the page, and gRPC for processors
    Gateway(GatewayArgs),
    /// Run a processor: processes the orders that the gateways assign to it
    Processor(ProcessorArgs),
    /// Send e-mail for the events of orders over SMTP
    Email(EmailRoleArgs),
    /// Create or update the database schema, then exit
    Migrate(MigrateArgs),
    /// Copy the SQLite database to a file, even while it is in use
    Backup(BackupArgs),
    /// Check the integrity of every order in the database, then exit
    Doctor(DoctorArgs),
    /// Repair the row of an unreadable order, or mark the order as failed; `orders doctor` lists such orders. Only one
    /// process can open an SQLite file: stop `orders dev` first
    Repair(RepairArgs),
    /// List orders, newest first
    #[command(visible_alias = "ls")]
    List(ListOrdersArgs),
    /// Print orders, with their events on request
    Get(GetOrdersArgs),
    /// Create an order, or those of a file
    Create(CreateOrderArgs),
    /// Replace an order that no worker has started by another one
    Replace(ReplaceOrderArgs),
    /// Cancel orders by their ids, or all that match filters
    Cancel(CancelOrdersArgs),
    /// Set and remove keys of the metadata of an order, or print it
    Metadata(MetadataArgs),
    /// Add a note to an order, or print its notes
    Notes(NotesArgs),
    /// Print events as they happen: those of one order until it is final, or those of all orders
    Watch(WatchArgs),
    /// Print how many orders were accepted, completed and failed, and how long they took
    Stats(StatsArgs),
    /// List the workers of the last hour, or print one of them with its orders
    Workers(WorkersArgs),
    /// Print the running gateways, the servers that they use, and the settings of the gateway
    System(SystemArgs),
    /// Show rates, depth, workers and error classes on one screen, redrawn each second until Ctrl-C
    Top(TopArgs),
    /// Pause and resume processing; a paused queue accepts orders but starts none
    #[command(subcommand)]
    Queue(QueueCommand),
    /// List failed orders and redrive them
    #[command(subcommand, visible_alias = "dlq")]
    DeadLetters(DeadLettersCommand),
    /// Manage webhook endpoints, which receive the events as signed requests
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// Create, list, rotate and revoke API keys, directly in the database
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Manage tenants, directly in the database
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Print the audit log, newest entry first, directly from the database
    Audit(AuditArgs),
    /// Export or erase the personal data of a customer, directly in the database
    #[command(subcommand)]
    Customer(CustomerCommand),
    /// Store names for gateways and the keys for them, for all commands that send requests to a gateway
    #[command(subcommand)]
    Context(ContextCommand),
    /// Fill a gateway with the orders of a shop, to try it
    Demo(DemoArgs),
    /// Print the script that completes the command line in a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
    /// Print the version
    Version(VersionArgs),
    /// Print the GraphQL schema
    Schema,
    /// Print the OpenAPI document of the REST API as JSON
    Openapi,
    /// Check the readiness of a running gateway or processor; for container health checks
    Health(HealthArgs),
    /// Print the effective settings of a command and their sources, with passwords masked
    Config(ConfigArgs),
}

/// The settings of `orders dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) gateway: GatewaySettings,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    pub(crate) email: EmailArgs,
    #[command(flatten)]
    pub(crate) shutdown_delay: ShutdownDelayArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// The settings of `orders gateway`.
#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    pub(crate) gateway: GatewaySettings,
    #[command(flatten)]
    pub(crate) shutdown_delay: ShutdownDelayArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// The settings of `orders processor`.
#[derive(Debug, Args)]
pub(crate) struct ProcessorArgs {
    #[command(flatten)]
    pub(crate) gateways: GatewayUrlArgs,
    #[command(flatten)]
    pub(crate) gateway_tls: GatewayTlsArgs,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) jobs: JobArgs,
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// The settings of `orders email`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct EmailRoleArgs {
    #[command(subcommand)]
    pub(crate) command: Option<EmailCommand>,
    #[command(flatten)]
    pub(crate) gateways: GatewayUrlArgs,
    #[command(flatten)]
    pub(crate) gateway_tls: GatewayTlsArgs,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) email: EmailArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// The commands of e-mail.
#[derive(Debug, Subcommand)]
pub(crate) enum EmailCommand {
    /// Write the built-in templates into a folder, to change them for --email-templates
    Templates {
        /// Folder, which is created; its files are not replaced
        #[arg(value_name = "FOLDER")]
        folder: std::path::PathBuf,
    },
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
    /// Destination file, which must not exist
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
    /// Fix the issues that have exactly one fix
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
    /// Id of the order
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id)]
    pub(crate) id: OrderId,
    /// New value of a column, such as currency=EUR; repeat the flag for several columns. An empty value is NULL
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = values::setting)]
    pub(crate) set: Vec<Setting>,
    /// Mark the order as failed instead of returning it to processing
    #[arg(long)]
    pub(crate) fail: bool,
    /// Reason, stored with the failed order
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
    /// URL of the health endpoint [default: /readyz at the address of the role]
    #[arg(value_name = "URL", value_parser = ServerUrl::http)]
    pub(crate) url: Option<ServerUrl>,
    /// Context of `orders context` whose gateway to check, in place of a process on this machine
    #[arg(long, value_name = "NAME", value_parser = str::parse::<ContextName>, conflicts_with_all = ["url", "role"])]
    pub(crate) context: Option<ContextName>,
    /// Process to check: a gateway at --http-addr, or a processor or e-mail at --metrics-addr
    #[arg(long, value_name = "ROLE", default_value = "gateway")]
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) http_tls: HttpTlsArgs,
    #[command(flatten)]
    pub(crate) ca: CaArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    /// With --role processor: expected worker name; a response of another worker is an error. Needed, or
    /// --metrics-addr, when several processors run on the machine
    #[arg(long, env = "ORDERS_WORKER_ID", hide_env_values = true, value_name = "NAME", value_parser = crate::values::worker_id)]
    pub(crate) worker_id: Option<String>,
}

/// Processes with a health endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// A gateway, or `orders dev`.
    Gateway,
    /// A processor.
    Processor,
    /// `orders email`.
    Email,
}

/// The settings of `orders config`: those of all commands.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Command whose settings to print
    #[arg(value_name = "COMMAND", default_value = "dev")]
    pub(crate) of: Configured,
    #[command(flatten)]
    gateway: GatewaySettings,
    #[command(flatten)]
    gateways: GatewayUrlArgs,
    #[command(flatten)]
    gateway_tls: GatewayTlsArgs,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    jobs: JobArgs,
    #[command(flatten)]
    pub(crate) address: Box<AddressArgs>,
    #[command(flatten)]
    ca: CaArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    email: EmailArgs,
    #[command(flatten)]
    shutdown_delay: ShutdownDelayArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// The commands whose settings can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Configured {
    /// `orders dev`.
    Dev,
    /// `orders gateway`.
    Gateway,
    /// `orders processor`.
    Processor,
    /// `orders email`.
    Email,
    /// `orders migrate`.
    Migrate,
    /// The commands that send requests to a gateway, such as `orders list`.
    Client,
}

impl Configured {
    /// The name of the command, or of one of the commands, on the command line.
    pub(crate) fn command_name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Gateway => "gateway",
            Self::Processor => "processor",
            Self::Email => "email",
            Self::Migrate => "migrate",
            // All of them have the same settings.
            Self::Client => "list",
        }
    }
}
