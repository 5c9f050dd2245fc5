//! The URL of Redis.

use std::fmt;

use super::ValueError;

const HINT: &str = "use redis://host:6379, redis://user:password@host:6379/0, rediss://… for TLS, unix:///path, \
    redis+sentinel://host:26379,host:26379/primary-name or redis+cluster://host:6379,host:6379";

/// The URL of a Redis server, or of the hosts of an installation with several servers.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl {
    text: String,
    redacted: String,
}

impl RedisUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, ValueError> {
        match broker::redis::redact_url(text) {
            Ok(redacted) => Ok(Self { text: text.to_owned(), redacted }),
            Err(error) => {
                let message = error.to_string();
                let message = message.strip_prefix("the Redis URL ").unwrap_or(&message);
                let (problem, hint) = message.split_once(": ").unwrap_or((message, HINT));
                Err(ValueError::new(format!("it {problem}"), hint))
            }
        }
    }

    /// Returns the URL with its password.
    pub(crate) fn expose_secret(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_and_shown_without_passwords() {
        for (text, shown) in [
            ("redis://:hush@cache/0", "redis://:***@cache/0"),
            (
                "redis+sentinel://:hush@a,b:1/shop?sentinel-password=hush",
                "redis+sentinel://:***@a:26379,b:1/shop",
            ),
            ("rediss+cluster://me:hush@a,b", "rediss+cluster://me:***@a:6379,b:6379"),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.expose_secret()), (shown, text));
        }
        for (text, problem, hint) in [
            ("hush", "it has no scheme", "redis+sentinel://"),
            ("http://x", "it has the unknown scheme \"http\"", "redis://host"),
            ("redis+cluster://:hush@a/3", "a cluster has only number 0", "remove it"),
        ] {
            let error = RedisUrl::parse(text).unwrap_err();
            assert!(error.problem.contains(problem) && error.hint.contains(hint), "{error:?}");
            assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        }
    }
}
