//! The commands for operators, which send requests to a running gateway.

use std::time::Duration;

use clap::{Args, Subcommand};
use domain::OrderId;
use serde_json::{Map, Value};

use super::settings::TokenArgs;
use super::{CaArgs, FormatArgs};
use crate::values::{self, ContextName, ServerUrl, Since, Until};

/// The gateway and the credential for it.
#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    #[command(flatten)]
    pub(crate) ca: CaArgs,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}

/// The address of the gateway.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gateway")]
pub(crate) struct AddressArgs {
    /// HTTP address of a gateway; the contexts of `orders context` are not used with it [default: that of the context,
    /// or http://127.0.0.1:3000]
    #[arg(
        long,
        env = "ORDERS_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = ServerUrl::http,
        conflicts_with = "context"
    )]
    pub(crate) url: Option<ServerUrl>,
    /// Context with the address, the authorities and the key, in place of --url [default: the current context of
    /// `orders context use`]
    #[arg(long, env = "ORDERS_CONTEXT", hide_env_values = true, value_name = "NAME", value_parser = str::parse::<ContextName>)]
    pub(crate) context: Option<ContextName>,
    /// Time to wait for a gateway that starts or does not listen yet: 0 to 10m
    #[arg(
        long,
        env = "ORDERS_CONNECT_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, Duration::from_secs(600)),
        default_value = "10s"
    )]
    pub(crate) connect_timeout: Duration,
}

/// The requester, for the audit fields.
#[derive(Debug, Args)]
pub(crate) struct RequesterArgs {
    /// Name of the requester, stored with the change [default: your user name]
    #[arg(long, value_name = "NAME", value_parser = values::requester)]
    pub(crate) requested_by: Option<String>,
}

/// The commands of the queue.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Pause the queue: it accepts orders but starts none; running orders finish
    Pause(PauseArgs),
    /// Resume the queue
    Resume(QueueArgs),
    /// Print the state of the queue and the number of orders
    Status(QueueArgs),
}

/// The settings of `orders queue status` and `orders queue resume`.
#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders queue pause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Time of the automatic resume: a duration from now such as 15m, or RFC 3339; --for is the same [default: none]
    #[arg(long, visible_alias = "for", value_name = "TIME", value_parser = values::until)]
    pub(crate) until: Option<Until>,
    /// Print the state of the queue and what the pause would do, without pausing it
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) requester: RequesterArgs,
    #[command(flatten)]
    pub(crate) queue: QueueArgs,
}

/// The commands of dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List failed orders, newest first
    List(ListArgs),
    /// List failed orders in groups with the same error class and reason, largest first
    Groups(GroupsArgs),
    /// Redrive failed orders: each gets a new set of attempts
    Redrive(RedriveArgs),
}

/// The beginning of the parameters of metadata.
const METADATA: &str = "metadata.";

/// Filters of failed orders; an order must match all of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArgs {
    /// Error class, exact match, such as http_503 or lease_expired
    #[arg(long, value_name = "CLASS")]
    pub(crate) error_class: Option<String>,
    /// Worker of the latest attempt, exact match
    #[arg(long, value_name = "NAME")]
    pub(crate) worker: Option<String>,
    /// Kind, exact match, such as refund
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Reason, such as that of a group; ** stands for any characters
    #[arg(long, value_name = "PATTERN")]
    pub(crate) reason_pattern: Option<String>,
    /// Order id or the beginning of one, code of an order, or prefix of the external reference or of the customer, case-insensitive
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Customer, exact match
    #[arg(long, value_name = "TEXT")]
    pub(crate) customer: Option<String>,
    /// Prefix of the customer, case-insensitive
    #[arg(long, value_name = "TEXT")]
    pub(crate) customer_prefix: Option<String>,
    /// External reference, exact match
    #[arg(long, alias = "reference", value_name = "TEXT")]
    pub(crate) external_reference: Option<String>,
    /// Prefix of the external reference, case-insensitive
    #[arg(long, value_name = "TEXT")]
    pub(crate) reference_prefix: Option<String>,
    /// Substring of the name of a line item, case-insensitive
    #[arg(long, value_name = "TEXT")]
    pub(crate) item_contains: Option<String>,
    /// ISO 4217 currency; with a total the default is that of the gateway
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<String>,
    /// Minimum total, inclusive
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) total_from: Option<String>,
    /// Maximum total, inclusive
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) total_to: Option<String>,
    /// Created at or after this time: a duration before now such as 2h, or RFC 3339; --since is the same
    #[arg(long, visible_alias = "since", value_name = "TIME", value_parser = values::since)]
    pub(crate) created_from: Option<Since>,
    /// Created before this time, in the same forms
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    pub(crate) created_before: Option<Since>,
    /// Key of the metadata and its value, exact match; repeat it for several keys
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::metadata)]
    pub(crate) metadata: Vec<(String, String)>,
}

