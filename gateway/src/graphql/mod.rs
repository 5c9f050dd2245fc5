//! GraphQL on `/graphql`: over HTTP, server-sent events and websockets.
//!
//! | to see | read |
//! |---|---|
//! | the schema | [`types`], [`query`], [`list`], [`mutation`], [`bulk`], [`dead_letters`], [`queue`], [`subscription`], [`scalars`] |
//! | which documents are refused | [`guard`] |
//! | how a document is parsed, validated and coerced | [`language`] |
//! | how long a response may be | [`budget`] |
//! | how much large operations hold together | [`room`] |
//! | documents that are named and not sent | [`documents`] |
//! | how it is not parsed again | [`parsed`] |
//! | how an operation is run | [`engine`], and of a subscription that waits: [`live`] |
//! | the three ways in | [`http`], [`sse`], [`ws`] (what is said on it: [`protocol`]) |
//! | the codes of errors | [`errors`] |
//!
//! Resolvers call the use cases, the feed and, for reads, the loader and the counts. The ready handlers of
//! async-graphql are not used for requests: they run mutations by `GET` and from forms of other
//! sites, answer broken requests with 200, and let one small document keep a processor busy for
//! minutes.

mod budget;
mod bulk;
mod dead_letters;
mod documents;
mod engine;
mod errors;
mod guard;
mod http;
mod language;
mod list;
mod live;
pub(crate) mod loader;
mod mutation;
mod negotiate;
mod params;
mod parsed;
mod protocol;
mod query;
mod queue;
mod room;
mod scalars;
mod sse;
mod subscription;
mod types;
mod ws;

use std::sync::Arc;

use async_graphql::{MergedObject, SDLExportOptions, Schema, SchemaBuilder, ValidationMode};
use axum::routing::MethodRouter;
use axum::{Extension, Router};
use broker::Queue;
use domain::Currency;
use tower::ServiceBuilder;

use self::budget::Metered;
use self::bulk::BulkMutation;
use self::dead_letters::DeadLetterMutation;
pub use self::documents::TrustedDocuments;
use self::engine::{Engine, Schemas};
#[cfg(test)]
pub(crate) use self::errors::status;
use self::loader::{EventLoader, OrderLoader};
use self::mutation::OrderMutation;
pub use self::protocol::InitCheck;
use self::query::OrderQuery;
use self::queue::{QueueMutation, QueueQuery};
use self::subscription::Subscription;
use crate::App;
use crate::feed::Feed;
use crate::orders::Orders;
use crate::vitals::Vitals;

/// Queries.
#[derive(MergedObject, Default)]
struct Query(OrderQuery, QueueQuery);

/// Mutations.
#[derive(MergedObject, Default)]
struct Mutation(OrderMutation, BulkMutation, DeadLetterMutation, QueueMutation);

type OrdersSchema = Schema<Query, Mutation, Subscription>;

/// What resolvers work with.
struct Services {
    orders: Orders,
    feed: Feed,
    queue: Arc<dyn Queue>,
    vitals: Vitals,
    order_loader: OrderLoader,
    event_loader: EventLoader,
    default_currency: Currency,
}

/// The routes.
pub fn routes(app: &App) -> Router<App> {
    let batch_size = app.config.batch_size;
    let services = Services {
        orders: app.orders.clone(),
        feed: app.feed.clone(),
        queue: app.queue.clone(),
        vitals: app.vitals.clone(),
        order_loader: loader::orders(app.orders.clone(), batch_size),
        event_loader: loader::events(app.orders.clone(), batch_size),
        default_currency: app.config.default_currency,
    };
    let services = Arc::new(services);
    let schemas = Schemas {
        metered: builder().data(Arc::clone(&services)).extension(Metered).finish(),
        plain: builder().data(services).finish(),
    };
    let engine = Engine::new(schemas, Arc::clone(&app.config));
    let methods = MethodRouter::new().get(http::get).post(http::post);
    let shared = ServiceBuilder::new().layer(Extension(engine));
    Router::new().route("/graphql", methods.layer(shared))
}

/// The schema in SDL, as `schema.graphql` has it.
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

/// What is executed was validated before ([`language`]).
fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query::default(), Mutation::default(), Subscription).validation_mode(ValidationMode::Fast)
}

#[cfg(test)]
mod tests;
