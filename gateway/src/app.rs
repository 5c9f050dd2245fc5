use std::future::Future;
use std::sync::Arc;

use broker::Queue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Config, Store, feed::Feed, orders::Orders};

/// What every request handler needs. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The use cases.
    pub orders: Orders,
    /// The live feed.
    pub feed: Feed,
    /// The database, for readiness checks.
    pub store: Store,
    /// The queue, for readiness checks.
    pub queue: Arc<dyn Queue>,
    /// The settings.
    pub config: Arc<Config>,
    /// Ends when the gateway begins to shut down: readiness turns off and streams end themselves,
    /// spread over [`Config::drain`].
    pub draining: CancellationToken,
    /// Tasks that outlive their request (websockets, streams) run here, so that shutdown can wait.
    pub tasks: TaskTracker,
}

impl App {
    /// Ends at a random moment of the first half of the drain window once shutdown begins, so that
    /// not everybody comes back to the next gateway at once. The second half is left for farewells.
    pub(crate) fn leaving(&self) -> impl Future<Output = ()> + Send + 'static {
        let (draining, window) = (self.draining.clone(), self.config.drain / 2);
        async move {
            draining.cancelled().await;
            tokio::time::sleep(window.mul_f64(rand::random())).await;
        }
    }
}