impl FilterArgs {
    /// Returns the filters that are set, by their names in the API.
    pub(crate) fn set_filters(&self) -> Vec<(String, String)> {
        let now = values::now();
        let time = |time: Since| time.at(now).to_string();
        let texts = [
            ("errorClass", self.error_class.clone()),
            ("worker", self.worker.clone()),
            ("kind", self.kind.clone()),
            ("reason", self.reason_pattern.clone()),
            ("search", self.search.clone()),
            ("customer", self.customer.clone()),
            ("customerPrefix", self.customer_prefix.clone()),
            ("externalReference", self.external_reference.clone()),
            ("referencePrefix", self.reference_prefix.clone()),
            ("itemContains", self.item_contains.clone()),
            ("currency", self.currency.clone()),
            ("totalFrom", self.total_from.clone()),
            ("totalTo", self.total_to.clone()),
            ("createdFrom", self.created_from.map(time)),
            ("createdBefore", self.created_before.map(time)),
        ];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let metadata = self.metadata.iter().map(|(key, value)| (format!("{METADATA}{key}"), value.clone()));
        texts.chain(metadata).collect()
    }

    /// Returns the filter as a command has it in its body.
    pub(crate) fn body(&self) -> Map<String, Value> {
        let (metadata, texts): (Vec<_>, Vec<_>) =
            self.set_filters().into_iter().partition(|(name, _)| name.starts_with(METADATA));
        let mut body: Map<String, Value> =
            texts.into_iter().map(|(name, value)| (name, value.into())).collect();
        if !metadata.is_empty() {
            let key = |name: &str| name.trim_start_matches(METADATA).to_owned();
            let entries = metadata.into_iter().map(|(name, value)| (key(&name), Value::from(value)));
            body.insert("metadata".to_owned(), Value::Object(entries.collect()));
        }
        body
    }
}

/// The settings of `orders dead-letters list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Maximum number of orders: 1 to 1000000
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=1_000_000), default_value = "100")]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders dead-letters groups`.
#[derive(Debug, Args)]
pub(crate) struct GroupsArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Maximum number of groups: 1 to 1000
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=1_000), default_value = "50")]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders dead-letters redrive`.
#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// Ids of the orders; without ids, the filters select them
    #[arg(value_name = "ORDER_ID", value_parser = values::order_id)]
    pub(crate) ids: Vec<OrderId>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Select all failed orders
    #[arg(long)]
    pub(crate) all: bool,
    /// Print the selected orders without redriving them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until every redriven order is final, with a progress bar; exit code 1 if one fails again
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    /// Maximum starts per second with filters or --all, such as 50/s: 1/s to 10000/s [default: unlimited]
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub(crate) rate: Option<u32>,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn commands_have_all_filters_of_the_api() {
        let text = || Some("1".to_owned());
        let time = || values::since("2h").ok();
        let filter = FilterArgs {
            error_class: text(),
            worker: text(),
            kind: text(),
            reason_pattern: text(),
            search: text(),
            customer: text(),
            customer_prefix: text(),
            external_reference: text(),
            reference_prefix: text(),
            item_contains: text(),
            currency: text(),
            total_from: text(),
            total_to: text(),
            created_from: time(),
            created_before: time(),
            metadata: vec![("a.b".to_owned(), "c=d".to_owned())],
        };
        let body = filter.body();
        let given: BTreeSet<&str> = body.keys().map(String::as_str).collect();
        assert_eq!(body["metadata"], serde_json::json!({"a.b": "c=d"}));
        assert!(filter.set_filters().contains(&("metadata.a.b".to_owned(), "c=d".to_owned())));
        let mut fields = BTreeSet::from(domain::query::FILTER_FIELDS);
        assert!(fields.remove("waitsFor"), "a failed order waits for nothing");
        assert_eq!(given, fields);
    }
}
