//! Responses in place of a handler that fails or does not exist.

use std::any::Any;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use domain::ErrorCode;

use super::problem::Problem;
use telemetry::panics;

/// Returns the response for a handler that exceeded its timeout.
pub fn too_late(longest: Duration) -> Response {
    let detail = format!("there was no response within {} s", longest.as_secs_f32());
    Problem::new(ErrorCode::RequestTimeout, detail).retry_after(Duration::from_secs(1)).into_response()
}

/// Returns the response for a handler that panicked. Other requests are not affected.
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    panics::record("http", &*panic);
    Problem::internal().into_response()
}

/// Returns the response for a path without a route.
pub async fn not_found(request: Request) -> Problem {
    nothing_at(request.uri().path())
}

/// Returns the problem for a path without a route.
pub fn nothing_at(path: &str) -> Problem {
    let path: String = path.chars().take(200).collect();
    Problem::new(ErrorCode::NotFound, format!("there is nothing at {path}"))
}

/// Returns the response for a path that has no route for the method. The router adds `Allow`.
pub async fn method_not_allowed(request: Request) -> Problem {
    let method: String = request.method().as_str().chars().take(20).collect();
    Problem::new(ErrorCode::MethodNotAllowed, format!("{method} is not possible here"))
}
