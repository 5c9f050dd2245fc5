//! The kinds of credentials, for the metric of authenticated requests.

use metrics::{Counter, counter};

use super::session;

/// The kind of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// There is no credential.
    None,
    /// An API key.
    ApiKey,
    /// A token of an issuer (JWT), or a header that is no credential.
    Token,
    /// The cookie of a session.
    Session,
    /// A client certificate.
    Certificate,
    /// The token of a tracking link.
    TrackingLink,
}

impl Method {
    /// Returns the kind of the credential in an `Authorization` header.
    pub(super) fn of(authorization: Option<&[u8]>) -> Self {
        let Some(value) = authorization else { return Self::None };
        if session::of_header(value).is_some() {
            return Self::Session;
        }
        let credential = value.get(..BEARER.len()).filter(|scheme| scheme.eq_ignore_ascii_case(BEARER));
        match credential.and_then(|_| value.get(BEARER.len()..)) {
            Some(key) if key.trim_ascii_start().starts_with(KEY_PREFIX) => Self::ApiKey,
            _ => Self::Token,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ApiKey => "key",
            Self::Token => "token",
            Self::Session => "session",
            Self::Certificate => "certificate",
            Self::TrackingLink => "tracking_link",
        }
    }
}

const BEARER: &[u8] = b"Bearer ";
const KEY_PREFIX: &[u8] = b"ord_";

/// Counts the outcomes of one kind of credential.
pub(super) struct Outcomes {
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) limited: Counter,
}

/// Counts the outcomes of all kinds.
pub(super) struct OutcomesByMethod([Outcomes; 6]);

impl OutcomesByMethod {
    pub(super) fn new() -> Self {
        const ALL: [Method; 6] = [
            Method::None,
            Method::ApiKey,
            Method::Token,
            Method::Session,
            Method::Certificate,
            Method::TrackingLink,
        ];
        Self(ALL.map(|method| {
            let outcome = |outcome: &'static str| {
                counter!("orders_auth_total", "method" => method.as_str(), "outcome" => outcome)
            };
            Outcomes {
                accepted: outcome("accepted"),
                refused: outcome("refused"),
                limited: outcome("rate_limited"),
            }
        }))
    }

    pub(super) fn of(&self, method: Method) -> &Outcomes {
        &self.0[method as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_follows_from_the_header() {
        for (value, method) in [
            (None, Method::None),
            (Some("Bearer ord_1234"), Method::ApiKey),
            (Some("bearer  ord_1234"), Method::ApiKey),
            (Some("Bearer eyJhbGciOi"), Method::Token),
            (Some("Basic ord_1234"), Method::Token),
            (Some(""), Method::Token),
        ] {
            assert_eq!(Method::of(value.map(str::as_bytes)), method, "{value:?}");
        }
        let outcomes = OutcomesByMethod::new();
        assert_eq!(outcomes.0.len(), Method::TrackingLink as usize + 1);
    }
}
