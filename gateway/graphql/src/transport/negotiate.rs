//! Selects the media type of a response by `Accept`, and its status.
//!
//! Hand-written: the media type decides about the status of a rejected operation, equal weights prefer the newer type
//! only if it is named, and an encoding other than UTF-8 is not acceptable. The crates mime and headers-accept were not
//! measured.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};

use crate::execution_result::Stage;
use gateway_http::media::is_utf8;

/// The media types of responses that are no event streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`: 200 for every well-formed GraphQL request.
    Json,
    /// `application/graphql-response+json`: 400 for an operation that is rejected before execution.
    GraphqlResponse,
}

/// The media types that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The preferred one that is no event stream.
    pub(crate) media: Option<Media>,
    /// Whether an event stream is acceptable.
    pub(crate) event_stream: bool,
}

impl Media {
    /// Returns the `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        }
    }

    /// Returns the status of a result. All statuses of results are decided here.
    pub(crate) fn status(self, stage: Stage) -> StatusCode {
        match (stage, self) {
            (Stage::Executed, _) | (Stage::Rejected, Self::Json) => StatusCode::OK,
            (Stage::Rejected, Self::GraphqlResponse) => StatusCode::BAD_REQUEST,
            (Stage::Refused(status), _) => status,
        }
    }
}

/// Reads `Accept`; `None` if it contains no supported media type.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<Accepted> {
    let lines: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    if lines.iter().all(|line| line.trim().is_empty()) {
        return Some(Accepted { media: Some(Media::Json), event_stream: true });
    }
    let ranges: Vec<Range<'_>> = lines.iter().flat_map(|line| line.split(',')).filter_map(range).collect();
    let json = best(&ranges, "application", "json");
    let graphql = best(&ranges, "application", "graphql-response+json");
    let media = match (json, graphql) {
        (None, None) => None,
        (Some(_), None) => Some(Media::Json),
        (None, Some(_)) => Some(Media::GraphqlResponse),
        // With equal weight the newer type has precedence if `Accept` names it.
        (Some(json), Some(graphql)) => Some(match graphql.weight.cmp(&json.weight) {
            std::cmp::Ordering::Greater => Media::GraphqlResponse,
            std::cmp::Ordering::Equal if graphql.subtype != "*" => Media::GraphqlResponse,
            std::cmp::Ordering::Equal | std::cmp::Ordering::Less => Media::Json,
        }),
    };
    let event_stream = best(&ranges, "text", "event-stream").is_some();
    (media.is_some() || event_stream).then_some(Accepted { media, event_stream })
}

#[derive(Clone, Copy)]
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// Thousandths.
    weight: u16,
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let mut weight = 1_000;
    for parameter in parts {
        match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => {
                let q: f32 = value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
                // Between 0 and 1000, because `q` is between 0 and 1.
                weight = (q * 1_000.0).round() as u16;
            }
            _ if is_utf8(parameter) => {}
            _ => return None,
        }
    }
    Some(Range { kind, subtype, weight })
}

/// Returns the most specific range that matches a media type, unless its weight is 0.
fn best<'a>(ranges: &[Range<'a>], kind: &str, subtype: &str) -> Option<Range<'a>> {
    let specificity = |range: &Range<'_>| {
        if range.kind.eq_ignore_ascii_case(kind) && range.subtype.eq_ignore_ascii_case(subtype) {
            Some(2)
        } else if range.kind.eq_ignore_ascii_case(kind) && range.subtype == "*" {
            Some(1)
        } else if range.kind == "*" && range.subtype == "*" {
            Some(0)
        } else {
            None
        }
    };
    let matching = ranges.iter().filter_map(|range| Some((specificity(range)?, *range)));
    matching
        .max_by_key(|(specificity, _)| *specificity)
        .map(|(_, range)| range)
        .filter(|range| range.weight > 0)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn accept_selects_the_media_type() {
        use Media::{GraphqlResponse, Json};
        for (accept, media, event_stream) in [
            ("", Some(Json), true),
            ("*/*", Some(Json), true),
            ("application/*", Some(Json), false),
            ("application/json", Some(Json), false),
            ("application/json; charset=utf-8", Some(Json), false),
            ("application/json; charset=latin1", None, false),
            ("application/graphql-response+json", Some(GraphqlResponse), false),
            ("application/json, application/graphql-response+json", Some(GraphqlResponse), false),
            ("application/graphql-response+json;q=0.8, application/json;q=0.9", Some(Json), false),
            ("application/json, */*", Some(Json), true),
            ("application/json;q=0.5, */*", Some(GraphqlResponse), true),
            ("application/json;q=0, */*;q=0.1", Some(GraphqlResponse), true),
            (
                "application/graphql-response+json, application/json, text/event-stream, multipart/mixed",
                Some(GraphqlResponse),
                true,
            ),
            ("text/event-stream", None, true),
            ("text/html", None, false),
            ("nonsense", None, false),
            ("APPLICATION/JSON", Some(Json), false),
        ] {
            let expected = (media.is_some() || event_stream).then_some(Accepted { media, event_stream });
            assert_eq!(accepted(&headers(ACCEPT, accept)), expected, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()).unwrap().media, Some(Json));
    }

    #[test]
    fn status_depends_on_the_media_type() {
        let limit = Stage::Refused(StatusCode::PAYLOAD_TOO_LARGE);
        for media in [Media::Json, Media::GraphqlResponse] {
            assert_eq!(media.status(Stage::Executed), 200);
            assert_eq!(media.status(limit), 413);
        }
        assert_eq!(Media::Json.status(Stage::Rejected), 200);
        assert_eq!(Media::GraphqlResponse.status(Stage::Rejected), 400);
    }
}
