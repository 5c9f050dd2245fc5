use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use broker::Queue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::inflight::{BulkWork, InFlight};
use crate::http::streams::Streams;
use crate::vitals::Vitals;
use crate::{Config, Store, feed::Feed, orders::Orders};

/// What every request handler needs. Each request clones it several times, so it is one pointer.
#[derive(Clone)]
pub struct App(Arc<AppParts>);

/// The parts of an [`App`].
pub struct AppParts {
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
    /// What real work says about the database, the queue and the workers.
    pub(crate) vitals: Vitals,
    /// The bytes that requests and responses hold.
    pub(crate) inflight: InFlight,
    /// The bulk creates that are worked on.
    pub(crate) bulk_work: BulkWork,
    /// The streams that are open.
    pub(crate) streams: Streams,
    /// Ends when the gateway is told to shut down: readiness turns off, and everything is served as before for
    /// [`Config::shutdown_delay`].
    pub departing: CancellationToken,
    /// Ends after that: streams end themselves, spread over [`Config::drain`].
    pub draining: CancellationToken,
    /// Tasks that outlive their request (websockets, streams) run here, so that shutdown can wait.
    pub tasks: TaskTracker,
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

impl From<AppParts> for App {
    fn from(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }
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
