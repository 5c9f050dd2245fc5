//! The names and series of all metrics of a running system.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Api, Process, base_url, command, eventually, redis_url};

/// Gauges that count, and therefore have no unit.
const DIMENSIONLESS: [&str; 25] = [
    "orders_build_info",
    "orders_unserved_kinds",
    "orders_database_connections",
    "orders_processor_slots",
    "orders_event_log_events",
    "orders_event_log_unnumbered",
    "orders_webhook_endpoints",
    "orders_webhook_lag_events",
    "orders_webhook_messages",
    "orders_gateways",
    "orders_graphql_subscriptions",
    "orders_graphql_websockets",
    "orders_open_connections",
    "orders_open_streams",
    "orders_parked",
    "orders_processor_running",
    "orders_queue_depth",
    "orders_queue_installations",
    "orders_queue_paused",
    "orders_ready",
    "orders_subscribed",
    "orders_sweeper",
    "orders_worker_credits",
    "orders_worker_streams",
    "orders_workers",
];

/// Metrics of parts that this system does not have: TLS and a token issuer.
const NOT_CONFIGURED: [&str; 4] = [
    "orders_jwks_loaded_timestamp_seconds",
    "orders_jwks_reads_total",
    "orders_tls_certificate_expiry_timestamp_seconds",
    "orders_tls_reloads_total",
];
/// Metrics with a label whose values are not all known: error classes of handlers, and statuses of responses.
const UNBOUNDED: [&str; 3] =
    ["orders_failed_total", "orders_http_request_duration_seconds_count", "orders_http_requests_total"];

/// Returns the series, that of a histogram by its count.
fn series(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let series = samples.map(|(series, _)| series);
    series.filter(|series| !series.contains("_bucket{") && !name(series).ends_with("_sum")).collect()
}

fn name(series: &str) -> &str {
    series.split('{').next().unwrap_or_default()
}

/// Returns the metrics of gateways or of processors in the reference, which another test compares with the code.
fn declared(role: &str) -> Vec<String> {
    let reference = include_str!("../../../docs/reference/metrics.md");
    let section = reference.split("\n## ").find_map(|section| section.strip_prefix(role)).expect("a section");
    let names = section.lines().filter_map(|line| line.strip_prefix("| `orders_")?.split('`').next());
    names.map(|name| format!("orders_{name}")).collect()
}

/// A gateway and a processor in one process record the metrics of both.
#[tokio::test]
async fn metrics_have_prefix_help_and_unit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = [
        "dev",
        "--http-addr",
        "127.0.0.1:0",
        "--grpc-addr",
        "127.0.0.1:0",
        "--simulate-min-delay",
        "0",
        "--simulate-max-delay",
        "0",
    ];
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    // The processor starts after the gateway.
    let at_start = eventually("the metrics of both", || async {
        let (_, text) = api.get("/metrics").await;
        Some(text.as_str()?.to_owned()).filter(|text| text.contains("orders_processor_slots{"))
    })
    .await;
    let at_start = series(&at_start);
    let declared = [declared("Gateway"), declared("Processor")].concat();
    assert!(declared.len() > 70, "{}", declared.len());
    for metric in declared.iter().filter(|metric| !NOT_CONFIGURED.contains(&metric.as_str())) {
        let is_there = |series: &&str| {
            name(series).strip_prefix(metric.as_str()).is_some_and(|part| ["", "_count"].contains(&part))
        };
        assert!(at_start.iter().any(is_there), "{metric} has no series from the start");
    }
    let id = api.create_id().await;
    api.wait_for_status(&id, "completed").await;
    // One rejection of each kind, and a long poll that has ended.
    let (status, _) = api.post("/graphql", &json!({"query": "{ a { b } }".repeat(2_000)})).await;
    assert!(status >= 400, "{status}");
    let (status, _) = api.get(&format!("/orders/{}", "x".repeat(20_000))).await;
    assert_eq!(status, 414);
    let (status, _) = api.get(&format!("/orders/{id}?waitForSequence=1")).await;
    assert_eq!(status, 200);
    let text = eventually("the metrics of both", || async {
        let (_, text) = api.get("/metrics").await;
        let text = text.as_str()?.to_owned();
        ["orders_processor_attempts_finished_total", "orders_transitions_total", "orders_queue_depth"]
            .iter()
            .all(|name| text.contains(name))
            .then_some(text)
    })
    .await;
    let new: Vec<&str> = series(&text)
        .into_iter()
        .filter(|series| !at_start.contains(series) && !UNBOUNDED.contains(&name(series)))
        .collect();
    assert!(new.is_empty(), "these series do not exist from the start: {new:?}");
    let names = include_str!("../../../docs/contribute/names.md");
    let mut families = Vec::new();
    for (name, kind) in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        families.push(name);
        assert!(name.starts_with("orders_"), "{name} has no prefix");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help text");
        assert!(names.contains(&format!("`{name}`")), "{name} is not in docs/contribute/names.md");
        let has_unit = name.ends_with("_seconds") || name.ends_with("_bytes");
        match kind {
            "counter" => assert!(name.ends_with("_total"), "{name} is a counter"),
            "histogram" => assert!(name.ends_with("_seconds"), "{name} is a histogram"),
            _ => assert!(has_unit || DIMENSIONLESS.contains(&name), "{name} is a {kind} without a unit"),
        }
    }
    assert!(families.len() > 25, "{families:?}");
    // Every sample belongs to a declared metric.
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let sample = line.split(['{', ' ']).next().unwrap_or_default();
        let belongs = |family: &&str| {
            sample.strip_prefix(*family).is_some_and(|part| ["", "_bucket", "_sum", "_count"].contains(&part))
        };
        assert!(families.iter().any(belongs), "{line}");
    }
    dev.terminate();
    dev.wait_for_success().await;
}

/// A processor that has no gateway and no order yet exports all its metrics, and none of a gateway.
#[tokio::test]
async fn a_processor_exports_its_own_series_from_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = [
        "processor",
        "--metrics-addr",
        "127.0.0.1:0",
        "--gateway-url",
        "http://127.0.0.1:1",
        "--log-format",
        "json",
    ];
    let redis = redis_url();
    let mut processor =
        Process::start(command(folder.path(), &arguments, &[("REDIS_URL", &redis)]), "processor");
    let address = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).ok()?["metrics"].as_str().map(str::to_owned)
    };
    let address = processor.wait_for_log("its address", address).await;
    let (_, text) = Api::new(format!("http://{address}")).get("/metrics").await;
    let text = text.as_str().expect("metrics").to_owned();
    let (own, others): (BTreeSet<&str>, BTreeSet<&str>) =
        series(&text).into_iter().map(name).partition(|name| name.starts_with("orders_processor_"));
    let declared = declared("Processor");
    assert_eq!(own, declared.iter().map(String::as_str).collect());
    // Those of its port.
    assert_eq!(others, BTreeSet::from(["orders_open_connections"]));
    processor.terminate();
    processor.wait_for_success().await;
}
