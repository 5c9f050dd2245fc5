use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Error;
use gateway_store::{Counts, Store};

/// Minimum interval between two counts of the orders.
pub const COUNTS_FRESH: Duration = Duration::from_secs(1);

/// Multiple of the duration of a count for which the count is kept.
///
/// Counting therefore uses at most a twentieth of the database's time.
const KEEP_FOR_DURATIONS: u32 = 20;

/// The last count and the end of its validity. Concurrent callers wait for the lock and share the result, including an
/// error: while the database hangs, they wait once and not one after the other.
#[derive(Default)]
pub(super) struct Cache(Mutex<Option<(Instant, Result<Counts, Error>)>>);

impl Cache {
    pub(super) async fn get(&self, store: &Store) -> Result<Counts, Error> {
        let mut last = self.0.lock().await;
        if let Some((until, counts)) = &*last
            && Instant::now() < *until
        {
            return counts.clone();
        }
        let begin = Instant::now();
        let counts = store.counts().await.map_err(Error::from);
        let end = Instant::now();
        let kept = if counts.is_ok() { (end - begin) * KEEP_FOR_DURATIONS } else { Duration::ZERO };
        *last = Some((end + kept.max(COUNTS_FRESH), counts.clone()));
        counts
    }
}
