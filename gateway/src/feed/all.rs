use std::sync::Arc;

use domain::OrderEvent;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// What a subscriber of all orders receives.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// A change of some order. Those of one order may come twice or late when several gateways are
    /// involved; their sequence tells.
    Event(Arc<OrderEvent>),
    /// So many events were skipped because the subscriber could not keep up; 0 when the gateway was
    /// cut off from the bus and does not know how many.
    Lagged(u64),
}

pub(super) fn stream(receiver: broadcast::Receiver<FeedItem>) -> BoxStream<'static, FeedItem> {
    BroadcastStream::new(receiver)
        .map(|item| match item {
            Ok(item) => item,
            Err(BroadcastStreamRecvError::Lagged(count)) => FeedItem::Lagged(count),
        })
        .boxed()
}
