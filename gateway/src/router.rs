//! The router of the HTTP port: REST, GraphQL, the pages and the operational endpoints.

use axum::Router;
use axum::routing::get;

use crate::{App, error_page, graphql, openapi, pages};
use gateway_http::{fallback, middleware};

/// Returns everything on the HTTP port.
pub(crate) fn router(app: App, graphql: graphql::State) -> Router {
    let (documented, document) = openapi::documented(&app.config).split_for_parts();
    let routes = Router::new()
        .merge(documented)
        .merge(openapi::routes(openapi::complete(document)))
        .route("/problems", get(error_page::page))
        .merge(graphql::routes(graphql))
        .merge(pages::routes())
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed);
    middleware::around(routes, &app.config.http).with_state(app)
}
