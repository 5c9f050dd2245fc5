//! The errors of the use cases. Each API shows them in its own form.

use domain::{EndpointId, ErrorCode, MissingScope};
use gateway_service::Error as ServiceError;
use gateway_store::{Error as StoreError, MAX_ENDPOINTS, MAX_TENANT_ENDPOINTS};
use webhook::UrlProblem;

use crate::limits::{MAX_CONCURRENCY, MAX_OVERLAP, MAX_RATE};

/// The reason for which an endpoint is not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The caller may not manage webhooks.
    #[error(transparent)]
    Forbidden(#[from] MissingScope),
    /// The URL may not be used.
    #[error("the URL {0}")]
    Url(UrlProblem),
    /// The system has no certificate authorities.
    #[error("the gateway cannot send to https URLs: {0}")]
    NoAuthorities(String),
    /// The description is too long or has control characters.
    #[error("the description {0}")]
    Description(String),
    /// The customer is too long or has control characters.
    #[error("the customer {0}")]
    Customer(String),
    /// The number of concurrent requests is outside its range.
    #[error("an endpoint can have 1 to {MAX_CONCURRENCY} concurrent requests")]
    Concurrency,
    /// The rate is outside its range.
    #[error("an endpoint can have 1 to {MAX_RATE} requests per second")]
    Rate,
    /// The secret is malformed.
    #[error("the secret {0}")]
    Secret(webhook::InvalidSecret),
    /// The overlap of the old secret is too long.
    #[error("an old secret can sign for at most {hours} hours more", hours = MAX_OVERLAP.as_secs() / 3600)]
    Overlap,
    /// No such endpoint, or it is not the caller's.
    #[error("there is no webhook endpoint {0}")]
    NotFound(EndpointId),
    /// No such event, or it is not of the caller's tenant.
    #[error("there is no event {0}; it may be older than the retention of its order")]
    NoEvent(String),
    /// The maximum number of endpoints exists.
    #[error(
        "a tenant can have {MAX_TENANT_ENDPOINTS} webhook endpoints, and all tenants {MAX_ENDPOINTS}: remove one that is \
         not used"
    )]
    LimitReached,
    /// The gateway has no key to encrypt secrets.
    #[error(
        "the gateway has no key for the secrets of webhooks: its operators have to set --secret-key-file, the same for all \
         gateways"
    )]
    NoSecretKey,
    /// The secrets were encrypted with a key that the gateway does not have.
    #[error(
        "the gateway cannot decrypt the secrets of the endpoint: its operators have to add the earlier key to \
         --secret-key-file"
    )]
    WrongSecretKey,
    /// A range of events is empty or reversed.
    #[error("{0}")]
    Range(&'static str),
    /// Another user changes the endpoint all the time.
    #[error("another user has changed the endpoint at the same time: try again")]
    Busy,
    /// The use case of events failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl WebhookError {
    /// Returns the code for clients.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Url(_) | Self::NoAuthorities(_) => ErrorCode::WebhookUrlRefused,
            Self::Description(_)
            | Self::Customer(_)
            | Self::Concurrency
            | Self::Rate
            | Self::Secret(_)
            | Self::Overlap
            | Self::Range(_) => ErrorCode::InvalidInput,
            Self::NotFound(_) => ErrorCode::WebhookNotFound,
            Self::NoEvent(_) => ErrorCode::EventNotFound,
            Self::LimitReached => ErrorCode::WebhookLimit,
            Self::NoSecretKey | Self::WrongSecretKey => ErrorCode::SecretKeyMissing,
            Self::Busy => ErrorCode::Overloaded,
            Self::Service(error) => error.code(),
        }
    }

    /// Returns the input field that has to be changed, in lower camel case.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Url(_) | Self::NoAuthorities(_) => Some("url"),
            Self::Description(_) => Some("description"),
            Self::Customer(_) => Some("customer"),
            Self::Concurrency => Some("concurrency"),
            Self::Rate => Some("ratePerSecond"),
            Self::Secret(_) => Some("secret"),
            Self::Overlap => Some("overlapHours"),
            Self::NotFound(_) => Some("id"),
            Self::NoEvent(_) => Some("eventId"),
            Self::Range(_) => Some("since"),
            Self::Forbidden(_)
            | Self::LimitReached
            | Self::NoSecretKey
            | Self::WrongSecretKey
            | Self::Busy
            | Self::Service(_) => None,
        }
    }
}

impl From<StoreError> for WebhookError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}
