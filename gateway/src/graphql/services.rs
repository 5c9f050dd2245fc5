use std::sync::Arc;

use broker::Queue;
use domain::Currency;

use gateway_service::Vitals;
use gateway_service::feed::Feed;
use gateway_service::loader::{EventLoader, OrderLoader};
use gateway_service::orders::Orders;

/// What resolvers work with.
pub(super) struct Services {
    pub(super) orders: Orders,
    pub(super) feed: Feed,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) vitals: Vitals,
    pub(super) order_loader: OrderLoader,
    pub(super) event_loader: EventLoader,
    pub(super) default_currency: Currency,
    /// Maximum length of a page of orders, in bytes.
    pub(super) max_page_bytes: usize,
}
