//! The process-wide metrics recorder that `/metrics` renders.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Upper bounds of the buckets of every duration, in seconds. Buckets and not quantiles, because
/// buckets of several gateways can be added.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The same for durations of orders, which can be hours.
const ORDER_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 10_800.0];
const OF_ORDERS: [&str; 3] =
    ["orders_wait_duration_seconds", "orders_attempt_duration_seconds", "orders_completion_duration_seconds"];

/// How often recorded durations are added to their buckets. Until then each one uses memory,
/// whether or not `/metrics` is scraped.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the recorder on the first call of the process and then calls `describe` once.
///
/// Later calls do nothing. Without a recorder, metrics cost nothing and are dropped.
pub fn install(describe: impl FnOnce()) {
    RECORDER.get_or_init(|| match recorder(describe) {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::warn!(%error, "failed to install the metrics recorder, metrics are disabled");
            None
        }
    });
}

fn recorder(describe: impl FnOnce()) -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    let kept = handle.clone();
    // The recorder lives as long as the process, and so does this thread. Without it only a scrape does the upkeep.
    let upkeep = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            kept.run_upkeep();
        }
    });
    if let Err(error) = upkeep {
        tracing::warn!(%error, "failed to start the metrics upkeep thread");
    }
    Ok(handle)
}

/// Returns a builder with the buckets of every duration.
///
/// # Errors
/// When the buckets are empty, which they are not.
pub fn builder() -> Result<PrometheusBuilder, BuildError> {
    let builder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?;
    OF_ORDERS.into_iter().try_fold(builder, |builder, name| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &ORDER_BUCKETS)
    })
}

/// Returns everything recorded so far in Prometheus' text format; empty without a recorder.
pub fn render() -> String {
    RECORDER.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_buckets() {
        const NAME: &str = "step_seconds";
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!(NAME).record(0.004);
        });
        let text = recorder.handle().render();
        assert!(text.contains("# TYPE step_seconds histogram"), "{text}");
        assert!(text.contains(r#"step_seconds_bucket{le="0.0025"} 0"#), "{text}");
        assert!(text.contains(r#"step_seconds_bucket{le="0.005"} 1"#), "{text}");
        assert!(!text.contains("quantile"), "{text}");
    }
}
