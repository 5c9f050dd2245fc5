//! The metadata of an order: reads it with its version, and changes it by a JSON merge patch (RFC 7396).

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use domain::{ErrorCode, Metadata, MetadataPatch};
use gateway_store::metadata_version;
use http::{HeaderMap, HeaderValue, header};

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::commands::{actor, request_id};
use super::metadata_schema::{MetadataView, PatchSchema};
use super::order_path::OrderPath;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::{InputError, Problem};
use gateway_service::Error;

/// Maximum number of versions in `If-Match`.
const MAX_VERSIONS: usize = 10;

/// Returns the metadata of an order. `ETag` is its version, for `If-Match` of a change.
#[utoipa::path(
    get, path = "/orders/{id}/metadata", tag = "orders", operation_id = "getMetadata",
    params(("id" = String, Path, format = Uuid, description = "The order's id.")),
    responses(
        (status = 200, description = "The metadata.", body = MetadataView,
            headers(("ETag" = String, description = "The version of the metadata."))),
        (status = 400, description = "`invalid_order_id`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
) -> Result<Response, ApiError> {
    Ok(response(&state.orders.get(&principal, id).await?.metadata))
}

/// Changes the metadata of an order in any status: a JSON merge patch (RFC 7396). The change is no event and takes no
/// sequence. With `If-Match` it is made only while the metadata has this version, else to its present content.
#[utoipa::path(
    patch, path = "/orders/{id}/metadata", tag = "orders", operation_id = "updateMetadata",
    params(
        ("id" = String, Path, format = Uuid, description = "The order's id."),
        ("If-Match" = Option<String>, Header, description = "Expected version: the `ETag` of the metadata, or `*`. Up to 10, separated by commas.", pattern = "^(\\*|\"[0-9a-f]{1,64}\"( *, *\"[0-9a-f]{1,64}\"){0,9})$"),
    ),
    request_body(content((PatchSchema = "application/merge-patch+json"), (PatchSchema = "application/json"))),
    responses(
        (status = 200, description = "The metadata after the change.", body = MetadataView,
            headers(("ETag" = String, description = "The version of the metadata."))),
        (status = 400, description = "`invalid_order_id`, `malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 412, description = "`metadata_changed`: the metadata has another version", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_order`: a key, a value or the result breaks a rule", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn update(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
    request: Request,
) -> Result<Response, ApiError> {
    let actor = actor(None, request_id(request.headers()));
    let expected = expected(request.headers())?;
    let body = body::merge_patch(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let patch = patch(&body)?;
    match state.orders.update_metadata(&principal, id, &patch, expected.as_deref(), &actor).await {
        Ok(order) => Ok(response(&order.metadata)),
        // The body is the metadata, and no field of it.
        Err(Error::Invalid(problems)) => {
            let errors = problems.into_iter().map(|problem| InputError::field("", problem.message));
            Err(Problem::input(ErrorCode::InvalidOrder, errors.collect()).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn patch(body: &[u8]) -> Result<MetadataPatch, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let entries = decoder.strings("", document);
    decoder.finish()?;
    Ok(MetadataPatch(entries.unwrap_or_default()))
}

/// Parses `If-Match`: the versions, or `None` without the header and for `*`, because the order has to exist anyway.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<Vec<String>>, Problem> {
    let refuse = || {
        let detail = "`If-Match` must be `*` or up to 10 versions in quotes, as `ETag` states them";
        Problem::new(ErrorCode::InvalidInput, detail)
    };
    let mut versions = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let text = value.to_str().map_err(|_| refuse())?.trim();
        if text == "*" {
            return Ok(None);
        }
        for tag in text.split(',') {
            let version =
                tag.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(refuse)?;
            if versions.len() >= MAX_VERSIONS || version.contains('"') {
                return Err(refuse());
            }
            versions.push(version.to_owned());
        }
    }
    Ok((!versions.is_empty()).then_some(versions))
}

fn response(metadata: &Metadata) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/json")], metadata.to_json()).into_response();
    // Hexadecimal digits in quotes are a valid header value.
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", metadata_version(metadata))) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_quotes() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, HeaderValue::from_static(value));
            }
            expected(&headers).map_err(|problem| problem.code())
        };
        let versions = |versions: &[&str]| Ok(Some(versions.iter().map(|one| (*one).to_owned()).collect()));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(None));
        assert_eq!(read(&["\"a1\""]), versions(&["a1"]));
        assert_eq!(read(&["\"a\", \"b\"", "\"c\""]), versions(&["a", "b", "c"]));
        for bad in ["a1", "W/\"a1\"", "\"a", "", "\"a\",", "\"a\"b\""] {
            assert_eq!(read(&[bad]), Err(ErrorCode::InvalidInput), "{bad}");
        }
        assert!(read(&["\"a\""; MAX_VERSIONS]).is_ok());
        assert!(read(&["\"a\""; MAX_VERSIONS + 1]).is_err());
    }

    #[test]
    fn a_patch_has_strings_and_nulls() {
        let entries = patch(br#"{"a":"1","b":null}"#).unwrap().0;
        assert_eq!(entries, [("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)]);
        for bad in ["[]", "null", r#"{"a":1}"#] {
            assert_eq!(patch(bad.as_bytes()).unwrap_err().code(), ErrorCode::InvalidInput, "{bad}");
        }
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "keys of the metadata in a filter; versions in `If-Match`",
            &format!("{}; {MAX_VERSIONS}", domain::MAX_METADATA_CONDITIONS),
        );
    }
}
