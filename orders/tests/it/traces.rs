//! Traces: one trace of an order over two gateways, a killed processor and a webhook, and who begins one.
//!
//! The same scenario runs with a receiver of OTLP in the test and with a real Jaeger, whose path is in
//! `ORDERS_TEST_JAEGER`. scripts/test.sh builds it from its Go module, and skips `jaeger_` where Go is missing.

use std::future::Future;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use test_traces::{Collector, Span};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{
    Api, Process, Servers, base_url, command, eventually, free_ports, install_tls_provider, killed_with_test,
    within,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn client() -> Client {
    install_tls_provider();
    Client::builder().no_proxy().build().expect("a client can be built")
}

/// Creates an order with these headers.
async fn create(base: &str, headers: &[(&str, &str)]) -> Value {
    let mut request = client().post(format!("{base}/orders"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let order = json!({"item": "Laptop", "quantity": 2, "price": 1299.99, "maxAttempts": 3});
    let response = request.json(&order).send().await.expect("a response");
    assert_eq!(response.status(), 201);
    response.json().await.expect("JSON")
}

/// The parts of a system whose processes export traces, each as a separate service.
struct System {
    folder: tempfile::TempDir,
    servers: Servers,
    endpoint: String,
}

impl System {
    async fn new(endpoint: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("secret.key"), "b3JkZXJzLXRyYWNlcy10ZXN0LTMyLWJ5dGVzLW9rLjA=")
            .expect("a file can be written");
        Self { folder, servers: Servers::new().await, endpoint: endpoint.to_owned() }
    }

    fn start(&self, service: &str, arguments: &[&str], more: &[(&str, &str)]) -> Process {
        let variables = [
            ("DATABASE_URL", self.servers.database_url.as_str()),
            ("REDIS_URL", &self.servers.redis_url),
            ("ORDERS_REDIS_PREFIX", &self.servers.prefix),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint),
            ("OTEL_SERVICE_NAME", service),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("ORDERS_LOG_FORMAT", "json"),
            ("ORDERS_SECRET_KEY_FILE", "secret.key"),
        ];
        let variables = [&variables[..], more].concat();
        Process::start(command(self.folder.path(), arguments, &variables), service)
    }

    async fn gateway(&self, service: &str) -> (Process, Api, String) {
        let arguments = [
            "gateway",
            "--http-addr",
            "127.0.0.1:0",
            "--grpc-addr",
            "127.0.0.1:0",
            "--lease",
            "2s",
            "--webhook-allow-networks",
            "127.0.0.0/8",
        ];
        let mut process = self.start(service, &arguments, &[]);
        let found = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some((line["http"].as_str()?.to_owned(), line["grpc"].as_str()?.to_owned()))
        };
        let (http, grpc) = process.wait_for_log("its addresses", found).await;
        (process, Api::new(format!("http://{http}")), grpc)
    }

    /// Starts a processor that gets its jobs from `source`, and whose handler posts to `receiver`.
    fn processor(&self, service: &str, grpc: &str, receiver: &str, source: &str) -> Process {
        let arguments =
            ["processor", "--metrics-addr", "127.0.0.1:0", "--worker-id", service, "--handler", "webhook"];
        let gateway = format!("http://{grpc}");
        let variables = [
            ("ORDERS_GATEWAY_URL", gateway.as_str()),
            ("ORDERS_WEBHOOK_URL", receiver),
            ("ORDERS_JOB_SOURCE", source),
        ];
        self.start(service, &arguments, &variables)
    }
}

