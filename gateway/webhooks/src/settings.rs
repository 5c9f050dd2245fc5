//! What users set of an endpoint.

use domain::{Currency, WebhookFormat, WebhookPayload, WebhookTypes};

use crate::limits::DEFAULT_CONCURRENCY;

/// An endpoint to create.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Where messages are sent.
    pub url: String,
    /// A note of its user.
    pub description: String,
    /// The types of messages.
    pub types: WebhookTypes,
    /// Only events of orders of this customer.
    pub customer: Option<String>,
    /// Only events of orders in this currency.
    pub currency: Option<Currency>,
    /// What a body contains.
    pub payload: WebhookPayload,
    /// The form of a body.
    pub format: WebhookFormat,
    /// Maximum number of requests in a second.
    pub rate_per_s: Option<u32>,
    /// Maximum number of requests at once.
    pub concurrency: u32,
    /// The secret; a random one if absent.
    pub secret: Option<String>,
}

impl NewEndpoint {
    /// Returns an endpoint for every event, with the defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            description: String::new(),
            types: WebhookTypes::DEFAULT,
            customer: None,
            currency: None,
            payload: WebhookPayload::Full,
            format: WebhookFormat::Standard,
            rate_per_s: None,
            concurrency: DEFAULT_CONCURRENCY,
            secret: None,
        }
    }
}

/// Changes of an endpoint: `None` keeps a value, `Some(None)` removes it.
#[derive(Debug, Clone, Default)]
pub struct EndpointChanges {
    /// Where messages are sent.
    pub url: Option<String>,
    /// A note of its user.
    pub description: Option<String>,
    /// The types of messages.
    pub types: Option<WebhookTypes>,
    /// Only events of orders of this customer.
    pub customer: Option<Option<String>>,
    /// Only events of orders in this currency.
    pub currency: Option<Option<Currency>>,
    /// What a body contains.
    pub payload: Option<WebhookPayload>,
    /// The form of a body.
    pub format: Option<WebhookFormat>,
    /// Maximum number of requests in a second.
    pub rate_per_s: Option<Option<u32>>,
    /// Maximum number of requests at once.
    pub concurrency: Option<u32>,
}

impl From<&NewEndpoint> for EndpointChanges {
    fn from(new: &NewEndpoint) -> Self {
        Self {
            url: Some(new.url.clone()),
            description: Some(new.description.clone()),
            types: Some(new.types),
            customer: Some(new.customer.clone()),
            currency: Some(new.currency),
            payload: Some(new.payload),
            format: Some(new.format),
            rate_per_s: Some(new.rate_per_s),
            concurrency: Some(new.concurrency),
        }
    }
}
