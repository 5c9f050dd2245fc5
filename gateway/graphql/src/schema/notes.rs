//! The notes of orders.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use domain::{ErrorCode, NoteContent};

use crate::errors::to_graphql_error;
use crate::schema::mutation::{UserError, actor, order_id};
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};
use gateway_service::Error;

/// Note of an order.
#[derive(SimpleObject)]
pub(crate) struct OrderNote {
    /// The id of the order.
    order_id: ID,
    /// Number within the order, from 1. It is independent of the sequences of events.
    number: i32,
    /// Content.
    text: String,
    /// Milestone that the order has reached; null without one.
    milestone: Option<String>,
    /// Whether the customer sees it on the tracking page.
    public: bool,
    /// Name of its author.
    author: String,
    /// Time of creation.
    created_at: DateTime,
}

impl From<domain::Note> for OrderNote {
    fn from(note: domain::Note) -> Self {
        Self {
            order_id: note.order_id.to_string().into(),
            number: i32::try_from(note.number).unwrap_or(i32::MAX),
            text: note.content.text,
            milestone: note.content.milestone,
            public: note.content.is_public,
            author: note.author,
            created_at: DateTime(note.created_at),
        }
    }
}

/// The note to add.
#[derive(InputObject)]
pub(crate) struct AddNoteInput {
    /// The id of the order.
    order_id: ID,
    /// Content: 1 to 1,000 characters, no control characters.
    text: String,
    /// Milestone that the order has reached: 1 to 32 lower-case letters, digits, `_` or `-`.
    milestone: Option<String>,
    /// Whether the customer sees it on the tracking page.
    #[graphql(default = false)]
    public: bool,
    /// Author: 1 to 100 characters.
    requested_by: Option<String>,
}

/// The note or the errors.
#[derive(SimpleObject)]
pub(crate) struct AddNotePayload {
    /// The note; null on an error.
    note: Option<OrderNote>,
    /// The errors; empty on success.
    user_errors: Vec<UserError>,
}

/// The query of notes.
#[derive(Default)]
pub(crate) struct NoteQuery;

/// The query of notes.
#[Object]
impl NoteQuery {
    /// Returns the notes of an order, oldest first, at most 100; null if the order does not exist.
    async fn order_notes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the order.")] order_id: ID,
    ) -> Option<Result<Vec<OrderNote>>> {
        // A string that is not an order id identifies no order.
        let id = order_id.parse().ok()?;
        match ctx.data_unchecked::<Arc<Services>>().orders.notes(caller(ctx), id).await {
            Ok(notes) => Some(Ok(notes.into_iter().map(Into::into).collect())),
            Err(Error::NotFound(_)) => None,
            Err(error) => Some(Err(to_graphql_error(error))),
        }
    }
}

/// The mutation of notes.
#[derive(Default)]
pub(crate) struct NoteMutation;

/// The mutation of notes.
#[Object]
impl NoteMutation {
    /// Adds a note to an order in any status. A note is no event: it takes no sequence. Repeating the
    /// mutation adds another note.
    async fn add_note(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order and the note.")] input: AddNoteInput,
    ) -> Option<Result<AddNotePayload>> {
        let refused = |user_errors| Some(Ok(AddNotePayload { note: None, user_errors }));
        let (id, actor) = match (order_id(&input.order_id), actor(ctx, input.requested_by)) {
            (Ok(id), Ok(actor)) => (id, actor),
            (Err(error), _) | (_, Err(error)) => return refused(vec![error]),
        };
        let content = match NoteContent::check(Some(input.text), input.milestone, input.public) {
            Ok(content) => content,
            Err(problems) => {
                let error = |problem: domain::InvalidNote| UserError::input(problem.field, problem.message);
                return refused(problems.into_iter().map(error).collect());
            }
        };
        match ctx.data_unchecked::<Arc<Services>>().orders.add_note(caller(ctx), id, &content, &actor).await {
            Ok(note) => Some(Ok(AddNotePayload { note: Some(note.into()), user_errors: Vec::new() })),
            Err(error @ (Error::NotFound(_) | Error::NoteLimit(_))) => {
                let (code, message): (ErrorCode, _) = (error.code(), error.to_string());
                let field = Some(vec!["input".to_owned(), "orderId".to_owned()]);
                refused(vec![UserError { code: code.to_string(), message, field }])
            }
            Err(error) => Some(Err(to_graphql_error(error))),
        }
    }
}
