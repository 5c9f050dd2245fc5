//! The result of a request.

use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The maximum number of bytes of a response that an outcome contains.
pub const MAX_KEPT_BYTES: usize = 1024;
/// The number of bytes of a response after which the connection is closed.
pub const MAX_READ_BYTES: usize = 64 * 1024;

/// The result of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The class of the result.
    pub kind: OutcomeKind,
    /// The status, if the receiver answered.
    pub status: Option<u16>,
    /// The time from the start of the request until the end of the response.
    pub duration: Duration,
    /// The first [`MAX_KEPT_BYTES`] of the body. The text of a stranger: it may contain anything.
    pub response: Vec<u8>,
    /// The pause that the receiver requests; zero for a date in the past.
    pub retry_after: Option<Duration>,
    /// The reason why there is no status. It never contains the URL.
    pub error: Option<String>,
}

/// The classes of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// 2xx: the receiver has the message.
    Delivered,
    /// 410: the receiver wants no further messages.
    Gone,
    /// Any other 4xx, or a redirect: the receiver refuses this message.
    Rejected,
    /// 408, 425, 429, 502, 503 or 504: the receiver is overloaded or absent.
    Throttled,
    /// Any other 5xx: the receiver failed.
    Failed,
    /// No response in time.
    Timeout,
    /// The name cannot be resolved, or the connection failed.
    Unreachable,
    /// The address is not permitted. No connection was opened.
    Refused,
}

impl OutcomeKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Gone,
        Self::Rejected,
        Self::Throttled,
        Self::Failed,
        Self::Timeout,
        Self::Unreachable,
        Self::Refused,
    ];

    /// Returns the name for metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::Rejected => "rejected",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }

    /// Returns the kind of a response.
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered,
            410 => Self::Gone,
            408 | 425 | 429 | 502 | 503 | 504 => Self::Throttled,
            500.. => Self::Failed,
            _ => Self::Rejected,
        }
    }
}

/// Appends the start of the body to `kept`.
///
/// It ends early if the connection breaks: the status is known, so an incomplete body does not matter.
pub(crate) async fn read_start(mut response: Response, kept: &mut Vec<u8>) {
    let mut read = 0;
    while read < MAX_READ_BYTES {
        let Ok(Some(chunk)) = response.chunk().await else { return };
        read += chunk.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(MAX_KEPT_BYTES - kept.len())]);
    }
}

/// Parses seconds or an HTTP date. Any other value is ignored.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_kind() {
        for (statuses, kind) in [
            (vec![200, 201, 204, 299], OutcomeKind::Delivered),
            (vec![410], OutcomeKind::Gone),
            (vec![100, 301, 302, 304, 307, 400, 401, 404, 409, 422, 499], OutcomeKind::Rejected),
            (vec![408, 425, 429, 502, 503, 504], OutcomeKind::Throttled),
            (vec![500, 501, 505, 599, 999], OutcomeKind::Failed),
        ] {
            for status in statuses {
                assert_eq!(OutcomeKind::of_status(status), kind, "{status}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, expected) in [
            ("17", Some(17)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 09:49:37 GMT", Some(3_600)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:38 GMT", Some(1)),
            ("18446744073709551615", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
