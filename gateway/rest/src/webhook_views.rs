//! What the API shows of webhook endpoints, their attempts and their messages.

use domain::{DisabledReason, EndpointState, OrderId, Timestamp, WebhookFormat, WebhookPayload};
use gateway_service::event_log::EventLog;
use gateway_store::{MessageState, WebhookAttempt, WebhookMessage, WebhookReplay};
use gateway_webhooks::{CreatedEndpoint, EndpointStatus, Recovery};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::schema;

/// Declares the schema of words that are serialized as strings.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $shown:literal, $of:ty, $description:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name($of);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_str())
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words: Vec<&str> = <$of>::ALL.iter().map(|word| word.as_str()).collect();
                schema::of(serde_json::json!({"type": "string", "description": $description, "enum": words}))
            }
        }

        impl ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                $shown.into()
            }
        }
    };
}

words! {
    /// The state of an endpoint.
    StateWord, "WebhookEndpointState", EndpointState,
    "`active`: messages are sent; `failing`: every message fails, so that one is sent from time to time; `disabled`: nothing is sent."
}
words! {
    /// The content of a body.
    PayloadWord, "WebhookPayload", WebhookPayload,
    "What a body contains. `full`: the event and its order; `thin`: the id of the order and the sequence of the event."
}
words! {
    /// The form of a body.
    FormatWord, "WebhookFormat", WebhookFormat,
    "The form of a body: that of Standard Webhooks, or CloudEvents 1.0."
}

fn currency() -> RefOr<Schema> {
    schema::or_null("Currency", "Only events of orders in this currency; null for every currency.")
}

/// A webhook endpoint. Its secret is only shown after it was created.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookEndpoint)]
pub(super) struct EndpointView {
    /// Id.
    #[schema(format = Uuid)]
    id: String,
    /// Tenant whose events it receives.
    tenant: String,
    /// Where messages are sent.
    #[schema(example = "https://shop.example.com/hooks/orders")]
    url: String,
    /// A note of its user.
    description: String,
    /// The types of messages.
    #[schema(example = json!(["order.completed", "order.failed"]))]
    types: Vec<&'static str>,
    /// Only events of orders of this customer; null for every customer.
    #[schema(required)]
    customer: Option<String>,
    /// Only events of orders in this currency; null for every currency.
    #[schema(required, schema_with = currency)]
    currency: Option<String>,
    /// What a body contains.
    payload: PayloadWord,
    /// The form of a body.
    format: FormatWord,
    /// Maximum number of requests in a second; null for no limit.
    #[schema(required)]
    rate_per_second: Option<u32>,
    /// Maximum number of requests at once.
    concurrency: u32,
    /// Whether it receives messages.
    state: StateWord,
    /// Why it is disabled: `request`, `gone` after a response 410, or `failures`; null in other states.
    #[schema(required, example = json!(null))]
    disabled_reason: Option<&'static str>,
    /// The first failure since the last success.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    failing_since: Option<Timestamp>,
    /// The latest failure.
    #[schema(required)]
    last_error: Option<String>,
    /// The next request while it is failing.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    next_probe_at: Option<Timestamp>,
    /// Events of the log after its position, of all types: at most as many are not delivered.
    lag_events: u64,
    /// The age of the oldest of them in seconds; 0 without one.
    lag_seconds: u64,
    /// Messages that are sent again.
    waiting_messages: u64,
    /// Messages whose attempts have all failed.
    failed_messages: u64,
    /// The range of the event log that is delivered again; null without one.
    #[schema(required, inline)]
    recovery: Option<RecoveryProgress>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Name of the caller that created it.
    created_by: String,
}

/// The progress of a recovery.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecoveryProgress {
    /// Time of the request.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// Events of the log that are passed.
    done: u64,
    /// Events of the log in the range, of all types.
    total: u64,
}

impl From<WebhookReplay> for RecoveryProgress {
    fn from(replay: WebhookReplay) -> Self {
        Self {
            started_at: replay.started_at,
            done: replay.position.saturating_sub(replay.first),
            total: replay.last.saturating_sub(replay.first),
        }
    }
}

impl From<EndpointStatus> for EndpointView {
    fn from(status: EndpointStatus) -> Self {
        let EndpointStatus { endpoint, lag, messages } = status;
        let settings = endpoint.settings;
        let is_failing = endpoint.state == EndpointState::Failing;
        Self {
            id: endpoint.id.to_string(),
            tenant: endpoint.tenant.to_string(),
            url: settings.url,
            description: settings.description,
            types: settings.types.words(),
            customer: settings.customer,
            currency: settings.currency.map(|currency| currency.code().to_owned()),
            payload: PayloadWord(settings.payload),
            format: FormatWord(settings.format),
            rate_per_second: settings.rate_per_s,
            concurrency: settings.concurrency,
            state: StateWord(endpoint.state),
            disabled_reason: endpoint.disabled_reason.map(DisabledReason::as_str),
            failing_since: endpoint.failing_since,
            last_error: endpoint.last_error,
            next_probe_at: is_failing.then_some(endpoint.due_at),
            lag_events: lag.events,
            lag_seconds: lag.age.as_secs(),
            waiting_messages: messages.waiting,
            failed_messages: messages.failed,
            recovery: endpoint.replay.map(RecoveryProgress::from),
            created_at: endpoint.created_at,
            created_by: endpoint.created_by,
        }
    }
}

