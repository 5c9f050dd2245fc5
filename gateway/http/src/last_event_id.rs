//! The id of the last event that a client of server-sent events has received.

use http::{HeaderMap, HeaderName};
use url::form_urlencoded;

/// The header that browsers send when they reconnect.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The query parameter that replacements of `EventSource` send, because they cannot set headers.
pub const PARAMETER: &str = "lastEventId";

/// The place of an invalid value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEventId {
    #[error("`Last-Event-ID` must be the sequence of an event, a whole number")]
    /// In the header `Last-Event-ID`.
    Header,
    #[error("`lastEventId` must be the sequence of an event, a whole number")]
    /// In the query parameter.
    Parameter,
}

/// Returns the sequence that the client received last.
///
/// The header has priority over the parameter. Empty values count as absent.
pub fn last_event_id(query: Option<&str>, headers: &HeaderMap) -> Result<Option<u32>, InvalidEventId> {
    let header = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty());
    let header = header.map(|value| {
        let sequence = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        sequence.ok_or(InvalidEventId::Header)
    });
    let mut named = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(|(name, value)| name == PARAMETER && !value.is_empty());
    let parameter =
        named.next().map(|(_, value)| value.trim().parse().map_err(|_| InvalidEventId::Parameter));
    if named.next().is_some() {
        return Err(InvalidEventId::Parameter);
    }
    // Both must be valid, even the one without effect.
    Ok(header.transpose()?.or(parameter.transpose()?))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn header_has_priority_over_the_parameter() {
        for (header, query, found) in [
            (None, "", Ok(None)),
            (Some("3"), "", Ok(Some(3))),
            (Some(" 3 "), "lastEventId=7", Ok(Some(3))),
            (Some(""), "lastEventId=7", Ok(Some(7))),
            (None, "after=1&lastEventId=7", Ok(Some(7))),
            (None, "lastEventId=", Ok(None)),
            (None, "lasteventid=7", Ok(None)),
            (Some("x"), "lastEventId=7", Err(InvalidEventId::Header)),
            (Some("-1"), "", Err(InvalidEventId::Header)),
            (Some("4294967296"), "", Err(InvalidEventId::Header)),
            (Some("3"), "lastEventId=x", Err(InvalidEventId::Parameter)),
            (None, "lastEventId=x", Err(InvalidEventId::Parameter)),
            (None, "lastEventId=-1", Err(InvalidEventId::Parameter)),
            (None, "lastEventId=1&lastEventId=2", Err(InvalidEventId::Parameter)),
        ] {
            let headers =
                header.map(|value| (LAST_EVENT_ID, HeaderValue::from_static(value))).into_iter().collect();
            assert_eq!(last_event_id(Some(query), &headers), found, "{header:?} {query}");
        }
    }
}
