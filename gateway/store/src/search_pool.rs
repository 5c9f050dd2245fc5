//! The connections, permits and threads of searches.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::Error;
use super::connection::Pool;

/// Maximum number of concurrent searches.
pub const SEARCHES: usize = 2;
/// The connections of all searches.
pub(super) const CONNECTIONS: u32 = SEARCHES as u32;
/// The connections, permits and threads of searches.
pub(super) struct SearchPool {
    pub(super) pool: Pool,
    permits: Arc<Semaphore>,
    threads: OnceCell<Threads>,
}

/// The right to run one search.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// The permit of one request, whose reads of a list are one search.
#[derive(Default)]
pub struct SearchPass(Option<Permit>);

/// The runtime of the searches.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        // A store may be dropped where waiting for threads is not permitted.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl SearchPool {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, permits: Arc::new(Semaphore::new(SEARCHES)), threads: OnceCell::new() }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Returns the permit of the request or a new one, if one is free.
    pub(super) fn enter(&self, pass: &mut SearchPass) -> Result<Permit, Error> {
        let permit = match pass.0.take() {
            Some(permit) => permit,
            None => self.permits.clone().try_acquire_owned().map(Arc::new).map_err(|_| {
                metrics::counter!("orders_searches_rejected_total").increment(1);
                Error::TooManySearches
            })?,
        };
        Ok(pass.0.insert(permit).clone())
    }

    /// As [`Self::enter`], and waits for a free permit.
    pub(super) async fn wait(&self, pass: &mut SearchPass, longest: Duration) -> Result<Permit, Error> {
        if let Some(permit) = &pass.0 {
            return Ok(permit.clone());
        }
        match tokio::time::timeout(longest, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(pass.0.insert(Arc::new(permit)).clone()),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => self.enter(pass),
        }
    }

    pub(super) async fn spawn<T: Send + 'static>(
        &self,
        search: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>, Error> {
        let threads = self.threads.get_or_try_init(|| async {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(SEARCHES).thread_name("search").on_thread_start(yield_to_others);
            let runtime = builder.enable_all().build();
            runtime.map(|runtime| Threads(Some(runtime)))
        });
        let threads = threads.await.map_err(|error| Error::Defect(error.into()))?;
        let runtime = threads.0.as_ref().ok_or_else(|| Error::Row("the threads have ended".into()))?;
        Ok(runtime.spawn(search))
    }
}

/// Lowers the priority of the thread, because comparing strings uses a whole processor. On Linux the priority belongs
/// to the thread.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "failed to lower the priority of searches");
    }
}
