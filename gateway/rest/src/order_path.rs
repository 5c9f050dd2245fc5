use axum::extract::{FromRequestParts, Path};
use domain::{ErrorCode, OrderId};
use http::request::Parts;

use gateway_http::problem::Problem;

/// The `{id}` of a path.
pub(super) struct OrderPath(pub(super) OrderId);

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // A path that is not UTF-8, such as `%ff`, is not an id either.
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.map_err(|_| domain::InvalidOrderId).and_then(|Path(text)| text.parse());
        id.map(Self).map_err(|error| Problem::new(ErrorCode::InvalidOrderId, error.to_string()))
    }
}
