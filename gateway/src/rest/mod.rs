//! REST: `/orders` and what belongs to an order.
//!
//! A handler reads its input, calls one use case and shows the outcome; nothing is decided here.

mod bulk;
mod bulk_body;
pub(crate) mod bulk_work;
mod client;
mod commands;
mod create;
mod dead_letters;
mod draft;
mod events;
mod filter;
mod get;
mod list;
mod listed;
mod path;
mod problem;
mod queue;
pub(crate) mod schema;
mod view;
mod wait;

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use axum::routing::future::RouteFuture;
use http::{HeaderValue, header};
use tower::layer::layer_fn;
use tower::{Service, service_fn};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{App, Config};
use gateway_http::fallback;

/// The routes with their documentation.
pub(crate) fn routes(config: &Config) -> OpenApiRouter<App> {
    // A request is read and answered within this. Streams begin within it and may last longer.
    let longest = config.http.header_read_timeout + config.service.request_timeout;
    let within = |longest| {
        layer_fn(move |mut route: Route| {
            service_fn(move |request: Request| answered(longest, route.call(request)))
        })
    };
    let may_wait = OpenApiRouter::new()
        .routes(routes!(get::get))
        .routes(routes!(events::events))
        .layer(within(longest + wait::LONGEST));
    let takes_turns =
        OpenApiRouter::new().routes(routes!(bulk::create)).layer(within(longest + bulk_work::BULK_WAIT));
    // Each step of a create has a limit of its own: reading the body, the wait for the commit, and looking for the
    // order of a key. A layer with one more timer would make each create cost HTTP a twentieth more.
    let bounded = OpenApiRouter::new().routes(routes!(create::create));
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
        .merge(takes_turns)
        .merge(bounded)
}

/// The answer of a route, or of ours when it takes longer than it may, which no cache is to keep. Only
/// the wait for the head of the answer counts: streams go on.
async fn answered(longest: Duration, answer: RouteFuture<Infallible>) -> Result<Response, Infallible> {
    let mut response = match tokio::time::timeout(longest, answer).await {
        Ok(Ok(response)) => response,
        Err(_) => fallback::too_late(longest),
    };
    not_for_caches(&mut response);
    Ok(response)
}

/// Tells caches not to keep the answer, unless it says itself what they may do.
fn not_for_caches(answer: &mut Response) {
    let caching = answer.headers_mut().entry(header::CACHE_CONTROL);
    caching.or_insert(HeaderValue::from_static("no-store"));
}
