//! REST: `/orders` and what belongs to an order.
//!
//! A handler reads its input, calls one use case and shows the outcome; nothing is decided here.

mod bulk;
mod commands;
mod create;
mod dead_letters;
mod draft;
mod events;
mod get;
mod list;
mod path;
mod queue;
mod view;
mod wait;

use axum::middleware;
use http::{HeaderValue, header};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use self::bulk::RowView;
use crate::{App, Config};

/// The routes with their documentation.
pub(super) fn routes(config: &Config) -> OpenApiRouter<App> {
    // A request is read and answered within this. Streams begin within it and may last longer.
    let longest = config.http.header_read_timeout + config.request_timeout;
    let within = |longest| middleware::from_fn_with_state(longest, super::layers::deadline);
    let may_wait = OpenApiRouter::new()
        .routes(routes!(get::get))
        .routes(routes!(events::events))
        .layer(within(longest + wait::LONGEST));
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(bulk::create))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::redrive))
        .routes(routes!(list::dead_letters))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(queue::status))
        .routes(routes!(queue::pause))
        .routes(routes!(queue::resume))
        .layer(within(longest))
        .merge(may_wait)
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
}
