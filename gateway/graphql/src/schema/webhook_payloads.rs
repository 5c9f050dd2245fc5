//! The results of mutations of webhook endpoints.

use async_graphql::{ID, Result, SimpleObject};
use domain::{EndpointId, ErrorCode, InvalidEndpointId, MissingScope};
use gateway_service::event_log::EventLog;
use gateway_store::WebhookAttempt as StoredAttempt;
use gateway_webhooks::{CreatedEndpoint, EndpointStatus, InvalidInput, Recovery, WebhookError};

use crate::errors::webhook_error;
use crate::schema::mutation::UserError;
use crate::schema::scalars::DateTime;
use crate::schema::webhook_types::{WebhookAttempt, WebhookEndpoint, int};

/// Result of a mutation of a webhook endpoint.
#[derive(SimpleObject, Default)]
pub(crate) struct WebhookEndpointPayload {
    /// The endpoint; null on an error.
    pub(super) webhook_endpoint: Option<WebhookEndpoint>,
    /// The errors; empty on success.
    pub(super) user_errors: Vec<UserError>,
}

/// Result of a mutation that creates a secret.
#[derive(SimpleObject, Default)]
pub(crate) struct WebhookSecretPayload {
    /// The endpoint; null on an error.
    pub(super) webhook_endpoint: Option<WebhookEndpoint>,
    /// The secret; null on an error. It is not shown again.
    secret: Option<String>,
    /// The errors; empty on success.
    pub(super) user_errors: Vec<UserError>,
}

/// Result of the removal of a webhook endpoint.
#[derive(SimpleObject, Default)]
pub(crate) struct DeleteWebhookEndpointPayload {
    /// The id of the removed endpoint; null on an error.
    id: Option<ID>,
    /// The errors; empty on success.
    pub(super) user_errors: Vec<UserError>,
}

/// Result of a message that was sent.
#[derive(SimpleObject, Default)]
pub(crate) struct WebhookAttemptPayload {
    /// The attempt, whether the endpoint accepted the message or not; null on an error.
    attempt: Option<WebhookAttempt>,
    /// The errors; empty on success.
    pub(super) user_errors: Vec<UserError>,
}

/// Result of a recovery.
#[derive(SimpleObject, Default)]
pub(crate) struct RecoverEventsPayload {
    /// The events of the range that the endpoint selects; null on an error.
    events: Option<i32>,
    /// Whether there are more than were counted; null on an error.
    is_more: Option<bool>,
    /// The cursor before the first event; null on an error.
    from: Option<String>,
    /// The cursor of the last event; null on an error.
    to: Option<String>,
    /// The time of the oldest event that is kept, if it is after the beginning of the range.
    log_begins: Option<DateTime>,
    /// The endpoint; null on an error. A dry run does not change it.
    pub(super) webhook_endpoint: Option<WebhookEndpoint>,
    /// The errors; empty on success.
    pub(super) user_errors: Vec<UserError>,
}

/// A payload with errors only.
pub(super) trait Refused: Default {
    fn refused(user_errors: Vec<UserError>) -> Self;
}

macro_rules! payloads {
    ($($payload:ident),*) => {$(
        impl Refused for $payload {
            fn refused(user_errors: Vec<UserError>) -> Self {
                Self { user_errors, ..Self::default() }
            }
        }
    )*};
}

payloads!(
    WebhookEndpointPayload,
    WebhookSecretPayload,
    DeleteWebhookEndpointPayload,
    WebhookAttemptPayload,
    RecoverEventsPayload
);

impl From<EndpointStatus> for WebhookEndpointPayload {
    fn from(status: EndpointStatus) -> Self {
        Self { webhook_endpoint: Some(status.into()), user_errors: Vec::new() }
    }
}

impl From<CreatedEndpoint> for WebhookSecretPayload {
    fn from(created: CreatedEndpoint) -> Self {
        let secret = Some(created.secret.expose());
        Self { webhook_endpoint: Some(created.endpoint.into()), secret, user_errors: Vec::new() }
    }
}

impl From<StoredAttempt> for WebhookAttemptPayload {
    fn from(attempt: StoredAttempt) -> Self {
        Self { attempt: Some(attempt.into()), user_errors: Vec::new() }
    }
}

impl DeleteWebhookEndpointPayload {
    pub(super) fn done(id: ID) -> Self {
        Self { id: Some(id), user_errors: Vec::new() }
    }
}

impl RecoverEventsPayload {
    pub(super) fn new(recovery: Recovery, log: &EventLog) -> Self {
        Self {
            events: Some(int(recovery.events)),
            is_more: Some(recovery.is_more),
            from: Some(log.cursor(recovery.first).to_string()),
            to: Some(log.cursor(recovery.last).to_string()),
            log_begins: recovery.log_begins.map(DateTime),
            webhook_endpoint: Some(recovery.endpoint.into()),
            user_errors: Vec::new(),
        }
    }
}

/// Why a mutation did nothing.
pub(super) enum Refusal {
    /// The use case refused it.
    Error(WebhookError),
    /// Values of the input are invalid.
    Input(Vec<UserError>),
}

impl From<WebhookError> for Refusal {
    fn from(error: WebhookError) -> Self {
        Self::Error(error)
    }
}

impl From<MissingScope> for Refusal {
    fn from(missing: MissingScope) -> Self {
        Self::Error(missing.into())
    }
}

impl From<Vec<UserError>> for Refusal {
    fn from(errors: Vec<UserError>) -> Self {
        Self::Input(errors)
    }
}

impl From<Vec<InvalidInput>> for Refusal {
    fn from(invalid: Vec<InvalidInput>) -> Self {
        let one = |InvalidInput { field, code, message }| UserError {
            code: code.to_string(),
            message: format!("{field} {message}"),
            field: Some(vec!["input".to_owned(), field.to_owned()]),
        };
        Self::Input(invalid.into_iter().map(one).collect())
    }
}

pub(super) fn read_id(id: &ID) -> std::result::Result<EndpointId, Refusal> {
    id.parse().map_err(|error: InvalidEndpointId| {
        let code = ErrorCode::WebhookNotFound.to_string();
        let field = Some(vec!["input".to_owned(), "id".to_owned()]);
        Refusal::Input(vec![UserError { code, message: format!("id is {error}"), field }])
    })
}

/// Returns errors that the client can avoid as data, and others as errors.
pub(super) fn payload<T: Into<P>, P: Refused>(result: std::result::Result<T, Refusal>) -> Result<P> {
    let error = match result {
        Ok(done) => return Ok(done.into()),
        Err(Refusal::Input(errors)) => return Ok(P::refused(errors)),
        Err(Refusal::Error(error)) => error,
    };
    let is_of_server = matches!(
        error,
        WebhookError::Forbidden(_)
            | WebhookError::NoSecretKey
            | WebhookError::WrongSecretKey
            | WebhookError::Busy
            | WebhookError::Service(_)
    );
    if is_of_server {
        return Err(webhook_error(error));
    }
    let field = error.field().map(|name| vec!["input".to_owned(), name.to_owned()]);
    Ok(P::refused(vec![UserError { code: error.code().to_string(), message: error.to_string(), field }]))
}
