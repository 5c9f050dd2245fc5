//! The URL of an installation of Redis.

use super::server_url::{ACCEPTED_FORMS, RedisUrl};
use super::url_list::HostList;
use crate::error::Error;

impl RedisUrl {
    /// Parses a URL with one host or several.
    pub(super) fn parse(input: &str) -> Result<Self, Error> {
        let input = input.trim();
        if input.is_empty() {
            return Err(Error::InvalidUrl(format!("the Redis URL is empty: {ACCEPTED_FORMS}")));
        }
        match HostList::split(input) {
            Some(list) => list.parse(),
            None => Self::parse_server(input),
        }
    }
}

/// Checks a URL, and returns it without its password.
///
/// # Errors
/// [`Error::InvalidUrl`], which states what to change and has no password.
pub fn redact_url(url: &str) -> Result<String, Error> {
    RedisUrl::parse(url).map(|url| url.redacted)
}
