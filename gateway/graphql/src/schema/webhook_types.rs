//! Webhook endpoints, their attempts and their messages.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, Enum, ID, Result, SimpleObject};
use domain::{DisabledReason, EndpointId, OrderId};
use gateway_store as store;
use gateway_webhooks::EndpointStatus;

use crate::errors::{bad_input, webhook_error};
use crate::schema::list::{DEFAULT_PAGE, PageInfo, size};
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};

/// Whether a webhook endpoint receives messages.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::EndpointState")]
pub(crate) enum WebhookEndpointState {
    /// Messages are sent.
    Active,
    /// Every message fails, so one is sent from time to time.
    Failing,
    /// Nothing is sent.
    Disabled,
}

/// What the body of a webhook contains.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::WebhookPayload")]
pub(crate) enum WebhookPayload {
    /// The event and its order.
    Full,
    /// The id of the order and the sequence of the event.
    Thin,
}

/// The form of the body of a webhook.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::WebhookFormat")]
pub(crate) enum WebhookFormat {
    /// Standard Webhooks.
    Standard,
    /// CloudEvents 1.0 in JSON.
    #[graphql(name = "CLOUDEVENTS")]
    CloudEvents,
}

/// The outcome of an attempt.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookOutcome {
    /// The endpoint accepted the message.
    Succeeded,
    /// It did not.
    Failed,
}

/// A webhook endpoint. Its secret is only shown after it was created.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct WebhookEndpoint {
    #[graphql(skip)]
    endpoint_id: EndpointId,
    /// Id.
    id: ID,
    /// Tenant whose events it receives.
    tenant: String,
    /// Where messages are sent.
    url: String,
    /// A note of its user.
    description: String,
    /// The types of messages.
    types: Vec<String>,
    /// Only events of orders of this customer; null for every customer.
    customer: Option<String>,
    /// Only events of orders in this currency; null for every currency.
    currency: Option<String>,
    /// What a body contains.
    payload: WebhookPayload,
    /// The form of a body.
    format: WebhookFormat,
    /// Maximum number of requests in a second; null for no limit.
    rate_per_second: Option<u32>,
    /// Maximum number of requests at once.
    concurrency: u32,
    /// Whether it receives messages.
    state: WebhookEndpointState,
    /// Why it is disabled: `request`, `gone` after a response 410, or `failures`; null in other states.
    disabled_reason: Option<String>,
    /// The first failure since the last success.
    failing_since: Option<DateTime>,
    /// The latest failure.
    last_error: Option<String>,
    /// The next request while it is failing.
    next_probe_at: Option<DateTime>,
    /// Events of the log after its position, of all types: at most as many are not delivered.
    lag_events: i32,
    /// The age of the oldest of them in seconds; 0 without one.
    lag_seconds: i32,
    /// Messages that are sent again.
    waiting_messages: i32,
    /// Messages whose attempts have all failed.
    failed_messages: i32,
    /// The range of the event log that is delivered again; null without one.
    recovery: Option<WebhookRecovery>,
    /// Time of creation.
    created_at: DateTime,
    /// Name of the caller that created it.
    created_by: String,
}

