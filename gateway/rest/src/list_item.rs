//! The entries of a list: orders, and orders that cannot be read.

use domain::OrderId;
use domain::waiting::QueueSnapshot;
use serde::Serialize;
use utoipa::ToSchema;

use super::order_view::OrderView;
use gateway_store::Listed;
use gateway_store::Unreadable;

/// An order in a list. An unreadable order has only `id` and `unreadable`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the documentation; written by `json`")]
pub(super) enum ListedOrder {
    /// An order.
    Order(Box<OrderView>),
    /// An order whose stored row is unreadable.
    Unreadable(UnreadableOrder),
}

/// An order whose stored row is unreadable. Operators have to repair it; reading it returns `order_unreadable`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnreadableOrder {
    /// The order.
    #[schema(value_type = uuid::Uuid)]
    id: OrderId,
    /// The column or rule that is violated.
    #[schema(example = "currency 'QQQ' is not a currency")]
    unreadable: String,
}

/// Serialises an entry as JSON.
pub(super) fn json(item: &Listed, snapshot: &QueueSnapshot) -> Vec<u8> {
    match item {
        Listed::Order(order) => OrderView::new(order, snapshot).json(),
        Listed::Unreadable { unreadable: Unreadable { order_id, detail, .. }, .. } => {
            let order = UnreadableOrder { id: *order_id, unreadable: detail.clone() };
            // A struct of two strings can always be serialised.
            serde_json::to_vec(&order).unwrap_or_default()
        }
    }
}
