//! Panics are contained where they happen: they are logged, counted and become the error of the one
//! request, item or background task that caused them.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt;

/// How long a background task waits before it starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Some code panicked. The panic has been logged and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

impl From<Panicked> for crate::Error {
    fn from(Panicked: Panicked) -> Self {
        Self::Internal
    }
}

/// Logs and counts a panic that was caught in this component.
pub(crate) fn note(component: &'static str, panic: &(dyn Any + Send)) -> Panicked {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)");
    tracing::error!(component, panic = text, "caught panic");
    metrics::counter!("orders_panics_total", "component" => component).increment(1);
    Panicked
}

/// Runs `work`, which must leave nothing half changed behind that is used afterwards.
pub(crate) fn caught<T>(component: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| note(component, &*panic))
}

/// As [`caught`], for a future.
pub(crate) fn contained<F: Future>(
    component: &'static str,
    work: F,
) -> impl Future<Output = Result<F::Output, Panicked>> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .map(move |outcome| outcome.map_err(|panic| note(component, &*panic)))
}

/// Runs a background task until it ends by itself. After a panic it starts again.
pub(crate) async fn restarted<F: Future<Output = ()>>(component: &'static str, task: impl Fn() -> F) {
    while contained(component, task()).await.is_err() {
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_panic_is_counted_by_component() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            assert_eq!(caught("bulk", || 5), Ok(5));
            assert_eq!(caught("bulk", || -> u32 { panic!("oh {}", 1) }), Err(Panicked));
            assert_eq!(
                contained("grpc", async { panic!("oh") }).now_or_never(),
                Some(Err::<(), _>(Panicked))
            );
        });
        let text = recorder.handle().render();
        assert!(text.contains(r#"orders_panics_total{component="bulk"} 1"#), "{text}");
        assert!(text.contains(r#"orders_panics_total{component="grpc"} 1"#), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_background_task_starts_again() {
        let runs = AtomicU32::new(0);
        restarted("test", || async {
            assert!(runs.fetch_add(1, Ordering::Relaxed) == 2, "the first two runs fail");
        })
        .await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }
}
