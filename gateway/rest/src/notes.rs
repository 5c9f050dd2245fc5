//! The notes of an order.

use axum::Json;
use axum::extract::{Request, State};
use domain::{ErrorCode, Note, NoteContent, OrderId, Timestamp};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::commands::{actor, request_id, requested_by};
use super::order_path::OrderPath;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::{InputError, Problem};

/// Note of an order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Note, rename_all = "camelCase")]
pub(super) struct NoteView {
    /// The order's id.
    #[schema(value_type = String, format = Uuid)]
    order_id: OrderId,
    /// Number within the order, from 1. It is independent of the sequences of events.
    #[schema(value_type = i64, example = 1, minimum = 1)]
    number: u32,
    /// Content.
    #[schema(example = "in box 7")]
    text: String,
    /// Milestone that the order has reached; null without one.
    #[schema(required, example = "packed")]
    milestone: Option<String>,
    /// Whether the customer sees it on the tracking page.
    public: bool,
    /// Name of its author.
    #[schema(example = "key:k3J9x2Qa (ann)")]
    author: String,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000000Z")]
    created_at: Timestamp,
}

impl From<Note> for NoteView {
    fn from(note: Note) -> Self {
        let Note { order_id, number, content, author, created_at } = note;
        let NoteContent { text, milestone, is_public: public } = content;
        Self { order_id, number, text, milestone, public, author, created_at }
    }
}

/// Note to add.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"text": "in box 7", "milestone": "packed", "public": true}))]
#[expect(dead_code, reason = "`read` decodes the members")]
struct NewNote {
    /// Content: 1 to 1,000 characters, no control characters.
    #[schema(min_length = 1, max_length = 1000)]
    text: String,
    /// Milestone that the order has reached: 1 to 32 lower-case letters, digits, `_` or `-`.
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z0-9_-]{1,32}$")]
    milestone: Option<String>,
    /// Whether the customer sees it on the tracking page. Default: false.
    public: Option<bool>,
    /// Author: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    requested_by: Option<String>,
}

/// Returns the notes of an order, oldest first, at most 100.
#[utoipa::path(
    get, path = "/orders/{id}/notes", tag = "orders", operation_id = "listNotes",
    params(("id" = String, Path, format = Uuid, description = "The order's id.")),
    responses(
        (status = 200, description = "The notes.", body = Vec<NoteView>),
        (status = 400, description = "`invalid_order_id`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
) -> Result<Json<Vec<NoteView>>, ApiError> {
    let notes = state.orders.notes(&principal, id).await?;
    Ok(Json(notes.into_iter().map(Into::into).collect()))
}

/// Adds a note to an order in any status. A note is no event: it takes no sequence. Repeating the request adds another
/// note.
#[utoipa::path(
    post, path = "/orders/{id}/notes", tag = "orders", operation_id = "addNote",
    params(("id" = String, Path, format = Uuid, description = "The order's id.")),
    request_body(content = NewNote, content_type = "application/json"),
    responses(
        (status = 201, description = "The note.", body = NoteView),
        (status = 400, description = "`invalid_order_id`, `malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`note_limit`: the order has 100 notes", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn add(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
    request: Request,
) -> Result<(StatusCode, Json<NoteView>), ApiError> {
    let request_id = request_id(request.headers());
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let (content, name) = read(&body)?;
    let note = state.orders.add_note(&principal, id, &content, &actor(name, request_id)).await?;
    Ok((StatusCode::CREATED, Json(note.into())))
}

fn read(body: &[u8]) -> Result<(NoteContent, Option<String>), Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let fields = decoder.object("", document, &["text", "milestone", "public", "requestedBy"]);
    let Some(fields) = fields else {
        return decoder.finish().and_then(|()| checked(None, None, false)).map(|content| (content, None));
    };
    let text = fields.get("text").and_then(|(at, value)| decoder.text(&at, value));
    let milestone = fields.get("milestone").and_then(|(at, value)| decoder.text(&at, value));
    let is_public = fields.get("public").and_then(|(at, value)| decoder.boolean(&at, value));
    let requested_by = requested_by(&mut decoder, &fields);
    decoder.finish()?;
    Ok((checked(text, milestone, is_public.unwrap_or(false))?, requested_by))
}

fn checked(text: Option<String>, milestone: Option<String>, is_public: bool) -> Result<NoteContent, Problem> {
    NoteContent::check(text, milestone, is_public).map_err(|problems| {
        let errors = problems.into_iter();
        let errors = errors.map(|problem| InputError::field(format!("/{}", problem.field), problem.message));
        Problem::input(ErrorCode::InvalidInput, errors.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_with_its_milestone() {
        let (content, name) =
            read(br#"{"text":"in box 7","milestone":"packed","public":true,"requestedBy":"ann"}"#).unwrap();
        let expected = NoteContent::check(Some("in box 7".into()), Some("packed".into()), true).unwrap();
        assert_eq!((content, name.as_deref()), (expected, Some("ann")));
        assert!(!read(br#"{"text":"x"}"#).unwrap().0.is_public);
        for bad in [
            "[]",
            "{}",
            r#"{"text":""}"#,
            r#"{"text":"x","milestone":"Packed"}"#,
            r#"{"text":"x","public":1}"#,
        ] {
            assert_eq!(read(bad.as_bytes()).unwrap_err().code(), ErrorCode::InvalidInput, "{bad}");
        }
    }
}
