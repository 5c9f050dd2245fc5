//! What clients send to create or to change an endpoint. Every problem of it is found at once.

use domain::{ErrorCode, WebhookTypes};

use crate::Webhooks;
use crate::error::WebhookError;
use crate::limits::{DEFAULT_CONCURRENCY, MAX_CONCURRENCY, MAX_RATE};
use crate::manage::parse_secret;
use crate::settings::{EndpointChanges, NewEndpoint};

/// The fields of an endpoint as clients send them. `None` is absent, and `Some(None)` removes a value.
#[derive(Debug, Clone, Default)]
pub struct EndpointInput {
    /// Where messages are sent.
    pub url: Option<String>,
    /// A note of its user.
    pub description: Option<String>,
    /// The types of messages.
    pub types: Option<Vec<String>>,
    /// Only events of orders of this customer.
    pub customer: Option<Option<String>>,
    /// Only events of orders in this currency.
    pub currency: Option<Option<String>>,
    /// What a body contains.
    pub payload: Option<String>,
    /// The form of a body.
    pub format: Option<String>,
    /// Maximum number of requests in a second.
    pub rate_per_s: Option<Option<i64>>,
    /// Maximum number of requests at once.
    pub concurrency: Option<i64>,
    /// The secret of a new endpoint.
    pub secret: Option<String>,
}

/// A field that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidInput {
    /// The name of the field, in lower camel case.
    pub field: &'static str,
    /// The code for clients.
    pub code: ErrorCode,
    /// What to change; continues the name of the field.
    pub message: String,
}

impl InvalidInput {
    fn new(field: &'static str, problem: impl std::fmt::Display) -> Self {
        Self { field, code: ErrorCode::InvalidInput, message: problem.to_string() }
    }
}

impl From<WebhookError> for InvalidInput {
    fn from(error: WebhookError) -> Self {
        let (field, code) = (error.field().unwrap_or_default(), error.code());
        let message = match error {
            WebhookError::Url(problem) => problem.to_string(),
            WebhookError::NoAuthorities(cause) => format!("cannot be used by the gateway: {cause}"),
            WebhookError::Description(problem) | WebhookError::Customer(problem) => problem,
            WebhookError::Secret(problem) => problem.to_string(),
            WebhookError::Concurrency => format!("must be a whole number from 1 to {MAX_CONCURRENCY}"),
            WebhookError::Rate => format!("must be a whole number from 1 to {MAX_RATE}"),
            error => error.to_string(),
        };
        Self { field, code, message }
    }
}

impl Webhooks {
    /// Checks the fields of a new endpoint.
    ///
    /// # Errors
    /// Every field that cannot be used.
    pub fn check_new(&self, input: EndpointInput) -> Result<NewEndpoint, Vec<InvalidInput>> {
        let secret = input.secret.clone();
        let (changes, mut problems) = self.parse(input);
        if changes.url.is_none() {
            problems.insert(0, InvalidInput::new("url", "is required"));
        }
        problems.extend(parse_secret(secret.as_deref()).err().map(InvalidInput::from));
        if !problems.is_empty() {
            return Err(problems);
        }
        let new = NewEndpoint::new(changes.url.unwrap_or_default());
        Ok(NewEndpoint {
            description: changes.description.unwrap_or_default(),
            types: changes.types.unwrap_or(new.types),
            customer: changes.customer.flatten(),
            currency: changes.currency.flatten(),
            payload: changes.payload.unwrap_or(new.payload),
            format: changes.format.unwrap_or(new.format),
            rate_per_s: changes.rate_per_s.flatten(),
            concurrency: changes.concurrency.unwrap_or(DEFAULT_CONCURRENCY),
            secret,
            ..new
        })
    }

    /// Checks the changes of an endpoint.
    ///
    /// # Errors
    /// Every field that cannot be used.
    pub fn check_changes(&self, input: EndpointInput) -> Result<EndpointChanges, Vec<InvalidInput>> {
        let (changes, problems) = self.parse(input);
        if problems.is_empty() { Ok(changes) } else { Err(problems) }
    }

    fn parse(&self, input: EndpointInput) -> (EndpointChanges, Vec<InvalidInput>) {
        let mut problems = Vec::new();
        let mut keep = |problem| problems.push(problem);
        let types = input.types.map(|words| words.join(",").parse::<WebhookTypes>()).transpose();
        let types = types.map_err(|error| keep(InvalidInput::new("types", format!("is not valid: {error}"))));
        let currency = input.currency.map(|code| code.map(|code| code.parse()).transpose()).transpose();
        let currency =
            currency.map_err(|error: domain::money::Error| keep(InvalidInput::new("currency", error)));
        let payload = input.payload.map(|word| word.parse()).transpose();
        let payload = payload.map_err(|error: domain::UnknownWord| keep(InvalidInput::new("payload", error)));
        let format = input.format.map(|word| word.parse()).transpose();
        let format = format.map_err(|error: domain::UnknownWord| keep(InvalidInput::new("format", error)));
        // A number that does not fit is outside of the range, as 0 is.
        let number = |number| u32::try_from(number).unwrap_or(0);
        let changes = EndpointChanges {
            url: input.url,
            description: input.description,
            types: types.unwrap_or_default(),
            customer: input.customer,
            currency: currency.unwrap_or_default(),
            payload: payload.unwrap_or_default(),
            format: format.unwrap_or_default(),
            rate_per_s: input.rate_per_s.map(|rate| rate.map(number)),
            concurrency: input.concurrency.map(number),
        };
        problems.extend(self.problems(&changes).into_iter().map(InvalidInput::from));
        (changes, problems)
    }
}
