//! The URL of one Redis server: its accepted forms, and its form without the password.

use redis::{ConnectionInfo, IntoConnectionInfo};

use super::topology::Topology;
use crate::error::Error;

pub(super) const ACCEPTED_FORMS: &str = "use redis://host:6379/0, rediss://host:6379/0 for TLS, unix:///path/to/socket, \
    redis+sentinel://host:26379,host:26379/primary-name or redis+cluster://host:6379,host:6379";

/// A usable URL.
#[derive(Debug)]
pub(super) struct RedisUrl {
    /// How to connect to a server. With several hosts, the address is that of the first one.
    pub(super) info: ConnectionInfo,
    /// The URL for messages and logs: a password is `***`.
    pub(super) redacted: String,
    pub(super) tls: bool,
    pub(super) topology: Topology,
}

impl RedisUrl {
    /// Parses the URL of one server. The messages never repeat the input, which may contain a password at an unexpected
    /// position.
    pub(super) fn parse_server(input: &str) -> Result<Self, Error> {
        let Some(mut url) = redis::parse_redis_url(input) else {
            let reason = match input.split_once("://") {
                None => "has no scheme".to_owned(),
                Some((
                    "redis" | "rediss" | "unix" | "redis+unix" | "valkey" | "valkeys" | "valkey+unix",
                    _,
                )) => {
                    "cannot be read (in a password write / as %2F, # as %23, ? as %3F, @ as %40)".to_owned()
                }
                Some((scheme, _)) => format!("has the unknown scheme {scheme:?}"),
            };
            return Err(Error::InvalidUrl(format!("the Redis URL {reason}: {ACCEPTED_FORMS}")));
        };
        if url.fragment().is_some() {
            return Err(Error::InvalidUrl(
                "the Redis URL has a part after #: remove it. To trust a private certificate authority, \
                 set --redis-ca (ORDERS_REDIS_CA) to its file"
                    .to_owned(),
            ));
        }
        check_options(url.scheme(), url.query_pairs().map(|(name, _)| name.into_owned()))?;
        let info = url.clone().into_connection_info().map_err(|cause| {
            // The client appends the kind of its error, which is not useful here.
            let cause = cause.to_string();
            let reason = cause.split(" - ").next().unwrap_or_default().to_lowercase();
            Error::InvalidUrl(format!("the Redis URL is not usable ({reason}): {ACCEPTED_FORMS}"))
        })?;

        // The URL of a socket has the password in its query. `set_…` fails for URLs without a host, which have no user
        // part either.
        url.set_query(None);
        let redaction = match (url.password(), url.username()) {
            (Some(_), _) => url.set_password(Some("***")),
            (None, "") => Ok(()),
            // `redis://secret@host` is a password without its colon.
            (None, _) => url.set_username("***"),
        };
        let redacted = if redaction.is_ok() { url.to_string() } else { info.addr().to_string() };
        let tls = matches!(url.scheme(), "rediss" | "valkeys");
        Ok(Self { info, redacted, tls, topology: Topology::Server })
    }
}

/// Rejects unknown options. The client ignores them, and a connection must not be less protected than its URL suggests.
fn check_options(scheme: &str, names: impl Iterator<Item = String>) -> Result<(), Error> {
    let is_socket = scheme.ends_with("unix");
    let known: &[&str] = if is_socket { &["db", "user", "pass", "protocol"] } else { &["protocol"] };
    let mut seen = Vec::new();
    for name in names {
        if !known.contains(&name.as_str()) {
            // An option that does not look like a name may be a part of the password.
            let is_name =
                name.len() <= 40 && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
            let named = if is_name { format!("the option {name}") } else { "an option".to_owned() };
            return Err(Error::InvalidUrl(format!(
                "the Redis URL has {named}, which this program does not know: {}",
                alternative_to(&name.to_lowercase())
            )));
        }
        if seen.contains(&name) {
            return Err(Error::InvalidUrl(format!(
                "the Redis URL has the option {name} twice: write it once"
            )));
        }
        seen.push(name);
    }
    Ok(())
}

/// Returns what to use instead of an option of another program.
fn alternative_to(name: &str) -> &'static str {
    match name {
        _ if name.contains("ssl") || name.contains("tls") || name.contains("secure") => {
            "use rediss:// for TLS; certificates are checked, those of a private authority with its file in --redis-ca (ORDERS_REDIS_CA)"
        }
        "db" | "database" => "write the number behind the host, as in redis://host:6379/1",
        "password" | "pass" | "username" | "user" | "auth" => "use redis://user:password@host:6379",
        _ => "remove it",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(url: &str) -> String {
        RedisUrl::parse(url).unwrap().redacted
    }

    #[test]
    fn passwords_are_redacted() {
        assert_eq!(redacted("redis://127.0.0.1:6379/0"), "redis://127.0.0.1:6379/0");
        assert_eq!(redacted("redis://:secret@h:1/2"), "redis://:***@h:1/2");
        assert_eq!(redacted("redis://me:secret@h"), "redis://me:***@h");
        assert_eq!(redacted("redis://secret@h"), "redis://***@h");
        assert_eq!(redacted("rediss://:secret@h:6380?protocol=resp3"), "rediss://:***@h:6380");
        assert_eq!(redacted("valkeys://:secret@h:6380"), "valkeys://:***@h:6380");
        assert_eq!(redacted("unix:///run/redis.sock?db=1&pass=secret"), "unix:///run/redis.sock");
    }

    #[test]
    fn error_for_invalid_url_names_the_change_and_no_secret() {
        let cases = [
            ("", "empty"),
            ("localhost:6379", "no scheme"),
            ("http://:secret@localhost", "\"http\""),
            ("redis://:sec/ret@localhost", "%2F"),
            ("redis://:secret@localhost/zero", "database number"),
            ("rediss://:secret@localhost#insecure", "--redis-ca"),
            ("redis://:secret@localhost?ssl=true", "rediss://"),
            ("redis://:secret@localhost?TLS=1", "rediss://"),
            ("redis://:secret@localhost/?ssl_cert_reqs=required", "rediss://"),
            ("redis://localhost?db=1", "behind the host"),
            ("redis://localhost?password=secret", "user:password@host"),
            ("redis://localhost?protocol=resp2&protocol=resp3", "twice"),
            ("redis://localhost?timeout=5", "remove it"),
            ("unix:///run/redis.sock?pass=secret&ssl=true", "rediss://"),
        ];
        for (url, expected) in cases {
            let Err(Error::InvalidUrl(message)) = RedisUrl::parse(url) else {
                panic!("{url:?} was accepted");
            };
            assert!(message.contains(expected), "{url:?} gave {message:?}");
            assert!(!message.contains("secret") && !message.contains("sec/ret"), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "(redis|rediss|unix|valkey|http)?(://)?[a-z0-9:@/%?#\\[\\].é -]{0,40}", any in any::<String>()) {
            let _ = RedisUrl::parse(&url);
            let _ = RedisUrl::parse(&any);
        }
    }
}
