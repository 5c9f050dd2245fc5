//! The commands for orders, which send requests to a running gateway.

use std::path::PathBuf;

use clap::Args;
use domain::query::Sort;
use domain::{Currency, Kind, OrderCode, OrderId, Priority, Status};

use super::operator::{ApiArgs, FilterArgs, RequesterArgs};
use super::output::FormatArgs;
use crate::values::{self, Until};

/// The settings of `orders list`.
#[derive(Debug, Args)]
pub(crate) struct ListOrdersArgs {
    /// Statuses, separated by commas: pending, processing, completed, failed, cancelled
    #[arg(long, value_name = "STATUSES", value_delimiter = ',', value_parser = values::status)]
    pub(crate) status: Vec<Status>,
    /// What pending orders wait for: worker, retry, schedule or pause
    #[arg(long, value_name = "CAUSE", value_parser = ["worker", "retry", "schedule", "pause"], hide_possible_values = true)]
    pub(crate) waits_for: Option<String>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Sort order: -createdAt, createdAt, -total or total
    #[arg(
        long,
        value_name = "SORT",
        value_parser = values::sort,
        default_value = "-createdAt",
        allow_hyphen_values = true
    )]
    pub(crate) sort: Sort,
    /// Maximum number of orders: 1 to 1000000
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=1_000_000), default_value = "100")]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders get`.
#[derive(Debug, Args)]
pub(crate) struct GetOrdersArgs {
    /// Ids of the orders
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id, required_unless_present_any = ["reference", "code"])]
    pub(crate) ids: Vec<OrderId>,
    /// External reference, of whose orders the newest one is printed
    #[arg(long, visible_alias = "external-reference", value_name = "TEXT", conflicts_with = "ids")]
    pub(crate) reference: Option<String>,
    /// Code, of which all orders are printed: 8 digits and letters such as K6M0AY2J
    #[arg(long, value_name = "CODE", value_parser = values::order_code, conflicts_with_all = ["ids", "reference"])]
    pub(crate) code: Option<OrderCode>,
    /// Print the events of each order too
    #[arg(long)]
    pub(crate) events: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders create`.
#[derive(Debug, Args)]
pub(crate) struct CreateOrderArgs {
    /// Name of a line item; repeat --item, --quantity and --price for several line items
    #[arg(long, value_name = "TEXT", required_unless_present = "file")]
    pub(crate) item: Vec<String>,
    /// Quantity of the line item: 1 to 1000000 [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=1_000_000))]
    pub(crate) quantity: Vec<u32>,
    /// Price of one piece, such as 1299.99
    #[arg(long, value_name = "AMOUNT", required_unless_present = "file")]
    pub(crate) price: Vec<String>,
    #[command(flatten)]
    pub(crate) details: DetailArgs,
    /// Idempotency key, with which the command can be repeated without creating another order [default: none]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Check the order or the file with the rules of this program, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) import: ImportArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders replace`.
#[derive(Debug, Args)]
pub(crate) struct ReplaceOrderArgs {
    /// Order to replace
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id)]
    pub(crate) id: OrderId,
    /// Name of a line item; repeat --item, --quantity and --price for several line items
    #[arg(long, value_name = "TEXT", required = true)]
    pub(crate) item: Vec<String>,
    /// Quantity of the line item: 1 to 1000000 [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=1_000_000))]
    pub(crate) quantity: Vec<u32>,
    /// Price of one piece, such as 1299.99
    #[arg(long, value_name = "AMOUNT", required = true)]
    pub(crate) price: Vec<String>,
    #[command(flatten)]
    pub(crate) details: DetailArgs,
    /// Idempotency key, with which the command can be repeated without creating another order [default: none]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// What an order has besides its line items.
