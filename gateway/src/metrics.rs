//! The declaration of every metric of the gateway.

mod series;

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge(Unit),
    /// Of durations in seconds.
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

impl Kind {
    /// Registers a series with 0.
    fn register(self, name: &'static str, labels: Vec<Label>) {
        match self {
            Counter => counter!(name, labels).increment(0),
            Gauge(_) => gauge!(name, labels).increment(0.0),
            Histogram => drop(histogram!(name, labels)),
        }
    }
}

/// Every metric of the gateway and the broker: its name, kind and help. A name is `orders_`, what is measured, and its
/// unit: `_total` of a counter, `_seconds` or `_bytes`; a gauge that only counts has none.
const METRICS: [(&str, Kind, &str); 73] = [
    (
        "orders_batch_entries_total",
        Counter,
        "Creates and commands that were carried out in batches, by kind: create or command.",
    ),
    ("orders_batches_total", Counter, "Batches, each of which is a transaction, by kind: create or command."),
    ("orders_build_info", Gauge(Unit::Count), "1, with the version of the program as a label."),
    ("orders_bus_events_dropped_total", Counter, "Events dropped because the publish buffer was full."),
    (
        "orders_unserved_kinds",
        Gauge(Unit::Count),
        "Kinds of orders that wait for more than a minute while no order of the kind is processed.",
    ),
    ("orders_progress_dropped_total", Counter, "Progress of attempts that did not reach other gateways."),
    (
        "orders_assigned_jobs_total",
        Counter,
        "Jobs assigned to workers of `Claim`, by origin: creation (started in the transaction that created the order) or \
         queue.",
    ),
    (
        "orders_attempt_duration_seconds",
        Histogram,
        "Time from the start of an attempt to its end, by outcome: completed, retried, released, expired, failed or \
         cancelled.",
    ),
    (
        "orders_bus_messages_rejected_total",
        Counter,
        "Messages from the bus that were rejected, by reason: foreign (another installation), forged, replayed or \
         unreadable.",
    ),
    (
        "orders_bus_publish_errors_total",
        Counter,
        "Failed publishes; other gateways deliver these events from the database.",
    ),
    (
        "orders_completion_duration_seconds",
        Histogram,
        "Time from the creation of an order to its end, by outcome: completed, failed or cancelled.",
    ),
    ("orders_created_total", Counter, "Orders accepted."),
    (
        "orders_database_clock_step_seconds",
        Gauge(Unit::Seconds),
        "Latest step of the database's clock, negative for a step back; 0 without one.",
    ),
    (
        "orders_database_clock_steps_total",
        Counter,
        "Steps of the database's clock, by direction: back or forward.",
    ),
    (
        "orders_database_connections",
        Gauge(Unit::Count),
        "Connections to the database, by pool (readers, writers, searches or replica) and state (idle or used).",
    ),
    (
        "orders_database_replica_reads_total",
        Counter,
        "Reads that a replica may serve, by source: replica, or primary while the replica cannot be read.",
    ),
    (
        "orders_database_transaction_duration_seconds",
        Histogram,
        "Time of a transaction that writes, from the wait for its connection to its COMMIT, with its repetitions.",
    ),
    ("orders_database_statements_total", Counter, "SQL statements sent to the database."),
    ("orders_database_transaction_retries_total", Counter, "Transactions retried after a conflict."),
    ("orders_dispatch_duration_seconds", Histogram, "Time of a pass of dispatch over the due orders."),
    ("orders_enqueued_total", Counter, "Jobs pushed to the queue, including repeated pushes of an order."),
    (
        "orders_event_log_unnumbered",
        Gauge(Unit::Count),
        "Committed rows of the event log without a position, counted up to 10,000. More than a few for long means that \
         numbering fails.",
    ),
    ("orders_events_recovered_total", Counter, "Events delivered from the database instead of the bus."),
    ("orders_failed_total", Counter, "Orders failed, by error class; after 50 classes the label is `other`."),
    (
        "orders_gateways",
        Gauge(Unit::Count),
        "Running gateways, among which the limits of keys and tenants are divided.",
    ),
    ("orders_graphql_events_sent_total", Counter, "Events sent to GraphQL subscribers."),
    (
        "orders_graphql_persisted_queries_total",
        Counter,
        "Requests with the hash of a persisted query, by outcome: hit, miss or registered.",
    ),
    (
        "orders_graphql_rejections_total",
        Counter,
        "GraphQL requests and websockets rejected, by exceeded limit.",
    ),
    ("orders_graphql_subscriptions", Gauge(Unit::Count), "Active GraphQL subscriptions."),
    ("orders_graphql_websocket_closes_total", Counter, "GraphQL websockets closed, by close code."),
    ("orders_graphql_websockets", Gauge(Unit::Count), "Open GraphQL websockets, by protocol."),
    ("orders_event_log_bytes", Gauge(Unit::Bytes), "Bytes of the events that the event log keeps."),
    ("orders_event_log_events", Gauge(Unit::Count), "Events that the event log keeps."),
    ("orders_event_log_numbered_total", Counter, "Events that this gateway has numbered in the event log."),
    (
        "orders_auth_total",
        Counter,
        "Authenticated requests, by method (key, token, session, certificate, tracking_link, none) and outcome \
         (accepted, refused, rate_limited).",
    ),
    (
        "orders_http_rejections_total",
        Counter,
        "HTTP requests, streams and connections rejected or aborted, by exceeded limit.",
    ),
    (
        "orders_http_request_duration_seconds",
        Histogram,
        "Time from the request head to the response head, by method and route.",
    ),
    ("orders_http_requests_total", Counter, "HTTP requests served, by method, route and status."),
    (
        "orders_jwks_loaded_timestamp_seconds",
        Gauge(Unit::Seconds),
        "Time of the last successful read of the token issuer's keys, in seconds since 1970; 0 before it.",
    ),
    (
        "orders_jwks_reads_total",
        Counter,
        "Reads of the token issuer's keys, by outcome: success, or failure, which keeps the loaded keys.",
    ),
    ("orders_leases_expired_total", Counter, "Attempts whose lease expired."),
    ("orders_open_connections", Gauge(Unit::Count), "Open connections on all ports."),
    (
        "orders_open_streams",
        Gauge(Unit::Count),
        "Open websockets, event streams, long polls and gRPC streams, by kind.",
    ),
    (
        "orders_panics_total",
        Counter,
        "Panics caught, by component: http, graphql, grpc, batch, bulk or a background task.",
    ),
    ("orders_parked", Gauge(Unit::Count), "Orders currently parked because they cannot be processed."),
    (
        "orders_parked_total",
        Counter,
        "Orders parked, by reason: undecodable, contradiction, too_large, refused (by the database), defect or too_slow.",
    ),
    ("orders_pruned_total", Counter, "Orders removed by retention."),
    (
        "orders_quota_rejections_total",
        Counter,
        "Requests refused by a limit of a key or a tenant, by limit: key_rate, tenant_rate, key_streams, tenant_streams \
         or tenant_open_orders.",
    ),
    (
        "orders_queue_depth",
        Gauge(Unit::Count),
        "Jobs in the queue at the last check; an order may have several.",
    ),
    (
        "orders_queue_installations",
        Gauge(Unit::Count),
        "Installations that use this queue. More than 1 means that two systems share one Redis prefix.",
    ),
    (
        "orders_queue_oldest_ready_age_seconds",
        Gauge(Unit::Seconds),
        "Age of the oldest order that is ready to be started; 0 without one. Orders that wait for a retry do not count.",
    ),
    ("orders_queue_paused", Gauge(Unit::Count), "1 while the queue is paused, otherwise 0."),
    ("orders_ready", Gauge(Unit::Count), "Orders ready to be started, counted up to 100,000."),
    ("orders_request_buffer_bytes", Gauge(Unit::Bytes), "Memory held by request bodies."),
    ("orders_response_buffer_bytes", Gauge(Unit::Bytes), "Memory held by responses."),
    ("orders_searches_rejected_total", Counter, "Searches rejected because too many were running."),
    ("orders_subscribed", Gauge(Unit::Count), "Orders with a subscriber on this gateway."),
    (
        "orders_sweeper",
        Gauge(Unit::Count),
        "1 in the gateway with the lease of the sweeper, which ends expired claims, removes old rows and measures the queue.",
    ),
    (
        "orders_tls_certificate_expiry_timestamp_seconds",
        Gauge(Unit::Seconds),
        "End of validity of a loaded certificate, in seconds since 1970, by certificate: http, grpc, or gateway_client \
         of a processor.",
    ),
    (
        "orders_tls_handshake_errors_total",
        Counter,
        "Connections closed before a complete TLS handshake, by reason: client_certificate, closed, protocol, \
         refused_by_client, timeout or without_tls.",
    ),
    (
        "orders_tls_reloads_total",
        Counter,
        "Reloads of changed TLS files, by certificate and outcome: success, or failure, which keeps the loaded files.",
    ),
    ("orders_transitions_total", Counter, "Status changes of orders after their creation, by new status."),
    (
        "orders_webhook_deliveries_total",
        Counter,
        "Requests to webhook endpoints, by outcome: delivered, failed, gone, refused, rejected, throttled, timeout or \
         unreachable.",
    ),
    ("orders_webhook_delivery_duration_seconds", Histogram, "Duration of requests to webhook endpoints."),
    (
        "orders_webhook_endpoints",
        Gauge(Unit::Count),
        "Webhook endpoints, by state: active, disabled or failing.",
    ),
    (
        "orders_webhook_events_missed_total",
        Counter,
        "Events that were removed from the event log before they were delivered to a webhook endpoint.",
    ),
    (
        "orders_webhook_lag_events",
        Gauge(Unit::Count),
        "Events of the log that the slowest webhook endpoint has not passed. Disabled endpoints do not count.",
    ),
    ("orders_webhook_lag_seconds", Gauge(Unit::Seconds), "Age of the oldest of these events."),
    (
        "orders_webhook_messages",
        Gauge(Unit::Count),
        "Webhook messages by state: waiting for another attempt, or failed after the last one.",
    ),
    (
        "orders_wait_duration_seconds",
        Histogram,
        "Time from the point at which an order could be started to its start, by priority.",
    ),
    (
        "orders_worker_credits",
        Gauge(Unit::Count),
        "Unused credits of the workers of this gateway: jobs that they wait for.",
    ),
    ("orders_worker_streams", Gauge(Unit::Count), "Processors connected to this gateway."),
    (
        "orders_workers",
        Gauge(Unit::Count),
        "Processors connected to any gateway of the installation, or 1 while workers without a stream start orders.",
    ),
];