/// Creates an order at one gateway, kills the processor that has started it over another one, and lets a second
/// processor complete it. Returns the id of the order. `find` returns the spans of the trace.
async fn follow_an_order<F: Future<Output = Vec<Span>>>(endpoint: &str, find: impl Fn() -> F) {
    let system = System::new(endpoint).await;
    let (mut first, accepting, _) = system.gateway("gateway-1").await;
    let (mut second, leasing, grpc) = system.gateway("gateway-2").await;
    let events = receiver(Duration::ZERO).await;
    let endpoint = json!({"url": events.uri(), "types": ["order.*"]});
    assert_eq!(accepting.post("/webhooks", &endpoint).await.0, 201);

    // The first processor is killed while its handler waits for a response.
    let hanging = receiver(Duration::from_secs(600)).await;
    let mut killed = system.processor("packer-1", &grpc, &hanging.uri(), "queue");
    let order = create(&accepting.base, &[("traceparent", &traceparent("01"))]).await;
    let id = order["id"].as_str().expect("an id");
    assert_eq!(order["traceparent"].as_str().map(|text| &text[3..35]), Some(TRACE));
    within("the handler to be called", requests(&hanging, 1)).await;
    killed.kill();
    killed.wait().await;
    let answering = receiver(Duration::ZERO).await;
    let mut working = system.processor("packer-2", &grpc, &answering.uri(), "gateway");
    leasing.wait_for_status(id, "completed").await;
    within("every event", requests(&events, 5)).await;

    for (server, count) in [(&hanging, 1), (&answering, 1), (&events, 5)] {
        for request in server.received_requests().await.expect("requests are recorded").iter().take(count) {
            let header = request.headers.get("traceparent").expect("every receiver learns the trace");
            assert_eq!(&header.to_str().expect("text")[3..35], TRACE);
        }
    }
    let log = accepting.get("/events?limit=100").await.1;
    let logged =
        log["events"].as_array().expect("events").iter().filter(|event| event["data"]["orderId"] == id);
    let traces: Vec<_> = logged.map(|event| event["data"]["traceparent"].clone()).collect();
    assert_eq!(traces, vec![order["traceparent"].clone(); 5]);

    // Four processes export them, each at its own times.
    let spans = eventually("every span", || async {
        let spans = find().await;
        let is_complete = EXPORTED
            .iter()
            .all(|(name, count)| spans.iter().filter(|span| span.name == *name).count() >= *count);
        is_complete.then_some(spans)
    })
    .await;
    check_trace(&spans, id);

    for process in [&mut working, &mut second, &mut first] {
        process.terminate();
        process.wait_for_success().await;
    }
}

/// The spans that [`check_trace`] reads, with their number.
const EXPORTED: [(&str, usize); 7] = [
    ("POST /orders", 1),
    ("orders insert", 1),
    ("order start", 2),
    ("order retry", 1),
    ("process order", 1),
    ("order complete", 1),
    ("POST webhook", 5),
];

fn check_trace(spans: &[Span], id: &str) {
    let all = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let one = |name: &str| match all(name)[..] {
        [span] => span,
        ref found => panic!("{} spans {name}: {spans:#?}", found.len()),
    };
    assert!(spans.iter().all(|span| span.trace_id == TRACE));
    let request = one("POST /orders");
    assert_eq!(request.parent_id.as_deref(), Some(CALLER));
    assert_eq!(
        (request.service.as_str(), request.attribute("http.response.status_code")),
        ("gateway-1", "201")
    );
    let insert = one("orders insert");
    assert_eq!((insert.parent_id.as_ref(), insert.service.as_str()), (Some(&request.span_id), "gateway-1"));
    assert_eq!(insert.links, [""; 0], "no other request is traced");

    // Both attempts, each with its worker; the killed one has no span.
    let mut starts = all("order start");
    starts.sort_by_key(|span| span.attribute("orders.attempt").to_owned());
    let started: Vec<_> = starts
        .iter()
        .map(|span| {
            (span.attribute("orders.attempt"), span.attribute("orders.worker"), span.service.as_str())
        })
        .collect();
    assert_eq!(started, [("1", "packer-1", "gateway-2"), ("2", "packer-2", "gateway-2")]);
    let expired = one("order retry");
    assert_eq!(
        (expired.attribute("error.type"), expired.attribute("orders.worker")),
        ("lease_expired", "packer-1")
    );
    let handled = one("process order");
    assert_eq!(
        (handled.parent_id.as_ref(), handled.service.as_str()),
        (Some(&starts[1].span_id), "packer-2")
    );
    assert_eq!(handled.attribute("orders.outcome"), "completed");
    let completed = one("order complete");
    assert_eq!((completed.attribute("orders.id"), completed.attribute("orders.tenant")), (id, "default"));
    let delivered: Vec<_> =
        all("POST webhook").iter().map(|span| span.attribute("orders.message.id").to_owned()).collect();
    for sequence in 1..=5 {
        assert!(delivered.contains(&format!("{id}-{sequence}")), "{delivered:?}");
    }
}

