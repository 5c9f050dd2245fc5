//! The URL of a Redis server: what it may look like, and how it is shown without its password.

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::Error;

const FORMS: &str = "use redis://host:6379/0, rediss://host:6379/0 for TLS, or unix:///path/to/socket";

/// A usable URL.
pub(super) struct Address {
    pub(super) info: ConnectionInfo,
    /// For messages and logs: any password is `***`.
    pub(super) shown: String,
    pub(super) tls: bool,
}

impl Address {
    /// The messages never repeat the text: it may contain a password in a place where nobody expects it.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::InvalidUrl(format!("the Redis URL is empty: {FORMS}")));
        }
        let Some(mut url) = redis::parse_redis_url(text) else {
            let reason = match text.split_once("://") {
                None => "has no scheme".to_owned(),
                Some((
                    "redis" | "rediss" | "unix" | "redis+unix" | "valkey" | "valkeys" | "valkey+unix",
                    _,
                )) => {
                    "cannot be read (in a password write / as %2F, # as %23, ? as %3F, @ as %40)".to_owned()
                }
                Some((scheme, _)) => format!("has the unknown scheme {scheme:?}"),
            };
            return Err(Error::InvalidUrl(format!("the Redis URL {reason}: {FORMS}")));
        };
        if url.fragment().is_some() {
            return Err(Error::InvalidUrl(
                "the Redis URL has a part after #: remove it. To trust a private certificate authority, \
                 set SSL_CERT_FILE to its file"
                    .to_owned(),
            ));
        }
        let info = url.clone().into_connection_info().map_err(|cause| {
            // The client appends the kind of its error, which helps nobody here.
            let cause = cause.to_string();
            let reason = cause.split(" - ").next().unwrap_or_default().to_lowercase();
            Error::InvalidUrl(format!("the Redis URL is not usable ({reason}): {FORMS}"))
        })?;

        // A socket's URL carries the password in its query. `set_…` fails for URLs without a host,
        // which have no user part either.
        url.set_query(None);
        let masked = match (url.password(), url.username()) {
            (Some(_), _) => url.set_password(Some("***")),
            (None, "") => Ok(()),
            // `redis://secret@host` is a password without its colon.
            (None, _) => url.set_username("***"),
        };
        let shown = if masked.is_ok() { url.to_string() } else { info.addr().to_string() };
        Ok(Self { info, shown, tls: matches!(url.scheme(), "rediss" | "valkeys") })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(url: &str) -> String {
        Address::parse(url).unwrap().shown
    }

    #[test]
    fn passwords_are_masked_wherever_they_are() {
        assert_eq!(shown("redis://127.0.0.1:6379/0"), "redis://127.0.0.1:6379/0");
        assert_eq!(shown("redis://:secret@h:1/2"), "redis://:***@h:1/2");
        assert_eq!(shown("redis://me:secret@h"), "redis://me:***@h");
        assert_eq!(shown("redis://secret@h"), "redis://***@h");
        assert_eq!(shown("rediss://:secret@h:6380?protocol=resp3"), "rediss://:***@h:6380");
        assert_eq!(shown("unix:///run/redis.sock?db=1&pass=secret"), "unix:///run/redis.sock");
    }

    #[test]
    fn a_wrong_url_says_what_to_change_and_nothing_secret() {
        let cases = [
            ("", "empty"),
            ("localhost:6379", "no scheme"),
            ("http://:secret@localhost", "\"http\""),
            ("redis://:sec/ret@localhost", "%2F"),
            ("redis://:secret@localhost/zero", "database number"),
            ("rediss://:secret@localhost#insecure", "SSL_CERT_FILE"),
        ];
        for (url, expected) in cases {
            let Err(Error::InvalidUrl(message)) = Address::parse(url) else {
                panic!("{url:?} was accepted");
            };
            assert!(message.contains(expected), "{url:?} gave {message:?}");
            assert!(!message.contains("secret") && !message.contains("sec/ret"), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "(redis|rediss|unix|valkey|http)?(://)?[a-z0-9:@/%?#\\[\\].é -]{0,40}", any in any::<String>()) {
            let _ = Address::parse(&url);
            let _ = Address::parse(&any);
        }
    }
}
