use std::future::Future;
use std::sync::Arc;

use broker::{Bus, Queue};
use tokio::net::TcpListener;

use crate::{Config, Store};

/// What a gateway is put together from. The listeners are bound already, so that a busy port is
/// known before anything starts.
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The database, migrated.
    pub store: Store,
    /// Where jobs go.
    pub queue: Arc<dyn Queue>,
    /// Where events go and come from.
    pub bus: Arc<dyn Bus>,
    /// REST, GraphQL and the page.
    pub http: TcpListener,
    /// Processors.
    pub grpc: TcpListener,
}

/// Runs a gateway until `shutdown` ends, then drains it.
#[allow(clippy::unused_async, clippy::unimplemented)]
pub async fn serve(_parts: Parts, _shutdown: impl Future<Output = ()> + Send) -> Result<(), std::io::Error> {
    unimplemented!()
}
