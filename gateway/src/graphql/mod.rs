//! GraphQL over HTTP and websockets on `/graphql`.

use axum::Router;

use crate::App;

/// The routes.
pub fn routes(_app: &App) -> Router<App> {
    Router::new()
}

/// The schema in SDL, as `schema.graphql` has it.
pub fn sdl() -> String {
    String::new()
}