/// Starts a receiver that answers each request after a delay.
async fn receiver(delay: Duration) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(204).set_delay(delay)).mount(&server).await;
    server
}

/// Waits until the receiver has got this number of requests.
async fn requests(server: &MockServer, count: usize) {
    eventually("requests", || async {
        let received = server.received_requests().await.expect("requests are recorded").len();
        (received >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_trace_spans_two_gateways_a_killed_worker_and_a_webhook() {
    let collector = Collector::start().await;
    let find = || async { collector.spans().into_iter().filter(|span| span.trace_id == TRACE).collect() };
    follow_an_order(&collector.endpoint, find).await;
    // Only the caller asked for a trace: the gateways began none.
    let others: Vec<_> = collector.spans().into_iter().filter(|span| span.trace_id != TRACE).collect();
    assert_eq!(others, []);
}

#[tokio::test]
async fn jaeger_shows_one_trace_of_an_order() {
    let jaeger = Jaeger::start().await;
    let query = jaeger.query.clone();
    let find = || async { spans_in_jaeger(&query).await };
    follow_an_order(&jaeger.endpoint, find).await;
}

/// A real Jaeger.
struct Jaeger {
    endpoint: String,
    query: String,
    _process: Process,
}

impl Jaeger {
    async fn start() -> Self {
        let path = std::env::var("ORDERS_TEST_JAEGER");
        let path = path.expect("ORDERS_TEST_JAEGER is not set: scripts/test.sh builds Jaeger and sets it");
        // Another process may take one of the ports first; Jaeger ends then.
        for _ in 0..3 {
            let mut ports = free_ports(SERVERS_OF_JAEGER.len()).into_iter();
            let mut jaeger = killed_with_test(&path);
            let mut addresses = SERVERS_OF_JAEGER.iter().zip(&mut ports).map(|(server, port)| {
                jaeger.arg(format!("--{server}.host-port=127.0.0.1:{port}"));
                format!("http://127.0.0.1:{port}")
            });
            let (endpoint, query) = (addresses.next().expect("a port"), addresses.next().expect("a port"));
            addresses.for_each(drop);
            let mut process = Process::start(jaeger, "jaeger");
            let http = client();
            let has_started = within("Jaeger to start", async {
                loop {
                    let response = http.get(format!("{query}/api/services")).send().await;
                    if response.is_ok_and(|response| response.status().is_success()) && process.is_running() {
                        return true;
                    }
                    if !process.is_running() {
                        return false;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
            if has_started {
                return Self { endpoint, query, _process: process };
            }
            eprintln!("Jaeger ended: {}", process.stderr());
        }
        panic!("Jaeger does not start");
    }
}

/// The servers of Jaeger: the receiver of OTLP, the HTTP API, and those that are not used.
const SERVERS_OF_JAEGER: [&str; 7] = [
    "collector.otlp.grpc",
    "query.http-server",
    "admin.http",
    "collector.grpc-server",
    "collector.http-server",
    "collector.otlp.http",
    "query.grpc-server",
];

/// Reads the spans of the trace over Jaeger's HTTP API.
async fn spans_in_jaeger(query: &str) -> Vec<Span> {
    let response = client().get(format!("{query}/api/traces/{TRACE}")).send().await.expect("Jaeger answers");
    let body: Value = response.json().await.expect("JSON");
    let trace = &body["data"][0];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let spans = trace["spans"].as_array().cloned().unwrap_or_default();
    let span = |span: Value| {
        let references = span["references"].as_array().cloned().unwrap_or_default();
        let of_kind = |kind: &'static str| references.iter().filter(move |one| one["refType"] == kind);
        let tags = span["tags"].as_array().cloned().unwrap_or_default();
        let process = span["processID"].as_str().unwrap_or_default();
        Span {
            trace_id: text(&span["traceID"]),
            span_id: text(&span["spanID"]),
            parent_id: of_kind("CHILD_OF").next().map(|one| text(&one["spanID"])),
            name: text(&span["operationName"]),
            service: text(&trace["processes"][process]["serviceName"]),
            links: of_kind("FOLLOWS_FROM").map(|one| text(&one["traceID"])).collect(),
            is_error: tags.iter().any(|tag| tag["key"] == "error"),
            attributes: tags.iter().map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect(),
        }
    };
    spans.into_iter().map(span).collect()
}

/// A failed order, whose lines name the trace, the order, the tenant and the worker.
#[tokio::test]
async fn json_log_lines_have_the_ids_of_a_failed_order() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rejecting = MockServer::start().await;
    let answer = ResponseTemplate::new(422).set_body_string("no stock");
    Mock::given(any()).respond_with(answer).mount(&rejecting).await;
    let arguments = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--handler", "webhook"];
    let variables = [
        ("ORDERS_WEBHOOK_URL", rejecting.uri()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.clone()),
        ("ORDERS_LOG_FORMAT", "json".to_owned()),
        ("ORDERS_TRACE_RATIO", "1".to_owned()),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut dev = Process::start(command(folder.path(), &arguments, &variables), "orders dev");
    let base = base_url(&mut dev).await;
    let order = create(&base, &[]).await;
    let id = order["id"].as_str().expect("an id").to_owned();
    let trace = order["traceparent"].as_str().expect("every request is traced")[3..35].to_owned();
    let line = |message: &'static str| {
        let id = id.clone();
        move |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message && line["order_id"] == id.as_str()).then_some(line)
        }
    };
    let failed = dev.wait_for_log("the failed order", line("order failed")).await;
    let rejected = dev.wait_for_log("the rejection", line("webhook rejected order")).await;
    let worker = Api::new(base.clone()).order(&id).await["worker"].clone();
    assert!(worker.is_string(), "{worker}");
    for line in [&failed, &rejected] {
        assert_eq!((&line["trace_id"], &line["worker"]), (&Value::from(trace.as_str()), &worker), "{line}");
    }
    assert_eq!(failed["tenant"], "default");
    dev.terminate();
    dev.wait_for_success().await;
    // The last spans are exported before the end.
    let services: Vec<_> = collector.spans().into_iter().map(|span| span.service).collect();
    assert!(!services.is_empty() && services.iter().all(|service| service == "orders"), "{services:?}");
}

/// Callers without a credential begin no trace; known ones decide themselves, and otherwise the ratio does.
#[tokio::test]
async fn only_known_callers_and_the_ratio_begin_traces() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = [
        "--http-addr",
        "127.0.0.1:0",
        "--grpc-addr",
        "127.0.0.1:0",
        "--auth",
        "keys",
        "--bootstrap-key-file",
        "admin.key",
    ];
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let mut dev = Process::start(command(folder.path(), &arguments, &variables), "orders dev");
    let base = base_url(&mut dev).await;
    let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the file was created");
    let key = format!("Bearer {}", key.trim_end());
    let (sampled, not_sampled) = (traceparent("01"), traceparent("00"));
    let stranger = client().post(format!("{base}/orders")).header("traceparent", &sampled).send();
    assert_eq!(stranger.await.expect("a response").status(), 401);
    let page = client().get(&base).header("traceparent", &sampled).send();
    assert_eq!(page.await.expect("a response").status(), 200);
    let authorization = ("authorization", key.as_str());
    for headers in [&[authorization][..], &[authorization, ("traceparent", &not_sampled)]] {
        assert_eq!(create(&base, headers).await["traceparent"], Value::Null);
    }
    let traced = create(&base, &[authorization, ("traceparent", &sampled)]).await;
    assert_eq!(traced["traceparent"].as_str().map(|text| &text[3..35]), Some(TRACE));
    dev.terminate();
    dev.wait_for_success().await;
    let requests: Vec<_> =
        collector.spans().into_iter().filter(|span| span.name.starts_with("POST")).collect();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].trace_id, TRACE);
}
