//! Reads files again at intervals and on request.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::error::Error;
use crate::files::Fingerprint;
use crate::x509;

/// The default interval of the checks for changed files.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// Calls `reload` at each interval and for each request. It ends when the requests do.
///
/// `reload` may block: it runs on a thread for blocking work.
pub async fn keep_current(
    interval: Duration,
    mut requests: watch::Receiver<()>,
    reload: impl Fn() + Send + Sync + 'static,
) {
    let reload = Arc::new(reload);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, and the files were just read.
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            requested = requests.changed() => if requested.is_err() { return },
        }
        let reload = reload.clone();
        if tokio::task::spawn_blocking(move || reload()).await.is_err() {
            tracing::error!("reading files again failed; this is a bug");
        }
    }
}

/// A configuration that is replaced as a whole.
#[derive(Debug)]
pub(crate) struct Current<T> {
    /// Names the files in logs and metrics.
    name: &'static str,
    loaded: RwLock<Loaded<T>>,
}

/// A configuration, and the files that it was built from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded<T> {
    pub(crate) config: Arc<T>,
    /// The holder's own certificate, in DER form.
    pub(crate) certificate: Option<Arc<[u8]>>,
    pub(crate) fingerprint: Fingerprint,
}

impl<T> Current<T> {
    pub(crate) fn new(name: &'static str, loaded: Loaded<T>) -> Self {
        record_expiry(name, loaded.certificate.as_deref());
        for outcome in ["success", "failure"] {
            counter!("orders_tls_reloads_total", "certificate" => name, "outcome" => outcome).absolute(0);
        }
        Self { name, loaded: RwLock::new(loaded) }
    }

    pub(crate) fn config(&self) -> Arc<T> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    pub(crate) fn certificate(&self) -> Option<Arc<[u8]>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).certificate.clone()
    }

    /// Replaces the configuration if its files have changed and are usable.
    pub(crate) fn replace(&self, read: Result<Loaded<T>, Error>) {
        let name = self.name;
        let outcome = match read {
            Ok(loaded) => {
                let mut current = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
                if current.fingerprint == loaded.fingerprint {
                    return;
                }
                record_expiry(name, loaded.certificate.as_deref());
                *current = loaded;
                tracing::info!(certificate = name, "loaded changed TLS files");
                "success"
            }
            Err(error) => {
                tracing::warn!(certificate = name, %error, "failed to load TLS files, the loaded ones stay in use");
                "failure"
            }
        };
        counter!("orders_tls_reloads_total", "certificate" => name, "outcome" => outcome).increment(1);
    }
}

/// Returns the certificate of a chain, after a check that its end of validity can be read.
pub(crate) fn own_certificate(file: &Path, certificate: Option<&[u8]>) -> Result<Arc<[u8]>, Error> {
    let certificate = certificate.filter(|certificate| x509::read(certificate).is_some());
    certificate.map(Arc::from).ok_or_else(|| Error::content(file, "has a certificate that cannot be read"))
}

fn record_expiry(name: &'static str, certificate: Option<&[u8]>) {
    if let Some(facts) = certificate.and_then(x509::read) {
        gauge!("orders_tls_certificate_expiry_timestamp_seconds", "certificate" => name)
            .set(facts.not_after as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn files_are_read_at_intervals_and_on_request() {
        let (request, requests) = watch::channel(());
        let (count, (read, mut reads)) = (Arc::new(AtomicUsize::new(0)), watch::channel(0));
        let reload = move || _ = read.send(count.fetch_add(1, Ordering::Relaxed) + 1);
        let started = tokio::time::Instant::now();
        let task = tokio::spawn(keep_current(RELOAD_INTERVAL, requests, reload));
        reads.wait_for(|reads| *reads == 2).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 120);
        request.send(()).unwrap();
        reads.wait_for(|reads| *reads == 3).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 120);
        drop(request);
        task.await.unwrap();
    }

    #[test]
    fn interval_is_documented() {
        limits_page::row(
            "interval of the check for changed certificates",
            &limits_page::time(RELOAD_INTERVAL),
        );
    }
}
