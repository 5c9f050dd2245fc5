//! The schema, assembled from its parts. The doc comments of its types are the descriptions for clients.

mod access;
mod api_key_input;
mod bulk;
mod cancel_orders;
mod dead_letter_groups;
mod dead_letters;
mod event_log;
pub(crate) mod list;
mod metadata;
mod metadata_entry;
mod mutation;
mod notes;
mod operations;
mod query;
mod queue;
mod replace;
pub(crate) mod scalars;
pub(crate) mod subscription;
mod system;
mod tracking;
mod types;
mod webhook_input;
mod webhook_payloads;
mod webhook_types;
mod webhooks;

use std::sync::Arc;

use async_graphql::{MergedObject, SDLExportOptions, Schema, SchemaBuilder, ValidationMode};

use self::access::{AccessMutation, AccessQuery};
use self::bulk::BulkMutation;
use self::cancel_orders::CancelOrdersMutation;
use self::dead_letters::DeadLetterMutation;
use self::event_log::EventLogQuery;
use self::metadata::MetadataMutation;
use self::mutation::OrderMutation;
use self::notes::{NoteMutation, NoteQuery};
use self::operations::OperationsQuery;
use self::query::OrderQuery;
use self::queue::{QueueMutation, QueueQuery};
use self::replace::ReplaceMutation;
use self::subscription::Subscription;
use self::system::SystemQuery;
use self::tracking::TrackingMutation;
use self::webhooks::{WebhookMutation, WebhookQuery};
use crate::response_budget::Metered;
use crate::services::Services;

/// Queries.
#[derive(MergedObject, Default)]
pub(crate) struct Query(
    OrderQuery,
    NoteQuery,
    EventLogQuery,
    QueueQuery,
    WebhookQuery,
    AccessQuery,
    OperationsQuery,
    SystemQuery,
);

/// Mutations.
#[derive(MergedObject, Default)]
pub(crate) struct Mutation(
    OrderMutation,
    MetadataMutation,
    ReplaceMutation,
    NoteMutation,
    BulkMutation,
    CancelOrdersMutation,
    DeadLetterMutation,
    QueueMutation,
    TrackingMutation,
    WebhookMutation,
    AccessMutation,
);

pub(crate) type OrdersSchema = Schema<Query, Mutation, Subscription>;

/// Returns the schema that counts the bytes of resolved values.
pub(crate) fn metered(services: Arc<Services>) -> OrdersSchema {
    builder().data(services).extension(Metered).finish()
}

/// Returns the schema that does not count bytes.
pub(crate) fn plain(services: Arc<Services>) -> OrdersSchema {
    builder().data(services).finish()
}

/// Returns the SDL of the schema, the content of `schema.graphql`.
pub fn sdl() -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .include_specified_by()
        .prefer_single_line_descriptions()
        .use_space_ident()
        .indent_width(2);
    builder().finish().sdl_with_options(options)
}

/// Returns the builder of the schema. The module `language` validates operations before async-graphql executes them.
pub(crate) fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query::default(), Mutation::default(), Subscription).validation_mode(ValidationMode::Fast)
}
