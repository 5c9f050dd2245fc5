use std::ops::Deref;
use std::sync::Arc;

use broker::Queue;

use crate::rest::bulk_work::BulkWork;
use crate::{Config, Store};
use gateway_http::context::Context;
use gateway_service::{Vitals, feed::Feed, orders::Orders};

/// What the handlers of REST, health and the pages need. Each request clones it several times, so it is one pointer.
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
    /// The bulk creates that are worked on.
    pub(crate) bulk_work: BulkWork,
    /// What all APIs share.
    pub(crate) context: Context,
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
