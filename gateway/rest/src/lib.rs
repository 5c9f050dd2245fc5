//! The REST API: `/orders`, dead letters, the queue and webhooks.
//!
//! A handler parses its input, calls one use case and returns the outcome. It makes no decisions.

mod api_error;
mod api_keys;
mod audit_log;
mod bulk_body;
mod bulk_create;
mod bulk_limiter;
mod cache_control;
mod cancel_orders;
mod check;
mod client;
mod commands;
mod create_order;
mod csv;
mod dead_letter_groups;
mod dead_letters;
mod draft;
mod event_log;
mod event_view;
mod events;
mod export;
mod filter;
mod get_order;
mod list;
mod list_item;
mod long_poll;
mod metadata;
mod metadata_schema;
mod notes;
mod order_path;
mod order_view;
mod page;
mod queue;
mod replace_order;
mod row_result;
pub mod schema;
mod state;
mod stats;
mod system;
mod tracking;
mod webhook_messages;
mod webhook_recovery;
mod webhook_requests;
mod webhook_views;
mod webhooks;
mod workers;

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use axum::routing::future::RouteFuture;
use tower::layer::layer_fn;
use tower::{Service, service_fn};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use gateway_http::fallback;

pub use self::bulk_limiter::MAX_BULK_WAIT;
pub use self::check::check;
pub use self::state::{Config, RestState, StateParts};

/// Returns the routes with their documentation.
///
/// `longest` is the maximum time from the request to the response head. Streams begin within it and can last longer.
pub fn routes(longest: Duration) -> OpenApiRouter<RestState> {
    let may_wait = OpenApiRouter::new()
        .routes(routes!(get_order::get))
        .routes(routes!(events::events))
        .routes(routes!(event_log::list));
    let may_wait = within(longest + long_poll::LONGEST, may_wait);
    let bulk = OpenApiRouter::new().routes(routes!(bulk_create::create));
    let bulk = within(longest + MAX_BULK_WAIT, bulk);
    // Each step of a create has its own deadline: reading the body, the wait for the commit, and the lookup of the
    // order of a key. One more timer in a layer would increase the cost of each create over HTTP by a twentieth.
    let bounded = OpenApiRouter::new().routes(routes!(create_order::create));
    let others = OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(get_order::by_reference))
        .routes(routes!(export::export))
        .routes(routes!(commands::cancel))
        .routes(routes!(cancel_orders::cancel))
        .routes(routes!(commands::redrive))
        .routes(routes!(metadata::get, metadata::update))
        .routes(routes!(replace_order::replace))
        .routes(routes!(notes::list, notes::add))
        .routes(routes!(list::dead_letters))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(dead_letter_groups::list))
        .routes(routes!(queue::status))
        .routes(routes!(stats::stats))
        .routes(routes!(workers::list))
        .routes(routes!(workers::get))
        .routes(routes!(workers::health))
        .routes(routes!(system::system))
        .routes(routes!(queue::pause))
        .routes(routes!(queue::resume))
        .routes(routes!(api_keys::list))
        .routes(routes!(api_keys::create))
        .routes(routes!(api_keys::rotate))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(audit_log::list))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::get, webhooks::update, webhooks::delete))
        .routes(routes!(webhooks::rotate_secret))
        .routes(routes!(webhooks::enable))
        .routes(routes!(webhooks::disable))
        .routes(routes!(webhook_messages::test))
        .routes(routes!(webhook_messages::resend))
        .routes(routes!(webhook_messages::attempts))
        .routes(routes!(webhook_messages::messages))
        .routes(routes!(webhook_recovery::recover, webhook_recovery::stop))
        .routes(routes!(tracking::create))
        .routes(routes!(tracking::revoke));
    within(longest, others).merge(may_wait).merge(bulk).merge(bounded)
}

/// Returns the routes for the holders of tracking links. They are public: each handler verifies the link.
pub fn tracking_routes(longest: Duration) -> OpenApiRouter<RestState> {
    within(longest, OpenApiRouter::new().routes(routes!(tracking::order)).routes(routes!(tracking::events)))
}

/// Limits the time to the response head of routes.
fn within(longest: Duration, routes: OpenApiRouter<RestState>) -> OpenApiRouter<RestState> {
    routes.layer(layer_fn(move |mut route: Route| {
        service_fn(move |request: Request| answered(longest, route.call(request)))
    }))
}

/// Returns the response of a route, or a timeout after `longest`.
///
/// Caches must not store it. Only the wait for the response head is limited: streams continue.
async fn answered(longest: Duration, answer: RouteFuture<Infallible>) -> Result<Response, Infallible> {
    let mut response = match tokio::time::timeout(longest, answer).await {
        Ok(Ok(response)) => response,
        Err(_) => fallback::too_late(longest),
    };
    cache_control::forbid_storing(&mut response);
    Ok(response)
}