/// An endpoint with its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewWebhookEndpoint)]
pub(super) struct CreatedView {
    /// The secret. It is not shown again.
    #[schema(example = "whsec_…")]
    secret: String,
    /// The endpoint.
    endpoint: EndpointView,
}

impl CreatedView {
    /// Returns the path of the endpoint.
    pub(super) fn location(&self) -> String {
        format!("/webhooks/{}", self.endpoint.id)
    }
}

impl From<CreatedEndpoint> for CreatedView {
    fn from(created: CreatedEndpoint) -> Self {
        Self { secret: created.secret.expose(), endpoint: created.endpoint.into() }
    }
}

/// The events of a recovery.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookRecovery)]
pub(super) struct RecoveryView {
    /// The events of the range that the endpoint selects.
    events: u64,
    /// Whether there are more than were counted.
    is_more: bool,
    /// The cursor before the first event.
    from: String,
    /// The cursor of the last event.
    to: String,
    /// The time of the oldest event that is kept, if it is after the beginning of the range.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    log_begins: Option<Timestamp>,
    /// The endpoint; unchanged by a dry run.
    endpoint: EndpointView,
}

impl RecoveryView {
    pub(super) fn new(recovery: Recovery, log: &EventLog) -> Self {
        Self {
            events: recovery.events,
            is_more: recovery.is_more,
            from: log.cursor(recovery.first).to_string(),
            to: log.cursor(recovery.last).to_string(),
            log_begins: recovery.log_begins,
            endpoint: recovery.endpoint.into(),
        }
    }
}

/// A request to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookAttempt)]
pub(super) struct AttemptView {
    /// Id, which sorts by time.
    #[schema(value_type = String, format = Uuid)]
    id: OrderId,
    /// Time of the request.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Id of the message, the header `webhook-id`: that of the event, or of a notice.
    #[schema(example = "01890a5d-ac96-774b-bcce-b302099a8057-3")]
    message_id: String,
    /// Type of the message.
    #[schema(example = "order.completed")]
    r#type: String,
    /// Number of the attempt of this message, from 1.
    attempt: u32,
    /// Whether the endpoint accepted it.
    succeeded: bool,
    /// `delivered`, `gone`, `rejected`, `throttled`, `failed`, `timeout`, `unreachable` or `refused`.
    #[schema(example = "delivered")]
    outcome: String,
    /// The HTTP status; null without a response.
    #[schema(required, example = 204)]
    status: Option<u16>,
    /// Time from the request to the response, in milliseconds.
    duration_ms: u64,
    /// The reason without a response.
    #[schema(required)]
    error: Option<String>,
    /// The beginning of the body of the response, at most 1 KiB.
    response: String,
}

impl From<WebhookAttempt> for AttemptView {
    fn from(attempt: WebhookAttempt) -> Self {
        Self {
            at: attempt.id.time(),
            id: attempt.id,
            message_id: attempt.message_id,
            r#type: attempt.kind,
            attempt: attempt.attempt,
            succeeded: attempt.succeeded,
            outcome: attempt.outcome,
            status: attempt.status,
            duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            error: attempt.error,
            response: String::from_utf8_lossy(&attempt.response).into_owned(),
        }
    }
}

/// A message that waits for another attempt, or whose attempts have all failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WebhookMessage)]
pub(super) struct MessageView {
    /// Id: that of the event, or of a notice.
    #[schema(example = "01890a5d-ac96-774b-bcce-b302099a8057-3")]
    id: String,
    /// The order of the event; null for a notice.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    order_id: Option<OrderId>,
    /// The sequence of the event in its order; null for a notice.
    #[schema(required)]
    sequence: Option<u32>,
    /// `waiting`: it is sent again; `failed`: it is not.
    #[schema(example = "waiting")]
    state: &'static str,
    /// Attempts that were made.
    attempts: u32,
    /// The next attempt; null if it has failed.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    /// The time since which it is here.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The latest failure.
    #[schema(required)]
    last_error: Option<String>,
}

impl From<WebhookMessage> for MessageView {
    fn from(message: WebhookMessage) -> Self {
        Self {
            id: message.id,
            order_id: message.event.map(|(order, ..)| order),
            sequence: message.event.map(|(_, sequence, _)| sequence),
            state: message.state.as_str(),
            attempts: message.attempts,
            next_attempt_at: (message.state == MessageState::Waiting).then_some(message.due_at),
            created_at: message.created_at,
            last_error: message.last_error,
        }
    }
}