/// Returns the number, or the largest one that GraphQL has.
pub(super) fn int(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The progress of a recovery.
#[derive(SimpleObject)]
pub(crate) struct WebhookRecovery {
    /// Time of the request.
    started_at: DateTime,
    /// Events of the log that are passed.
    done: i32,
    /// Events of the log in the range, of all types.
    total: i32,
}

impl From<EndpointStatus> for WebhookEndpoint {
    fn from(status: EndpointStatus) -> Self {
        let EndpointStatus { endpoint, lag, messages } = status;
        let settings = endpoint.settings;
        let is_failing = endpoint.state == domain::EndpointState::Failing;
        let recovery = endpoint.replay.map(|replay| WebhookRecovery {
            started_at: DateTime(replay.started_at),
            done: int(replay.position.saturating_sub(replay.first)),
            total: int(replay.last.saturating_sub(replay.first)),
        });
        Self {
            endpoint_id: endpoint.id,
            id: ID(endpoint.id.to_string()),
            tenant: endpoint.tenant.to_string(),
            url: settings.url,
            description: settings.description,
            types: settings.types.words().into_iter().map(str::to_owned).collect(),
            customer: settings.customer,
            currency: settings.currency.map(|currency| currency.code().to_owned()),
            payload: settings.payload.into(),
            format: settings.format.into(),
            rate_per_second: settings.rate_per_s,
            concurrency: settings.concurrency,
            state: endpoint.state.into(),
            disabled_reason: endpoint.disabled_reason.map(|reason| DisabledReason::as_str(reason).to_owned()),
            failing_since: endpoint.failing_since.map(DateTime),
            last_error: endpoint.last_error,
            next_probe_at: is_failing.then_some(DateTime(endpoint.due_at)),
            lag_events: int(lag.events),
            lag_seconds: int(lag.age.as_secs()),
            waiting_messages: int(messages.waiting),
            failed_messages: int(messages.failed),
            recovery,
            created_at: DateTime(endpoint.created_at),
            created_by: endpoint.created_by,
        }
    }
}

/// The parts of a webhook endpoint that are read separately.
#[ComplexObject]
impl WebhookEndpoint {
    /// Returns the requests to the endpoint, newest first.
    async fn attempts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size: 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Cursor: `endCursor` of the previous page.")] after: Option<String>,
        #[graphql(desc = "Only attempts with this outcome. Default: all.")] outcome: Option<WebhookOutcome>,
    ) -> Option<Result<WebhookAttemptConnection>> {
        Some(attempts(ctx, self.endpoint_id, first, after.as_deref(), outcome).await)
    }

    /// Returns the messages that wait for another attempt or have failed, sorted by id.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size: 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Cursor: `endCursor` of the previous page.")] after: Option<String>,
    ) -> Option<Result<WebhookMessageConnection>> {
        Some(messages(ctx, self.endpoint_id, first, after.as_deref()).await)
    }
}

/// A page of webhook endpoints.
#[derive(SimpleObject)]
pub(crate) struct WebhookEndpointConnection {
    /// The endpoints, sorted by id.
    nodes: Vec<WebhookEndpoint>,
    /// Position of the page in the list.
    page_info: PageInfo,
}

impl WebhookEndpointConnection {
    pub(super) fn new(nodes: Vec<WebhookEndpoint>, has_next_page: bool, has_previous_page: bool) -> Self {
        let cursor = |node: Option<&WebhookEndpoint>| node.map(|node| node.id.to_string());
        let (start, end) = (cursor(nodes.first()), cursor(nodes.last()));
        Self { nodes, page_info: PageInfo::of(has_next_page, has_previous_page, start, end) }
    }
}

/// A request to a webhook endpoint.
#[derive(SimpleObject)]
pub(crate) struct WebhookAttempt {
    /// Id, which sorts by time.
    id: ID,
    /// Time of the request.
    at: DateTime,
    /// Id of the message, the header `webhook-id`: that of the event, or of a notice.
    message_id: ID,
    /// Type of the message, such as order.completed.
    #[graphql(name = "type")]
    kind: String,
    /// Number of the attempt of this message, from 1.
    attempt: u32,
    /// Whether the endpoint accepted it.
    succeeded: bool,
    /// `delivered`, `gone`, `rejected`, `throttled`, `failed`, `timeout`, `unreachable` or `refused`.
    outcome: String,
    /// The HTTP status; null without a response.
    status: Option<u16>,
    /// Time from the request to the response, in milliseconds.
    duration_ms: i32,
    /// The reason without a response.
    error: Option<String>,
    /// The beginning of the body of the response, at most 1 KiB.
    response: String,
}

impl From<store::WebhookAttempt> for WebhookAttempt {
    fn from(attempt: store::WebhookAttempt) -> Self {
        Self {
            at: DateTime(attempt.id.time()),
            id: ID(attempt.id.to_string()),
            message_id: ID(attempt.message_id),
            kind: attempt.kind,
            attempt: attempt.attempt,
            succeeded: attempt.succeeded,
            outcome: attempt.outcome,
            status: attempt.status,
            duration_ms: i32::try_from(attempt.duration.as_millis()).unwrap_or(i32::MAX),
            error: attempt.error,
            response: String::from_utf8_lossy(&attempt.response).into_owned(),
        }
    }
}

