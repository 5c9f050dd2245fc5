//! Catches panics where they happen.
//!
//! A panic is logged, counted, and becomes the error of the one request, item or background task that caused it.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt;

/// Wait before a background task is restarted.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// A panic that has been logged and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// Returns the message of a panic.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}

/// Logs and counts a panic that was caught in this component.
pub fn record(component: &'static str, panic: &(dyn Any + Send)) -> Panicked {
    tracing::error!(component, panic = message(panic), "caught panic");
    metrics::counter!("orders_panics_total", "component" => component).increment(1);
    Panicked
}

/// Runs `work` and catches a panic. State that `work` changes must not be used after a panic.
pub fn catch<T>(component: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| record(component, &*panic))
}

/// Runs a future and catches a panic, with the same condition as [`catch`].
pub fn catch_async<F: Future>(
    component: &'static str,
    work: F,
) -> impl Future<Output = Result<F::Output, Panicked>> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .map(move |outcome| outcome.map_err(|panic| record(component, &*panic)))
}

/// Runs a background task until it returns, and restarts it after a panic.
pub async fn restart_on_panic<F: Future<Output = ()>>(component: &'static str, task: impl Fn() -> F) {
    while catch_async(component, task()).await.is_err() {
        tokio::time::sleep(RESTART_DELAY).await;
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
            assert_eq!(catch("bulk", || 5), Ok(5));
            assert_eq!(catch("bulk", || -> u32 { panic!("oh {}", 1) }), Err(Panicked));
            assert_eq!(
                catch_async("grpc", async { panic!("oh") }).now_or_never(),
                Some(Err::<(), _>(Panicked))
            );
        });
        let text = recorder.handle().render();
        assert!(text.contains(r#"orders_panics_total{component="bulk"} 1"#), "{text}");
        assert!(text.contains(r#"orders_panics_total{component="grpc"} 1"#), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_background_task_is_restarted() {
        let runs = AtomicU32::new(0);
        restart_on_panic("test", || async {
            assert!(runs.fetch_add(1, Ordering::Relaxed) == 2, "the first two runs panic");
        })
        .await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }
}
