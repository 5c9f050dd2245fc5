//! REST: `/orders` and what belongs to an order.
//!
//! A handler reads its input, calls one use case and shows the outcome; nothing is decided here.

mod bulk;
mod commands;
mod create;
mod dead_letters;
mod draft;
mod events;
mod list;
mod path;
mod queue;
mod view;

use axum::extract::State;
use axum::{Json, middleware};
use http::{HeaderValue, header};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use self::bulk::RowView;
use self::path::OrderPath;
use self::view::OrderView;
use super::problem::Problem;
use crate::{App, Config};

/// The routes with their documentation.
pub(super) fn routes(config: &Config) -> OpenApiRouter<App> {
    // A request is read and answered within this. Streams begin within it and may last longer.
    let longest = config.http.header_read_timeout + config.request_timeout;
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(bulk::create))
        .routes(routes!(get))
        .routes(routes!(events::events))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::redrive))
        .routes(routes!(list::dead_letters))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(queue::status))
        .routes(routes!(queue::pause))
        .routes(routes!(queue::resume))
        .layer(middleware::from_fn_with_state(longest, super::layers::deadline))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        ))
}

/// One order.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "orders", operation_id = "getOrder",
    params(("id" = String, Path, format = Uuid, description = "The order's id.")),
    responses(
        (status = 200, description = "The order as it is now.", body = OrderView),
        (status = 400, description = "`invalid_id`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = crate::http::problem::UNAVAILABLE, body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(State(app): State<App>, OrderPath(id): OrderPath) -> Result<Json<OrderView>, Problem> {
    Ok(Json(app.orders.get(id).await?.into()))
}