/// Returns every metric of the gateway and the broker: its name, its type and its help.
pub fn declared() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    METRICS.into_iter().map(|(name, kind, help)| {
        let kind = match kind {
            Counter => "counter",
            Gauge(_) => "gauge",
            Histogram => "histogram",
        };
        (name, kind, help)
    })
}

/// Starts recording for a gateway, once in the process; later calls do nothing. Every series exists from now on.
pub fn install() {
    telemetry::recorder::install(|| {
        describe();
        register();
    });
}

/// As [`install`], without the series of a gateway: for processes of another role, which have only the metrics of shared
/// parts such as TLS.
pub fn install_recorder() {
    telemetry::recorder::install(describe);
}

fn describe() {
    for (name, kind, help) in METRICS {
        match kind {
            Counter => describe_counter!(name, Unit::Count, help),
            Gauge(unit) => describe_gauge!(name, unit, help),
            Histogram => describe_histogram!(name, Unit::Seconds, help),
        }
    }
}

/// Registers every series with 0.
fn register() {
    for (name, kind, _) in METRICS {
        series::labels_of(name).into_iter().for_each(|labels| kind.register(name, labels));
    }
    series::register_routes();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn recorded_metrics_have_their_help() {
        let recorder = telemetry::recorder::builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!("orders_http_request_duration_seconds").record(0.004);
        });
        let text = recorder.handle().render();
        assert!(text.contains("# TYPE orders_http_request_duration_seconds histogram"), "{text}");
        assert!(text.contains(r#"orders_http_request_duration_seconds_bucket{le="0.0025"} 0"#), "{text}");
        assert!(text.contains(r#"orders_http_request_duration_seconds_bucket{le="0.005"} 1"#), "{text}");
        assert!(
            text.contains("# HELP orders_http_request_duration_seconds Time from the request head"),
            "{text}"
        );
        assert!(!text.contains("quantile"), "{text}");
    }

    #[test]
    fn every_metric_has_its_series_from_the_start() {
        let recorder = telemetry::recorder::builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, register);
        let text = recorder.handle().render();
        for (name, kind, _) in METRICS {
            let sample = if kind == Histogram { format!("{name}_count") } else { name.to_owned() };
            let found = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(&sample)).count();
            let expected = match name {
                name if series::ELSEWHERE.contains(&name) => 0,
                name if series::BY_ROUTE.contains(&name) => found.max(50),
                name => series::labels_of(name).len(),
            };
            assert_eq!(found, expected, "{name}");
        }
        assert!(text.lines().all(|line| line.starts_with('#') || line.is_empty() || line.ends_with(" 0")));
        for line in [
            r#"orders_database_connections{pool="writers",state="used"} 0"#,
            r#"orders_http_requests_total{method="POST",route="/orders",status="201"} 0"#,
            r#"orders_http_requests_total{method="GET",route="/orders/{id}",status="503"} 0"#,
            r#"orders_http_request_duration_seconds_count{method="GET",route="/orders/{id}"} 0"#,
            "orders_webhook_delivery_duration_seconds_count 0",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }

    /// Collects the names that the code passes to `counter!` and the other macros.
    fn recorded(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("tests") || path.ends_with("metrics") {
                continue;
            } else if path.is_dir() {
                recorded(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("metrics.rs")
            {
                let code = std::fs::read_to_string(&path).unwrap();
                for start in ["counter!(\"", "gauge!(\"", "histogram!(\""] {
                    let found = code.split(start).skip(1).filter_map(|rest| rest.split('"').next());
                    names.extend(found.map(str::to_owned));
                }
            }
        }
    }

    #[test]
    fn every_recorded_metric_is_declared_and_every_declared_one_is_recorded() {
        let mut names = BTreeSet::new();
        for folder in ["", "../broker", "../telemetry", "../tls"] {
            recorded(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut names);
        }
        let declared: BTreeSet<String> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(names, declared);
    }

    /// Prometheus naming: one prefix, base units as suffix, `_total` for counters only.
    #[test]
    fn every_name_has_the_prefix_and_its_unit() {
        const PAGE: &str = include_str!("../../docs/contribute/names.md");
        for (name, kind, help) in METRICS {
            let unit = match kind {
                Counter => "_total",
                Gauge(Unit::Seconds) | Histogram => "_seconds",
                Gauge(Unit::Bytes) => "_bytes",
                Gauge(_) => "",
            };
            let suffix = ["_total", "_seconds", "_bytes"].into_iter().find(|suffix| name.ends_with(suffix));
            assert_eq!(suffix.unwrap_or_default(), unit, "{name}");
            assert!(name.starts_with("orders_") && help.ends_with('.'), "{name}");
            assert!(PAGE.contains(&format!("| `{name}` |")), "docs/contribute/names.md does not list {name}");
        }
    }
}
