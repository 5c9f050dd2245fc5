//! The commands for webhook endpoints, which send requests to a running gateway.

use std::time::Duration;

use clap::{Args, Subcommand};
use domain::{Currency, EndpointId, WebhookFormat, WebhookPayload};
use gateway::webhooks::{MAX_CONCURRENCY, MAX_OVERLAP, MAX_RATE};

use super::{ApiArgs, FormatArgs};
use crate::values::{self, Since};

/// The commands of webhook endpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Create an endpoint, which receives the events from now on, and print its secret once
    Create(CreateWebhookArgs),
    /// List the endpoints, without their secrets
    List(WebhookListArgs),
    /// Print an endpoint with its progress
    Get(WebhookArgs),
    /// Change an endpoint; what is not given stays
    Update(UpdateWebhookArgs),
    /// Remove an endpoint with its messages and attempts
    Delete(WebhookArgs),
    /// Give an endpoint another secret and print it once; the old one signs as well until the end of the overlap
    RotateSecret(RotateWebhookArgs),
    /// Send messages to a disabled endpoint again, from its position in the event log on
    Enable(WebhookArgs),
    /// Send no more messages to an endpoint; it keeps its position in the event log
    Disable(WebhookArgs),
    /// Send a test message to an endpoint now; exit code 1 if it does not accept the message
    Test(WebhookArgs),
    /// Send an event to an endpoint again now; exit code 1 if it does not accept the message
    Resend(ResendArgs),
    /// List the requests to an endpoint, newest first
    Attempts(AttemptsArgs),
    /// List the messages of an endpoint that wait for another attempt or have failed
    Messages(MessagesArgs),
    /// Deliver the events of a range to an endpoint again, beside the present ones
    Recover(RecoverArgs),
    /// End a recovery
    StopRecovery(WebhookArgs),
}

/// The form of the output, and the gateway.
#[derive(Debug, Args)]
pub(crate) struct WebhookListArgs {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// An endpoint.
#[derive(Debug, Args)]
pub(crate) struct WebhookArgs {
    /// Id of the endpoint
    #[arg(value_name = "ID", value_parser = values::endpoint_id)]
    pub(crate) id: EndpointId,
    #[command(flatten)]
    pub(crate) output: WebhookListArgs,
}

/// What an endpoint receives, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Endpoint")]
pub(crate) struct EndpointArgs {
    /// Note: at most 200 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Type of events such as order.completed; order.* is every event, webhook.* are notices about other endpoints. Repeat
    /// the flag for several types
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events of orders of this customer
    #[arg(long, value_name = "TEXT", value_parser = values::customer)]
    pub(crate) customer: Option<String>,
    /// Only events of orders in this currency
    #[arg(long, value_name = "CODE", value_parser = values::currency)]
    pub(crate) currency: Option<Currency>,
    /// Maximum number of requests per second: 1 to 10000
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=MAX_RATE.into()))]
    pub(crate) rate: Option<u32>,
    /// Maximum number of requests at once: 1 to 32
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=MAX_CONCURRENCY.into()))]
    pub(crate) concurrency: Option<u32>,
}

/// The settings of `orders webhooks create`.
#[derive(Debug, Args)]
pub(crate) struct CreateWebhookArgs {
    /// URL of the endpoint: https, or http in a network that the gateway permits
    #[arg(value_name = "ENDPOINT_URL")]
    pub(crate) endpoint_url: String,
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// Send only the id of the order and the sequence of the event, in place of the event and its order
    #[arg(long)]
    pub(crate) thin: bool,
    /// Send CloudEvents 1.0 in place of the form of Standard Webhooks
    #[arg(long)]
    pub(crate) cloudevents: bool,
    #[command(flatten)]
    pub(crate) output: WebhookListArgs,
}

