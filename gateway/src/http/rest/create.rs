use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::draft::NewOrder;
use super::view::OrderView;
use crate::App;
use crate::http::body;
use crate::http::problem::Problem;

/// Accepts an order. When the answer comes, the order is stored and will be processed.
#[utoipa::path(
    post, path = "/orders", tag = "orders", operation_id = "createOrder",
    request_body(content = NewOrder, content_type = "application/json"),
    responses(
        (status = 201, description = "Accepted.", body = OrderView,
            headers(("Location" = String, description = "The path of the order."))),
        (status = 400, description = "`malformed_json`, or `invalid_body`: a field is unknown, repeated or of the wrong type", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "`body_timeout`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_order`: the shape is right, but a value breaks a rule", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`, `overloaded`: nothing was stored, try again after `Retry-After`. `outcome_unknown`: look for the order with the id in `orderId` first", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let body = body::json(request, &app.config.http).await?;
    let order = app.orders.create(NewOrder::read(&body)?.into()).await?;
    let location = [(header::LOCATION, format!("/orders/{}", order.id))];
    Ok((StatusCode::CREATED, location, Json(OrderView::from(order))).into_response())
}
