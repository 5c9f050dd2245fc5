use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Error;
use gateway_store::{Counts, Store};

/// Orders are counted at most once in this time, however many ask.
pub const COUNTS_FRESH: Duration = Duration::from_secs(1);

/// A count that took long is kept this many times as long as it took: counting never keeps the database
/// busy for more than a twentieth of the time.
const KEPT_TIMES: u32 = 20;

/// The last count and until when it is good. Who comes meanwhile waits for the lock and finds the answer
/// there, be it an error: many who ask while the database hangs wait once and not one after the other.
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
        let kept = if counts.is_ok() { (end - begin) * KEPT_TIMES } else { Duration::ZERO };
        *last = Some((end + kept.max(COUNTS_FRESH), counts.clone()));
        counts
    }
}
