//! The commands for operators, who speak to a running gateway.

use clap::{Args, Subcommand};
use domain::{OrderId, Timestamp};

use crate::values::{self, ServerUrl};

/// Which gateway is spoken to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct ApiArgs {
    /// HTTP address of a gateway
    #[arg(
        long,
        env = "ORDERS_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = ServerUrl::http,
        default_value = "http://127.0.0.1:3000"
    )]
    pub(crate) url: ServerUrl,
}

/// Who asks, for what is written down about it.
#[derive(Debug, Args)]
pub(crate) struct RequesterArgs {
    /// Who asks; it is kept with what is done [default: your user name]
    #[arg(long, value_name = "NAME", value_parser = values::requester)]
    pub(crate) requested_by: Option<String>,
}

/// What can be asked of the queue.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Start no more orders; accept them as before. What is being processed goes on
    Pause(PauseArgs),
    /// Go on
    Resume(ApiArgs),
    /// Show whether it is paused, and how many orders are in it
    Status(ApiArgs),
}

/// How to pause.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Go on by itself at this time (RFC 3339, such as 2026-01-31T12:00:00Z); never when it is not given
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub(crate) until: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) requester: RequesterArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// What can be asked about dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List failed orders, newest first
    List(ListArgs),
    /// Give failed orders a new set of attempts
    Redrive(RedriveArgs),
}

/// Which failed orders are meant; everything that is given must match.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which")]
pub(crate) struct FilterArgs {
    /// Exactly this error class, such as http_503 or lease_expired
    #[arg(long, value_name = "CLASS")]
    pub(crate) error_class: Option<String>,
    /// Exactly this customer
    #[arg(long, value_name = "TEXT")]
    pub(crate) customer: Option<String>,
    /// Exactly this reference
    #[arg(long, value_name = "TEXT")]
    pub(crate) external_reference: Option<String>,
    /// Created at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub(crate) created_from: Option<Timestamp>,
    /// Created before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    pub(crate) created_before: Option<Timestamp>,
}

impl FilterArgs {
    /// What is given, by the names of the interface.
    pub(crate) fn given(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("errorClass", self.error_class.clone()),
            ("customer", self.customer.clone()),
            ("externalReference", self.external_reference.clone()),
            ("createdFrom", self.created_from.map(|time| time.to_string())),
            ("createdBefore", self.created_before.map(|time| time.to_string())),
        ];
        texts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// How to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// At most so many
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1, 1_000_000), default_value = "100")]
    pub(crate) limit: u32,
    /// Print each order as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// How to redrive.
#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// The orders; without any, those that the filter means
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id)]
    pub(crate) ids: Vec<OrderId>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// All failed orders
    #[arg(long)]
    pub(crate) all: bool,
    /// Only print which orders it would be
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Let so many start in each second, such as 50/s, so that what failed is not overrun; for a filter
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub(crate) rate: Option<u32>,
    /// Why; it is kept with the orders
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) requester: RequesterArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}
