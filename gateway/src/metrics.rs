//! The recorder that `/metrics` renders, and what each metric of the gateway means.

use std::sync::OnceLock;
use std::time::Duration;

use crate::store::Cause;
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Upper bounds of the buckets of every duration, in seconds. Buckets and not quantiles, because
/// those of several gateways can be added up.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often recorded durations are put into their buckets. Until then each one takes up memory,
/// whether or not anybody ever asks for `/metrics`.
const UPKEEP: Duration = Duration::from_secs(5);

const COUNTERS: [(&str, &str); 22] = [
    ("bus_dropped_total", "Events that were not published because too many were waiting."),
    ("bus_errors_total", "Messages that could not be published; subscribers of other gateways wait longer."),
    (
        "bus_messages_refused_total",
        "Messages of the bus that were dropped, by reason: foreign (another installation), forged, replayed, unreadable.",
    ),
    ("clock_steps_total", "Steps of the database's clock that were seen, by direction: back or forward."),
    ("feed_recovered_total", "Events that reached subscribers from the database and not over the bus."),
    ("graphql_events_sent_total", "Events handed to GraphQL subscribers."),
    (
        "graphql_persisted_queries_total",
        "Documents that came as a hash, by outcome: found, unknown, or registered.",
    ),
    (
        "graphql_refusals_total",
        "GraphQL requests and sockets that were refused, by the limit that they broke.",
    ),
    ("graphql_socket_closes_total", "GraphQL sockets that were closed, by close code."),
    (
        "http_refusals_total",
        "HTTP requests and connections that were refused or given up, by the limit that they broke.",
    ),
    ("http_requests_total", "Answered HTTP requests, by method, route and status."),
    ("leases_expired_total", "Attempts that were given up because their worker showed no sign of life."),
    ("order_transitions_total", "Changes of orders after their creation, by the new status."),
    ("orders_created_total", "Accepted orders."),
    (
        "orders_failed_total",
        "Orders that have failed, by error class; beyond 50 classes the others share the class `other`.",
    ),
    ("orders_dispatched_total", "Hints put into the queue, repeated ones included."),
    (
        "orders_parked_total",
        "Orders that were parked because they cannot be processed, by reason: undecodable, contradiction, too_large, \
         refused (by the database) or defect.",
    ),
    ("orders_pruned_total", "Final orders that were removed because they were kept long enough."),
    (
        "panics_total",
        "Panics that were caught, by the component: http, graphql, grpc, batch, bulk or a background task.",
    ),
    ("searches_refused_total", "Lists without an index that were refused because enough others ran."),
    ("sql_statements_total", "Statements that were sent to the database."),
    ("store_conflicts_total", "Transactions that were repeated because of a conflict with another one."),
];

const GAUGES: [(&str, &str); 16] = [
    (
        "clock_step_seconds",
        "The latest step of the database's clock; negative when it was set back, 0 when there was none.",
    ),
    ("graphql_sockets", "Open GraphQL sockets, by protocol."),
    ("graphql_subscriptions", "GraphQL subscriptions that are being served."),
    ("http_connections", "Open connections on all ports."),
    ("inflight_body_bytes", "Bytes of request bodies that are held at the moment."),
    ("inflight_response_bytes", "Bytes of responses that are held at the moment."),
    (
        "oldest_claimable_seconds",
        "How long the order that could be started and has waited longest has been waiting; 0 when none waits. \
         Orders that wait for a retry do not count.",
    ),
    ("open_streams", "Open websockets, event streams, long polls and streams of gRPC, by kind."),
    ("orders_parked", "Orders that are parked at the moment because they cannot be processed."),
    ("queue_hints", "Jobs in the queue at the last look; an order may have several."),
    (
        "queue_installations",
        "Installations whose gateways use this queue. More than 1 means that two systems share one Redis prefix.",
    ),
    ("queue_length", "Orders that wait for a free worker or for the end of a pause, counted up to 100,000."),
    ("queue_paused", "Whether the queue is paused: 1 or 0."),
    ("watched_orders", "Orders that somebody watches through this gateway."),
    ("worker_streams", "Processors that are connected to this gateway."),
    (
        "workers",
        "Workers of the installation: the processors that are connected to any of its gateways, or 1 while orders are \
         started by workers of other kinds.",
    ),
];

const HISTOGRAMS: [(&str, &str); 1] =
    [("http_request_seconds", "Time from the head of a request to the head of its answer.")];

/// Starts recording, once for the whole process, however often it is called. Until then metrics
/// cost nothing and go nowhere.
pub fn install() {
    RECORDER.get_or_init(|| match recorder() {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::warn!(%error, "metrics are off");
            None
        }
    });
}

fn recorder() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    let kept = handle.clone();
    // The recorder is the process's, so this ends with it. Without the thread only `/metrics` tidies up.
    let upkeep = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            kept.run_upkeep();
        }
    });
    if let Err(error) = upkeep {
        tracing::warn!(%error, "metrics take up memory until they are asked for");
    }
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
}

fn describe() {
    COUNTERS.into_iter().for_each(|(name, help)| describe_counter!(name, help));
    GAUGES.into_iter().for_each(|(name, help)| describe_gauge!(name, help));
    HISTOGRAMS.into_iter().for_each(|(name, help)| describe_histogram!(name, help));
    // What an alert compares is there from the start.
    metrics::gauge!("orders_parked").set(0.0);
    metrics::gauge!("clock_step_seconds").set(0.0);
    for direction in ["back", "forward"] {
        metrics::counter!("clock_steps_total", "direction" => direction).absolute(0);
    }
    for cause in Cause::ALL {
        metrics::counter!("orders_parked_total", "reason" => cause.as_str()).absolute(0);
    }
}

/// Everything recorded so far in Prometheus' text format; empty when nothing is recorded.
pub fn render() -> String {
    RECORDER.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn durations_are_counted_in_buckets_and_explained() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!("http_request_seconds").record(0.004);
        });
        let text = recorder.handle().render();
        assert!(text.contains("# TYPE http_request_seconds histogram"), "{text}");
        assert!(text.contains(r#"http_request_seconds_bucket{le="0.0025"} 0"#), "{text}");
        assert!(text.contains(r#"http_request_seconds_bucket{le="0.005"} 1"#), "{text}");
        assert!(text.contains("# HELP http_request_seconds Time from"), "{text}");
        assert!(!text.contains("quantile"), "{text}");
    }

    /// The names that the code gives to `counter!` and its like.
    fn recorded(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                recorded(&path, names);
            } else if !path.ends_with("metrics.rs") {
                let code = std::fs::read_to_string(&path).unwrap();
                for start in ["counter!(\"", "gauge!(\"", "histogram!(\""] {
                    let found = code.split(start).skip(1).filter_map(|rest| rest.split('"').next());
                    names.extend(found.map(str::to_owned));
                }
            }
        }
    }

    #[test]
    fn every_metric_is_explained_and_every_explanation_has_its_metric() {
        let mut names = BTreeSet::new();
        for folder in ["src", "../broker/src"] {
            recorded(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut names);
        }
        let explained = COUNTERS.iter().chain(&GAUGES).chain(&HISTOGRAMS);
        let explained: BTreeSet<String> = explained.map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names, explained);
    }
}
