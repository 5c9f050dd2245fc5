use axum::extract::{FromRequestParts, Path};
use domain::OrderId;
use http::request::Parts;

use crate::http::problem::Problem;

/// The `{id}` of a path.
pub(super) struct OrderPath(pub(super) OrderId);

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let invalid = |detail: String| Problem::new("invalid_id", detail);
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|e| invalid(e.body_text()))?;
        text.parse().map(Self).map_err(|error: domain::InvalidOrderId| invalid(error.to_string()))
    }
}
