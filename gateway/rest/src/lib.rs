//! REST: `/orders` and what belongs to an order.
//!
//! A handler reads its input, calls one use case and shows the outcome; nothing is decided here.

mod api_error;
mod bulk_body;
mod bulk_create;
mod bulk_limiter;
mod cache_control;
mod client;
mod commands;
mod create_order;
mod dead_letters;
mod draft;
mod events;
mod filter;
mod get_order;
mod list;
mod list_item;
mod long_poll;
mod order_path;
mod order_view;
mod queue;
mod row_result;
pub mod schema;
mod state;

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
pub use self::state::{Config, RestState, StateParts};

/// Returns the routes with their documentation.
///
/// A request is read and answered within `longest`. Streams begin within it and may last longer.
pub fn routes(longest: Duration) -> OpenApiRouter<RestState> {
    let within = |longest| {
        layer_fn(move |mut route: Route| {
            service_fn(move |request: Request| answered(longest, route.call(request)))
        })
    };
    let may_wait = OpenApiRouter::new()
        .routes(routes!(get_order::get))
        .routes(routes!(events::events))
        .layer(within(longest + long_poll::LONGEST));
    let bulk =
        OpenApiRouter::new().routes(routes!(bulk_create::create)).layer(within(longest + MAX_BULK_WAIT));
    // Each step of a create has its own limit: reading the body, the wait for the commit, and looking for the
    // order of a key. A layer with one more timer would make each create cost HTTP a twentieth more.
    let bounded = OpenApiRouter::new().routes(routes!(create_order::create));
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::redrive))
        .routes(routes!(list::dead_letters))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(queue::status))
        .routes(routes!(queue::pause))
        .routes(routes!(queue::resume))
        .layer(within(longest))
        .merge(may_wait)
        .merge(bulk)
        .merge(bounded)
}

/// The answer of a route, or of ours when it takes longer than it may, which no cache is to keep. Only
/// the wait for the head of the answer counts: streams continue.
async fn answered(longest: Duration, answer: RouteFuture<Infallible>) -> Result<Response, Infallible> {
    let mut response = match tokio::time::timeout(longest, answer).await {
        Ok(Ok(response)) => response,
        Err(_) => fallback::too_late(longest),
    };
    cache_control::forbid_storing(&mut response);
    Ok(response)
}