/// A page of attempts.
#[derive(SimpleObject)]
pub(crate) struct WebhookAttemptConnection {
    /// The attempts, newest first.
    nodes: Vec<WebhookAttempt>,
    /// Position of the page in the list.
    page_info: PageInfo,
}

async fn attempts(
    ctx: &Context<'_>,
    endpoint: EndpointId,
    first: Option<i32>,
    after: Option<&str>,
    outcome: Option<WebhookOutcome>,
) -> Result<WebhookAttemptConnection> {
    let limit = size("first", first.unwrap_or(DEFAULT_PAGE))?;
    let before = after.map(str::parse::<OrderId>).transpose();
    let before = before.map_err(|error| bad_input(format!("after is {error}")))?;
    let succeeded = outcome.map(|outcome| outcome == WebhookOutcome::Succeeded);
    let webhooks = &ctx.data_unchecked::<Arc<Services>>().webhooks;
    let found = webhooks.attempts(caller(ctx), endpoint, succeeded, before, limit + 1).await;
    let mut found = found.map_err(webhook_error)?;
    let has_next_page = found.len() > limit as usize;
    found.truncate(limit as usize);
    let nodes: Vec<_> = found.into_iter().map(WebhookAttempt::from).collect();
    let cursor = |node: Option<&WebhookAttempt>| node.map(|node| node.id.to_string());
    let page_info = PageInfo::of(has_next_page, after.is_some(), cursor(nodes.first()), cursor(nodes.last()));
    Ok(WebhookAttemptConnection { nodes, page_info })
}

/// A message that waits for another attempt, or whose attempts have all failed.
#[derive(SimpleObject)]
pub(crate) struct WebhookMessage {
    /// Id: that of the event, or of a notice.
    id: ID,
    /// The order of the event; null for a notice.
    order_id: Option<ID>,
    /// The sequence of the event in its order; null for a notice.
    sequence: Option<u32>,
    /// `waiting`: it is sent again; `failed`: it is not.
    state: String,
    /// Attempts that were made.
    attempts: u32,
    /// The next attempt; null if it has failed.
    next_attempt_at: Option<DateTime>,
    /// The time since which it is here.
    created_at: DateTime,
    /// The latest failure.
    last_error: Option<String>,
}

impl From<store::WebhookMessage> for WebhookMessage {
    fn from(message: store::WebhookMessage) -> Self {
        let is_waiting = message.state == store::MessageState::Waiting;
        Self {
            id: ID(message.id),
            order_id: message.event.map(|(order, ..)| ID(order.to_string())),
            sequence: message.event.map(|(_, sequence, _)| sequence),
            state: message.state.as_str().to_owned(),
            attempts: message.attempts,
            next_attempt_at: is_waiting.then_some(DateTime(message.due_at)),
            created_at: DateTime(message.created_at),
            last_error: message.last_error,
        }
    }
}

/// A page of messages.
#[derive(SimpleObject)]
pub(crate) struct WebhookMessageConnection {
    /// The messages, sorted by id.
    nodes: Vec<WebhookMessage>,
    /// Position of the page in the list.
    page_info: PageInfo,
}

async fn messages(
    ctx: &Context<'_>,
    endpoint: EndpointId,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<WebhookMessageConnection> {
    let limit = size("first", first.unwrap_or(DEFAULT_PAGE))?;
    let webhooks = &ctx.data_unchecked::<Arc<Services>>().webhooks;
    let found = webhooks.messages(caller(ctx), endpoint, after, limit + 1).await;
    let mut found = found.map_err(webhook_error)?;
    let has_next_page = found.len() > limit as usize;
    found.truncate(limit as usize);
    let nodes: Vec<_> = found.into_iter().map(WebhookMessage::from).collect();
    let cursor = |node: Option<&WebhookMessage>| node.map(|node| node.id.to_string());
    let page_info = PageInfo::of(has_next_page, after.is_some(), cursor(nodes.first()), cursor(nodes.last()));
    Ok(WebhookMessageConnection { nodes, page_info })
}
