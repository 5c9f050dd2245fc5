//! Values whose rules are in `domain` and in the gateway: the parsers there, with a hint.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::query::Sort;
use domain::{
    Currency, EndpointId, Kind, Kinds, OrderCode, OrderId, Priority, Role, Scopes, Status, TenantId,
    Timestamp, UnknownWord,
};
use gateway::store::Setting;

use super::ValueError;

/// The longest duration before or after now: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Maximum length of the name of a key or a tenant, in characters.
const MAX_LABEL: usize = gateway::access::MAX_KEY_NAME;

/// The hint for metadata.
const METADATA_HINT: &str = "such as channel=web; the key has 1 to 40 letters, digits, '_', '-' or '.'";

/// Parses an ISO 4217 code.
pub(crate) fn currency(text: &str) -> Result<Currency, ValueError> {
    text.parse::<Currency>().map_err(|error| {
        ValueError::new(
            format!("it {error}"),
            "give the three capital letters of an ISO 4217 currency such as USD",
        )
    })
}

/// A point in time, or a time before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// The duration before now.
    Ago(Duration),
    /// The point in time.
    At(Timestamp),
}

impl Since {
    /// Returns the point in time.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(time) => now - time,
            Self::At(time) => time,
        }
    }
}

/// Parses a point in time, or a duration before now.
pub(crate) fn since(text: &str) -> Result<Since, ValueError> {
    if let Ok(time) = super::duration(Duration::ZERO, LONGEST)(text) {
        return Ok(Since::Ago(time));
    }
    text.parse().map(Since::At).map_err(|error| {
        ValueError::new(
            format!("it is {error}, and no duration"),
            "give a duration before now such as 2h, or a time with its zone such as 2026-01-31T12:00:00Z",
        )
    })
}

/// A point in time, or a time after now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The duration after now.
    In(Duration),
    /// The point in time.
    At(Timestamp),
}

impl Until {
    /// Returns the point in time.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(time) => now + time,
            Self::At(time) => time,
        }
    }
}

/// Parses a point in time, or a duration after now.
pub(crate) fn until(text: &str) -> Result<Until, ValueError> {
    if let Ok(time) = super::duration(Duration::from_millis(1), LONGEST)(text) {
        return Ok(Until::In(time));
    }
    text.parse().map(Until::At).map_err(|error| {
        ValueError::new(
            format!("it is {error}, and no duration"),
            "give a duration from now such as 15m, or a time with its zone such as 2026-01-31T12:00:00Z",
        )
    })
}

/// Returns the time of this machine.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// Parses the status of an order.
pub(crate) fn status(text: &str) -> Result<Status, ValueError> {
    text.parse().map_err(|_| {
        ValueError::new("it is not a status", "give pending, processing, completed, failed or cancelled")
    })
}

/// Parses the status of an order that is not final.
pub(crate) fn open_status(text: &str) -> Result<Status, ValueError> {
    status(text).ok().filter(|status| !status.is_final()).ok_or_else(|| {
        ValueError::new(
            "it is not the status of an order that can be cancelled",
            "give pending or processing",
        )
    })
}

/// Parses the sort of a list.
pub(crate) fn sort(text: &str) -> Result<Sort, ValueError> {
    text.parse()
        .map_err(|_| ValueError::new("it is not a sort order", "give -createdAt, createdAt, -total or total"))
}

/// Parses a kind of orders.
pub(crate) fn kind(text: &str) -> Result<Kind, ValueError> {
    text.parse().map_err(|_| {
        ValueError::new(
            "it is not a kind",
            "give 1 to 32 characters of a-z, 0-9, _ and -, beginning with a letter or a digit, such as refund",
        )
    })
}

/// Parses the kinds of orders of a worker.
pub(crate) fn kinds(text: &str) -> Result<Kinds, ValueError> {
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    Kinds::parse(&words).map_err(|error| {
        ValueError::new(format!("it {error}"), "give kinds separated by commas, such as default,refund, or *")
    })
}

/// Parses a priority.
pub(crate) fn priority(text: &str) -> Result<Priority, ValueError> {
    text.parse().map_err(|_| ValueError::new("it is not a priority", "give high, normal or low"))
}

