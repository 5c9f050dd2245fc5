//! The cache of verified credentials: API keys and tokens, each in its own.
//!
//! A key is read from the database at most once in [`FRESH`], by one request for all that wait for it. A key that does not
//! exist is remembered for [`REFUSED`], so that repetitions of it do not reach the database. A revocation therefore takes
//! effect after [`FRESH`] at the latest, and earlier when [`crate::key_changes`] finds it. The signature of a token is
//! verified at most once in [`FRESH_TOKEN`]; its end is checked for each request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use domain::Principal;
use quick_cache::sync::Cache;
use tokio::time::Instant;

/// Time for which a verified key is accepted without a read of the database.
pub(crate) const FRESH: Duration = Duration::from_secs(30);
/// Time for which a verified token is accepted without a check of its signature and its tenant.
pub(crate) const FRESH_TOKEN: Duration = Duration::from_secs(60);
/// Time for which a credential that is not valid is refused without another check.
const REFUSED: Duration = Duration::from_secs(10);
/// Maximum number of credentials, valid or not.
const ENTRIES: usize = 20_000;

/// The outcome of a verification.
#[derive(Clone)]
pub(crate) enum Verified {
    /// The credential is valid, unless it has expired.
    Principal(Arc<Principal>),
    /// It is not valid, for this reason.
    Refused(Cow<'static, str>),
}

#[derive(Clone)]
struct Entry {
    verified: Verified,
    until: Instant,
}

/// The credentials that were verified lately, by their hashes.
pub(crate) struct CredentialCache {
    entries: Cache<[u8; 32], Entry>,
    fresh: Duration,
}

impl CredentialCache {
    /// Creates a cache that keeps valid credentials for this time.
    pub(crate) fn new(fresh: Duration) -> Self {
        Self { entries: Cache::new(ENTRIES), fresh }
    }

    /// Returns what is known of a credential.
    pub(crate) fn get(&self, hash: &[u8; 32]) -> Option<Verified> {
        let entry = self.entries.get(hash)?;
        if entry.until > Instant::now() {
            return Some(entry.verified);
        }
        self.entries.remove_if(hash, |entry| entry.until <= Instant::now());
        None
    }

    /// Returns what is known of a credential, or lets one of the concurrent callers find out. An error is not kept.
    pub(crate) async fn get_or<E>(
        &self,
        hash: &[u8; 32],
        verify: impl Future<Output = Result<Verified, E>>,
    ) -> Result<Verified, E> {
        match self.entries.get_value_or_guard_async(hash).await {
            Ok(entry) => Ok(entry.verified),
            Err(guard) => {
                let verified = verify.await?;
                let time = if matches!(verified, Verified::Principal(_)) { self.fresh } else { REFUSED };
                let entry = Entry { verified: verified.clone(), until: Instant::now() + time };
                // An entry that was removed meanwhile stays removed.
                let _ = guard.insert(entry);
                Ok(verified)
            }
        }
    }

    /// Forgets a credential, so that the next request verifies it again.
    pub(crate) fn forget(&self, hash: &[u8; 32]) {
        self.entries.remove(hash);
    }

    /// Forgets all credentials.
    pub(crate) fn clear(&self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_end_after_their_time() {
        let cache = CredentialCache::new(FRESH);
        let (known, unknown) = ([1; 32], [2; 32]);
        let verify = |verified| async move { Ok::<_, ()>(verified) };
        let principal = Verified::Principal(Arc::new(Principal::anonymous()));
        cache.get_or(&known, verify(principal)).await.unwrap();
        cache.get_or(&unknown, verify(Verified::Refused("no".into()))).await.unwrap();
        assert!(cache.get(&known).is_some() && cache.get(&unknown).is_some());
        tokio::time::advance(REFUSED).await;
        assert!(cache.get(&known).is_some() && cache.get(&unknown).is_none());
        tokio::time::advance(FRESH - REFUSED).await;
        assert!(cache.get(&known).is_none());
    }

    #[tokio::test]
    async fn concurrent_requests_share_a_look_up() {
        let cache = Arc::new(CredentialCache::new(FRESH));
        let reads = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let request = || {
            let (cache, reads) = (cache.clone(), reads.clone());
            tokio::spawn(async move {
                let verify = async {
                    tokio::task::yield_now().await;
                    reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Ok::<_, ()>(Verified::Refused("no".into()))
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
        let cache = CredentialCache::new(FRESH);
        assert!(cache.get_or(&[4; 32], async { Err::<Verified, _>("outage") }).await.is_err());
        let verified = cache.get_or(&[4; 32], async { Ok::<_, ()>(Verified::Refused("no".into())) }).await;
        assert!(verified.is_ok() && cache.get(&[4; 32]).is_some());
        cache.forget(&[4; 32]);
        assert!(cache.get(&[4; 32]).is_none());
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "cached API keys, valid or not; cached tokens",
            &format!("{0}; {0}", limits_page::count(ENTRIES)),
        );
        let time = limits_page::time;
        limits_page::row(
            "time for which a verified key is cached; a token; one that is not valid",
            &format!("{}; {}; {}", time(FRESH), time(FRESH_TOKEN), time(REFUSED)),
        );
    }
}