/// The settings of `orders webhooks update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateWebhookArgs {
    /// Id of the endpoint
    #[arg(value_name = "ID", value_parser = values::endpoint_id)]
    pub(crate) id: EndpointId,
    /// New URL of the endpoint
    #[arg(long, value_name = "ENDPOINT_URL")]
    pub(crate) endpoint_url: Option<String>,
    #[command(flatten)]
    pub(crate) endpoint: EndpointArgs,
    /// Receive events of orders of every customer
    #[arg(long, conflicts_with = "customer")]
    pub(crate) any_customer: bool,
    /// Receive events of orders in every currency
    #[arg(long, conflicts_with = "currency")]
    pub(crate) any_currency: bool,
    /// Remove the limit of requests per second
    #[arg(long, conflicts_with = "rate")]
    pub(crate) no_rate: bool,
    /// Content of a body: full or thin
    #[arg(long, value_name = "CONTENT", value_parser = values::word::<WebhookPayload>)]
    pub(crate) payload: Option<WebhookPayload>,
    /// Form of a body: standard or cloudevents
    #[arg(long, value_name = "FORM", value_parser = values::word::<WebhookFormat>)]
    pub(crate) format: Option<WebhookFormat>,
    #[command(flatten)]
    pub(crate) output: WebhookListArgs,
}

/// The settings of `orders webhooks rotate-secret`.
#[derive(Debug, Args)]
pub(crate) struct RotateWebhookArgs {
    /// Id of the endpoint
    #[arg(value_name = "ID", value_parser = values::endpoint_id)]
    pub(crate) id: EndpointId,
    /// Time for which the old secret signs as well, in whole hours: 0s to 30d
    #[arg(long, value_name = "DURATION", value_parser = values::hours(MAX_OVERLAP), default_value = "24h")]
    pub(crate) overlap: Duration,
    #[command(flatten)]
    pub(crate) output: WebhookListArgs,
}

/// The settings of `orders webhooks resend`.
#[derive(Debug, Args)]
pub(crate) struct ResendArgs {
    /// Id of the endpoint
    #[arg(value_name = "ID", value_parser = values::endpoint_id)]
    pub(crate) id: EndpointId,
    /// Id of the event: that of its order, a hyphen and its sequence
    #[arg(value_name = "EVENT_ID")]
    pub(crate) event: String,
    #[command(flatten)]
    pub(crate) output: WebhookListArgs,
}

/// The settings of `orders webhooks attempts`.
#[derive(Debug, Args)]
pub(crate) struct AttemptsArgs {
    /// Id of the endpoint
    #[arg(value_name = "ID", value_parser = values::endpoint_id)]
    pub(crate) id: EndpointId,
    /// Only attempts that failed
    #[arg(long)]
    pub(crate) failed: bool,
    /// Maximum number of attempts: 1 to 500
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=500), default_value = "20")]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) output: WebhookListArgs,
}

/// The settings of `orders webhooks messages`.
#[derive(Debug, Args)]
pub(crate) struct MessagesArgs {
    /// Id of the endpoint
    #[arg(value_name = "ID", value_parser = values::endpoint_id)]
    pub(crate) id: EndpointId,
    /// Maximum number of messages: 1 to 500
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=500), default_value = "100")]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) output: WebhookListArgs,
}

/// The settings of `orders webhooks recover`.
#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// Id of the endpoint
    #[arg(value_name = "ID", value_parser = values::endpoint_id)]
    pub(crate) id: EndpointId,
    /// Time of the first event: a duration before now such as 2h, or RFC 3339. Without it, --wait follows the recovery
    /// that runs
    #[arg(long, value_name = "TIME", value_parser = values::since, required_unless_present = "wait")]
    pub(crate) since: Option<Since>,
    /// Time before which the last event is, in the same forms [default: now]
    #[arg(long, value_name = "TIME", value_parser = values::since, requires = "since")]
    pub(crate) until: Option<Since>,
    /// Count the events without delivering them
    #[arg(long, requires = "since", conflicts_with = "wait")]
    pub(crate) dry_run: bool,
    /// Print the progress until the recovery has ended; an interrupted command can be repeated without --since
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) output: WebhookListArgs,
}