/// Parses one of a few words.
pub(crate) fn word<T: std::str::FromStr<Err = UnknownWord>>(text: &str) -> Result<T, ValueError> {
    text.parse().map_err(|error| ValueError::new(format!("it {error}"), "give one of these words"))
}

/// Parses the id of a webhook endpoint.
pub(crate) fn endpoint_id(text: &str) -> Result<EndpointId, ValueError> {
    text.parse()
        .map_err(|error| ValueError::new(format!("it is {error}"), "`orders webhooks list` shows the ids"))
}

/// Parses the id of an order.
pub(crate) fn order_id(text: &str) -> Result<OrderId, ValueError> {
    text.parse().map_err(|error| {
        ValueError::new(format!("it is {error}"), "`orders list` and `orders dead-letters list` show ids")
    })
}

/// Parses the code of an order.
pub(crate) fn order_code(text: &str) -> Result<OrderCode, ValueError> {
    text.parse()
        .map_err(|error| ValueError::new(format!("it is {error}"), "`orders list -o wide` shows codes"))
}

/// Parses a column of an order and its new value.
pub(crate) fn setting(text: &str) -> Result<Setting, ValueError> {
    text.parse()
        .map_err(|error| ValueError::new(format!("it {error}"), "such as currency=EUR or priority=normal"))
}

/// Parses a key of the metadata and its value.
pub(crate) fn metadata(text: &str) -> Result<(String, String), ValueError> {
    let refuse = |problem: String| ValueError::new(problem, METADATA_HINT);
    let (key, value) = text.split_once('=').ok_or_else(|| refuse("it is not KEY=VALUE".to_owned()))?;
    domain::metadata::check_key(key)
        .and_then(|()| domain::metadata::check_value(key, value))
        .map_err(|problem| refuse(format!("it {problem}")))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses a key of the metadata to set, or one to remove, which ends with a minus sign.
pub(crate) fn metadata_change(text: &str) -> Result<(String, Option<String>), ValueError> {
    match text.strip_suffix('-').filter(|_| !text.contains('=')) {
        Some(key) => match domain::metadata::check_key(key) {
            Ok(()) => Ok((key.to_owned(), None)),
            Err(problem) => Err(ValueError::new(format!("it {problem}"), METADATA_HINT)),
        },
        None => metadata(text).map(|(key, value)| (key, Some(value))),
    }
}

/// Parses the name of a requester.
pub(crate) fn requester(text: &str) -> Result<String, ValueError> {
    match domain::strings::validate(text, domain::strings::MAX_REQUESTED_BY) {
        Ok(()) => Ok(text.to_owned()),
        Err(message) => Err(ValueError::new(format!("it {message}"), "give a name of 1 to 100 characters")),
    }
}

/// Parses the id of a tenant.
pub(crate) fn tenant(text: &str) -> Result<TenantId, ValueError> {
    text.parse().map_err(|error: domain::InvalidTenant| {
        ValueError::new(format!("it is {error}"), "`orders tenants list` shows the tenants")
    })
}

/// Parses the name of a role.
pub(crate) fn role(text: &str) -> Result<Role, ValueError> {
    text.parse().map_err(|_| {
        let roles: Vec<&str> = Role::ALL.into_iter().map(Role::as_str).collect();
        ValueError::new("it is not a role", format!("give one of {}", roles.join(", ")))
    })
}

/// Parses scopes, separated by blanks or commas.
pub(crate) fn scopes(text: &str) -> Result<Scopes, ValueError> {
    text.parse()
        .map_err(|_| ValueError::new("it is not a list of scopes", format!("give some of: {}", Scopes::ALL)))
}

/// Parses a customer.
pub(crate) fn customer(text: &str) -> Result<String, ValueError> {
    match domain::strings::validate(text, domain::strings::MAX_CUSTOMER) {
        Ok(()) => Ok(text.to_owned()),
        Err(message) => {
            Err(ValueError::new(format!("it {message}"), "give the customer as orders contain it"))
        }
    }
}

/// Parses the name of a key or a tenant.
pub(crate) fn label(text: &str) -> Result<String, ValueError> {
    match domain::strings::validate(text, MAX_LABEL) {
        Ok(()) => Ok(text.to_owned()),
        Err(message) => Err(ValueError::new(format!("it {message}"), "give a name of 1 to 100 characters")),
    }
}
