//! The schema, assembled from its parts.

use std::sync::Arc;

use async_graphql::{MergedObject, SDLExportOptions, Schema, SchemaBuilder, ValidationMode};

use super::budget::Metered;
use super::bulk::BulkMutation;
use super::dead_letters::DeadLetterMutation;
use super::mutation::OrderMutation;
use super::query::OrderQuery;
use super::queue::{QueueMutation, QueueQuery};
use super::services::Services;
use super::subscription::Subscription;

/// Queries.
#[derive(MergedObject, Default)]
pub(super) struct Query(OrderQuery, QueueQuery);

/// Mutations.
#[derive(MergedObject, Default)]
pub(super) struct Mutation(OrderMutation, BulkMutation, DeadLetterMutation, QueueMutation);

pub(super) type OrdersSchema = Schema<Query, Mutation, Subscription>;

/// The schema that counts the bytes of what is resolved.
pub(super) fn metered(services: Arc<Services>) -> OrdersSchema {
    builder().data(services).extension(Metered).finish()
}

/// The schema that does not count bytes.
pub(super) fn plain(services: Arc<Services>) -> OrdersSchema {
    builder().data(services).finish()
}

/// The schema in SDL, as `schema.graphql` contains it.
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

/// Operations are validated before they are executed (`language`).
pub(super) fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query::default(), Mutation::default(), Subscription).validation_mode(ValidationMode::Fast)
}
