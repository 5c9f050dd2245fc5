//! The cache of verified keys.
//!
//! A key is read from the database at most once in [`FRESH`], by one request for all that wait for it. A key that does not
//! exist is remembered for [`UNKNOWN`], so that repetitions of it do not reach the database. A revocation therefore takes
//! effect after [`FRESH`] at the latest, and at once on a gateway that is told of it.

use std::sync::Arc;
use std::time::Duration;

use domain::Principal;
use quick_cache::sync::Cache;
use tokio::time::Instant;

/// Time for which a verified key is accepted without a read of the database.
pub(crate) const FRESH: Duration = Duration::from_secs(30);
/// Time for which an unknown key, or one of a suspended tenant, is refused without a read of the database.
const UNKNOWN: Duration = Duration::from_secs(10);
/// Maximum number of keys, known or not.
const ENTRIES: usize = 20_000;

/// The state of a key in the database.
#[derive(Clone)]
pub(crate) enum Verified {
    /// The key is valid.
    Principal(Arc<Principal>),
    /// There is no such key, or it is revoked.
    Unknown,
    /// The tenant of the key is suspended.
    Suspended,
}

#[derive(Clone)]
struct Entry {
    verified: Verified,
    until: Instant,
}

/// The keys that were verified lately, by the hash of the key.
pub(crate) struct KeyCache(Cache<[u8; 32], Entry>);

impl Default for KeyCache {
    fn default() -> Self {
        Self(Cache::new(ENTRIES))
    }
}

impl KeyCache {
    /// Returns what is known of a key.
    pub(crate) fn get(&self, hash: &[u8; 32]) -> Option<Verified> {
        let entry = self.0.get(hash)?;
        if entry.until > Instant::now() {
            return Some(entry.verified);
        }
        self.0.remove_if(hash, |entry| entry.until <= Instant::now());
        None
    }

    /// Returns what is known of a key, or lets one of the concurrent callers find out.
    pub(crate) async fn get_or<E>(
        &self,
        hash: &[u8; 32],
        verify: impl Future<Output = Result<Verified, E>>,
    ) -> Result<Verified, E> {
        match self.0.get_value_or_guard_async(hash).await {
            Ok(entry) => Ok(entry.verified),
            Err(guard) => {
                let verified = verify.await?;
                let time = if matches!(verified, Verified::Principal(_)) { FRESH } else { UNKNOWN };
                let entry = Entry { verified: verified.clone(), until: Instant::now() + time };
                // An entry that was removed meanwhile stays removed.
                let _ = guard.insert(entry);
                Ok(verified)
            }
        }
    }

    /// Forgets a key, so that the next request reads it again.
    pub(crate) fn forget(&self, hash: &[u8; 32]) {
        self.0.remove(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_end_after_their_time() {
        let cache = KeyCache::default();
        let (known, unknown) = ([1; 32], [2; 32]);
        let verify = |verified| async move { Ok::<_, ()>(verified) };
        let principal = Verified::Principal(Arc::new(Principal::anonymous()));
        cache.get_or(&known, verify(principal)).await.unwrap();
        cache.get_or(&unknown, verify(Verified::Unknown)).await.unwrap();
        assert!(cache.get(&known).is_some() && cache.get(&unknown).is_some());
        tokio::time::advance(UNKNOWN).await;
        assert!(cache.get(&known).is_some() && cache.get(&unknown).is_none());
        tokio::time::advance(FRESH - UNKNOWN).await;
        assert!(cache.get(&known).is_none());
    }

    #[tokio::test]
    async fn concurrent_requests_share_a_look_up() {
        let cache = Arc::new(KeyCache::default());
        let reads = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let request = || {
            let (cache, reads) = (cache.clone(), reads.clone());
            tokio::spawn(async move {
                let verify = async {
                    tokio::task::yield_now().await;
                    reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Ok::<_, ()>(Verified::Unknown)
                };
                cache.get_or(&[3; 32], verify).await.is_ok()
            })
        };
        let requests: Vec<_> = (0..50).map(|_| request()).collect();
        for request in requests {
            assert!(request.await.unwrap());
        }
        assert_eq!(reads.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn failed_look_up_is_not_kept() {
        let cache = KeyCache::default();
        assert!(cache.get_or(&[4; 32], async { Err::<Verified, _>("outage") }).await.is_err());
        let verified = cache.get_or(&[4; 32], async { Ok::<_, ()>(Verified::Unknown) }).await;
        assert!(verified.is_ok() && cache.get(&[4; 32]).is_some());
        cache.forget(&[4; 32]);
        assert!(cache.get(&[4; 32]).is_none());
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("cached API keys, known or not", &limits_page::count(ENTRIES));
        limits_page::row(
            "time for which a verified key is cached; an unknown one",
            &format!("{}; {}", limits_page::time(FRESH), limits_page::time(UNKNOWN)),
        );
    }
}