#[derive(Debug, Args)]
#[command(next_help_heading = "Order")]
pub(crate) struct DetailArgs {
    /// ISO 4217 currency [default: that of the gateway]
    #[arg(long, value_name = "CODE", value_parser = values::currency)]
    pub(crate) currency: Option<Currency>,
    /// Customer
    #[arg(long, value_name = "TEXT")]
    pub(crate) customer: Option<String>,
    /// Reference of the order in your system
    #[arg(long, visible_alias = "reference", value_name = "TEXT")]
    pub(crate) external_reference: Option<String>,
    /// Priority: high, normal or low [default: normal]
    #[arg(long, value_name = "PRIORITY", value_parser = values::priority)]
    pub(crate) priority: Option<Priority>,
    /// Earliest start: a duration from now such as 2h, or RFC 3339 [default: none]
    #[arg(long, value_name = "TIME", value_parser = values::until)]
    pub(crate) process_after: Option<Until>,
    /// Kind: the word that routes the order to workers [default: default]
    #[arg(long, value_name = "KIND", value_parser = values::kind)]
    pub(crate) kind: Option<Kind>,
    /// Failed attempts after which the order is failed: 1 to 100 [default: that of the gateway]
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=100))]
    pub(crate) max_attempts: Option<u32>,
    /// Key of the metadata and its value, such as channel=web; repeat it for several keys
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::metadata)]
    pub(crate) metadata: Vec<(String, String)>,
}

/// The import of a file of orders.
#[derive(Debug, Args)]
#[command(next_help_heading = "Many orders")]
pub(crate) struct ImportArgs {
    /// File with one order as a JSON object in each line, instead of the order of the flags. An interrupted import
    /// continues when the command is repeated
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "item", "quantity", "price", "currency", "customer", "external_reference", "priority", "process_after",
            "kind", "max_attempts", "metadata", "key",
        ]
    )]
    pub(crate) file: Option<PathBuf>,
    /// Prefix of the idempotency keys of the file, such as import-7 [default: a new one, which the state of the import
    /// keeps]
    #[arg(long, value_name = "TEXT", requires = "file")]
    pub(crate) key_prefix: Option<String>,
    /// Maximum number of orders created per second, such as 500/s: 1/s to 10000/s [default: unlimited]
    #[arg(long, value_name = "RATE", value_parser = values::rate, requires = "file")]
    pub(crate) rate: Option<u32>,
}

/// The settings of `orders cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelOrdersArgs {
    /// Ids of the orders; without ids, the filters select them
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id)]
    pub(crate) ids: Vec<OrderId>,
    /// Statuses, separated by commas: pending, processing
    #[arg(long, value_name = "STATUSES", value_delimiter = ',', value_parser = values::open_status)]
    pub(crate) status: Vec<Status>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Select all orders that are not final
    #[arg(long)]
    pub(crate) all: bool,
    /// Print the selected orders without cancelling them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Cancel the selected orders without asking; required with filters or --all where no question can be asked
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Reason, stored with the orders
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) requester: RequesterArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders notes`.
#[derive(Debug, Args)]
pub(crate) struct NotesArgs {
    /// Order
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id)]
    pub(crate) id: OrderId,
    /// Note to add: 1 to 1000 characters; without it, the notes are printed
    #[arg(value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Milestone that the order has reached, such as packed: 1 to 32 lower-case letters, digits, `_` or `-`
    #[arg(long, value_name = "WORD", requires = "text")]
    pub(crate) milestone: Option<String>,
    /// Show the note to the customer on the tracking page
    #[arg(long, requires = "text")]
    pub(crate) public: bool,
    #[command(flatten)]
    pub(crate) requester: RequesterArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders metadata`.
#[derive(Debug, Args)]
pub(crate) struct MetadataArgs {
    /// Order
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id)]
    pub(crate) id: OrderId,
    /// Keys to set (channel=web) or to remove (channel-); without them, the metadata is printed
    #[arg(value_name = "KEY=VALUE|KEY-", value_parser = values::metadata_change)]
    pub(crate) changes: Vec<(String, Option<String>)>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Order to watch until it is final; without it, the events of all orders from now on, until Ctrl-C
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id, conflicts_with_all = ["status", "customer", "currency"])]
    pub(crate) id: Option<OrderId>,
    /// Only events that lead to these statuses, separated by commas
    #[arg(long, value_name = "STATUSES", value_delimiter = ',', value_parser = values::status)]
    pub(crate) status: Vec<Status>,
    /// Only events of orders of this customer
    #[arg(long, value_name = "TEXT")]
    pub(crate) customer: Option<String>,
    /// Only events of orders in this currency
    #[arg(long, value_name = "CODE", value_parser = values::currency)]
    pub(crate) currency: Option<Currency>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}
