//! Feeds subscribers: what has happened, then what happens, each event once and in order.
use std::sync::Arc;

use domain::{OrderEvent, OrderId};
use futures_util::stream::BoxStream;

use crate::Error;

/// The live feed. Cheap to clone.
#[derive(Clone)]
pub struct Feed;

/// Where a subscriber of one order begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// With the latest event.
    Latest,
    /// With the event after this sequence; 0 is the beginning.
    After(u32),
}

/// What a subscriber of all orders receives.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// A change of some order.
    Event(Arc<OrderEvent>),
    /// So many events were skipped, because the subscriber or the bus could not keep up.
    Lagged(u64),
}

#[allow(clippy::unused_async, clippy::unimplemented)]
impl Feed {
    /// The events of one order from the cursor on; ends after a final status. An error ends it too.
    pub async fn watch(
        &self,
        _id: OrderId,
        _cursor: Cursor,
    ) -> Result<BoxStream<'static, Result<Arc<OrderEvent>, Error>>, Error> {
        unimplemented!()
    }
    /// Every change from now on, for dashboards.
    pub fn all(&self) -> BoxStream<'static, FeedItem> {
        unimplemented!()
    }
}
