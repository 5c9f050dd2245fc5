//! The inputs of mutations of webhook endpoints.

use std::time::Duration;

use async_graphql::{ID, InputObject, MaybeUndefined};
use gateway_webhooks::{EndpointInput, MAX_OVERLAP, OVERLAP, RotateSecret, Secret};

use crate::schema::api_key_input::whole;
use crate::schema::mutation::UserError;
use crate::schema::scalars::DateTime;
use crate::schema::webhook_types::{WebhookFormat, WebhookPayload};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A webhook endpoint to create.
#[derive(InputObject)]
pub(crate) struct CreateWebhookEndpointInput {
    /// Where messages are sent: an `https` URL of at most 2,000 bytes.
    url: String,
    /// A note: at most 200 characters.
    description: Option<String>,
    /// Types of events such as `order.completed`; `order.*` is every event, and `webhook.*` are notices about the other
    /// endpoints of the tenant. Default: every event.
    types: Option<Vec<String>>,
    /// Only events of orders of this customer: 1 to 200 characters.
    customer: Option<String>,
    /// Only events of orders in this currency, an ISO 4217 code.
    currency: Option<String>,
    /// What a body contains. Default: FULL.
    payload: Option<WebhookPayload>,
    /// The form of a body. Default: STANDARD.
    format: Option<WebhookFormat>,
    /// Maximum number of requests in a second: 1 to 10,000. Default: none.
    rate_per_second: Option<i32>,
    /// Maximum number of requests at once: 1 to 32. Default: 8.
    concurrency: Option<i32>,
    /// The secret: `whsec_` and 24 to 64 bytes in base64. Default: a random one.
    secret: Option<String>,
}

impl From<CreateWebhookEndpointInput> for EndpointInput {
    fn from(input: CreateWebhookEndpointInput) -> Self {
        Self {
            url: Some(input.url),
            description: input.description,
            types: input.types,
            customer: input.customer.map(Some),
            currency: input.currency.map(Some),
            payload: input.payload.map(word_of_payload),
            format: input.format.map(word_of_format),
            rate_per_s: input.rate_per_second.map(|rate| Some(rate.into())),
            concurrency: input.concurrency.map(i64::from),
            secret: input.secret,
        }
    }
}

/// Changes of a webhook endpoint. An absent field stays.
#[derive(InputObject)]
pub(crate) struct UpdateWebhookEndpointInput {
    /// The id of the endpoint.
    pub(super) id: ID,
    /// Where messages are sent: an `https` URL of at most 2,000 bytes.
    url: Option<String>,
    /// A note: at most 200 characters.
    description: Option<String>,
    /// Types of events, as in a new endpoint.
    types: Option<Vec<String>>,
    /// Only events of orders of this customer: 1 to 200 characters. Null removes the filter.
    customer: MaybeUndefined<String>,
    /// Only events of orders in this currency, an ISO 4217 code. Null removes the filter.
    currency: MaybeUndefined<String>,
    /// What a body contains.
    payload: Option<WebhookPayload>,
    /// The form of a body.
    format: Option<WebhookFormat>,
    /// Maximum number of requests in a second: 1 to 10,000. Null removes the limit.
    rate_per_second: MaybeUndefined<i32>,
    /// Maximum number of requests at once: 1 to 32.
    concurrency: Option<i32>,
}

impl From<UpdateWebhookEndpointInput> for EndpointInput {
    fn from(input: UpdateWebhookEndpointInput) -> Self {
        Self {
            url: input.url,
            description: input.description,
            types: input.types,
            customer: removable(input.customer),
            currency: removable(input.currency),
            payload: input.payload.map(word_of_payload),
            format: input.format.map(word_of_format),
            rate_per_s: removable(input.rate_per_second).map(|rate| rate.map(i64::from)),
            concurrency: input.concurrency.map(i64::from),
            secret: None,
        }
    }
}

fn removable<T>(value: MaybeUndefined<T>) -> Option<Option<T>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

fn word_of_payload(payload: WebhookPayload) -> String {
    domain::WebhookPayload::from(payload).to_string()
}

fn word_of_format(format: WebhookFormat) -> String {
    domain::WebhookFormat::from(format).to_string()
}

/// A webhook endpoint.
#[derive(InputObject)]
pub(crate) struct WebhookEndpointInput {
    /// The id of the endpoint.
    pub(super) id: ID,
}

/// A secret to rotate.
#[derive(InputObject)]
pub(crate) struct RotateWebhookSecretInput {
    /// The id of the endpoint.
    pub(super) id: ID,
    /// The new secret: `whsec_` and 24 to 64 bytes in base64. Default: a random one.
    secret: Option<String>,
    /// Time in hours for which the old secret signs as well: 0 to 720. Default: 24.
    overlap_hours: Option<i32>,
}

impl RotateWebhookSecretInput {
    pub(super) fn read(&self) -> Result<RotateSecret, Vec<UserError>> {
        let mut errors = Vec::new();
        if let Some(Err(error)) = self.secret.as_deref().map(str::parse::<Secret>) {
            errors.push(UserError::input("secret", error));
        }
        let max = i32::try_from(MAX_OVERLAP.as_secs() / HOUR.as_secs()).unwrap_or(i32::MAX);
        let hours = whole("overlapHours", self.overlap_hours, 0..=max, &mut errors);
        let overlap = hours.map_or(OVERLAP, |hours| HOUR * hours);
        match errors.is_empty() {
            true => Ok(RotateSecret { secret: self.secret.clone(), overlap }),
            false => Err(errors),
        }
    }
}

/// An event to send again.
#[derive(InputObject)]
pub(crate) struct ResendEventInput {
    /// The id of the endpoint.
    pub(super) id: ID,
    /// The id of the event: that of its order, a hyphen and its sequence.
    pub(super) event_id: String,
}

/// The range of events to deliver again.
#[derive(InputObject)]
pub(crate) struct RecoverEventsInput {
    /// The id of the endpoint.
    pub(super) id: ID,
    /// The time of the first event.
    pub(super) since: DateTime,
    /// The time before which the last event is. Default: now.
    pub(super) until: Option<DateTime>,
    /// True to count the events only.
    #[graphql(default)]
    pub(super) dry_run: bool,
}
