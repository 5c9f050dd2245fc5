//! The result of one row of a bulk create.

use domain::OrderId;
use gateway_http::problem::InputError;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::order_view::OrderView;
use super::schema;

/// The schema of the status of a row, for the documentation.
struct RowStatus;

impl PartialSchema for RowStatus {
    fn schema() -> RefOr<Schema> {
        schema::of(
            serde_json::json!({"type": "string", "enum": ["created", "invalid", "reference_taken", "not_created", "failed"]}),
        )
    }
}

impl ToSchema for RowStatus {}

/// Result of one row of a bulk create.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CreatedOrdersRow)]
pub(super) struct RowResult {
    /// Index of the row, from 0.
    #[schema(example = 0)]
    pub(super) index: usize,
    /// `created`; `invalid`: see `errors`; `reference_taken`: the order in `orderId` has the external reference, which
    /// is unique for the tenant; `not_created`: the row is valid but another row is not; `failed`: internal error of the
    /// gateway.
    #[schema(value_type = RowStatus)]
    pub(super) status: &'static str,
    /// Id of the created order, or of the one that has the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = Uuid, required = false)]
    pub(super) order_id: Option<OrderId>,
    /// The created order. Omitted if the response would exceed its maximum size.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = OrderView, required = false)]
    pub(super) order: Option<Box<RawValue>>,
    /// Errors of the row; pointers start at the row. All rows together list at most 100 errors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) errors: Vec<InputError>,
}

impl RowResult {
    /// Returns the errors, with pointers from the root of the body.
    pub(super) fn errors(&self) -> impl Iterator<Item = InputError> {
        self.errors.iter().map(|error| {
            let within = error.pointer.as_deref().unwrap_or_default();
            InputError::field(format!("/{}{within}", self.index), error.detail.clone())
        })
    }
}
