//! Small GraphQL requests with large results: on every transport the response stays within its limit, memory does not
//! grow, and the program serves other clients meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::ALONE;
use crate::harness::{Process, base_url, command, within};

/// Maximum growth of memory: the largest response of each client exists as values, as text, in the connection and once more
/// in memory that the allocator has not returned.
const MAX_GROWTH_KIB: u64 = 4 * CLIENTS as u64 * 8 * 1024;
/// Maximum latency of a liveness probe.
const MAX_PROBE_LATENCY: Duration = Duration::from_millis(100);
/// Another program can use the cores for a moment. A probe that waits for these requests waits in every round.
const ROUNDS: usize = 3;
/// Maximum size of a response: `--max-response-size`, and the overhead of a transport.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024 + 1_024;
/// Concurrent clients with the same request.
const CLIENTS: usize = 3;

struct Server {
    process: Process,
    base: String,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        crate::harness::install_tls_provider();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = [
            "--http-addr",
            "127.0.0.1:0",
            "--grpc-addr",
            "127.0.0.1:0",
            "--simulate-min-delay",
            "0",
            "--simulate-max-delay",
            "0",
            "--graphql-max-batch-size",
            "10",
        ];
        let mut process = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
        let base = base_url(&mut process).await;
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        Self { process, base, client, _folder: folder }
    }

    /// Creates a hundred orders of the maximum size.
    async fn create_large_orders(&self) {
        let item = "😀".repeat(80);
        let lines: Vec<Value> =
            (0..190).map(|_| json!({"item": item, "quantity": 1, "price": "1"})).collect();
        let body = Value::from(vec![json!({"lineItems": lines}); 25]).to_string();
        for _ in 0..4 {
            let request = self.client.post(format!("{}/orders/bulk", self.base));
            let request = request.header("content-type", "application/json").body(body.clone());
            let response = within("the bulk", request.send()).await.expect("a response");
            assert_eq!(response.status(), 201, "{}", response.text().await.unwrap_or_default());
        }
    }

    async fn post(&self, body: &str, accept: &str) -> String {
        let request = self.client.post(format!("{}/graphql", self.base));
        let request = request.header("content-type", "application/json").header("accept", accept);
        let response =
            within("the response", request.body(body.to_owned()).send()).await.expect("a response");
        assert!(response.status().as_u16() < 500, "{body:.200}: {}", response.status());
        within("the body", response.text()).await.expect("a body")
    }

    /// Sends the same operation under several ids of one websocket, and returns the results.
    async fn send_over_websocket(&self, payload: &Value, ids: usize) -> Vec<String> {
        let url = format!("{}/graphql", self.base.replacen("http", "ws", 1));
        let mut request = url.into_client_request().expect("a URL");
        let protocol = "graphql-transport-ws".parse().expect("a header value");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let connect = within("the socket", tokio_tungstenite::connect_async(request)).await;
        let (mut socket, _) = connect.expect("a socket");
        let mut messages = vec![json!({"type": "connection_init"})];
        messages.extend(
            (0..ids).map(|id| json!({"type": "subscribe", "id": id.to_string(), "payload": payload})),
        );
        for message in messages {
            socket.send(Message::text(message.to_string())).await.expect("it is sent");
        }
        let mut results = Vec::new();
        while results.len() < ids {
            let message = within("a message", socket.next()).await.expect("the socket is open");
            match message.expect("the socket is open") {
                Message::Text(text)
                    if text.contains(r#""type":"next""#) || text.contains(r#""type":"error""#) =>
                {
                    results.push(text.to_string());
                }
                Message::Close(frame) => panic!("{frame:?}"),
                _ => {}
            }
        }
        results
    }

    /// Returns a line of `/proc/PID/status`, in KiB.
    fn memory(&self, line: &str) -> u64 {
        self.process.memory(line) / 1024
    }

    /// Resets the peak of memory.
    fn reset_peak_memory(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").expect("it may be written");
    }

    /// Runs `work` beside liveness probes, and returns the 95th percentile of their latency.
    async fn probed(&self, work: impl Future<Output = ()>) -> Duration {
        let done = Arc::new(AtomicBool::new(false));
        let probe = async {
            let mut waits = Vec::new();
            while !done.load(Ordering::Relaxed) || waits.len() < 60 {
                let start = Instant::now();
                let probe = self.client.get(format!("{}/livez", self.base)).send();
                let response = within("a probe", probe).await.expect("a response");
                assert_eq!(response.status(), 200);
                waits.push(start.elapsed());
                tokio::task::yield_now().await;
            }
            waits.sort_unstable();
            waits[waits.len() * 95 / 100]
        };
        let work = async {
            work.await;
            done.store(true, Ordering::Relaxed);
        };
        let ((), wait) = futures_util::future::join(work, probe).await;
        wait
    }
}

fn page(selected: &str) -> Value {
    json!({"query": format!("{{orders(first:100){{{selected}}}}}")})
}

fn bulk(rows: usize, lines: &[Value], selected: &str) -> Value {
    let rows = vec!["{lineItems:$l}"; rows].join(" ");
    let query =
        format!("mutation($l:[LineItemInput!]){{createOrders(input:{{orders:[{rows}]}}){{{selected}}}}}");
    json!({"query": query, "variables": {"l": lines}})
}

/// Returns the requests, and whether the response is an error instead of data.
fn requests() -> Vec<(&'static str, Value, bool)> {
    let empty = vec![json!({}); 200];
    let wrong = vec![json!({"item": "", "quantity": 0, "price": "x"}); 200];
    let large = vec![json!({"item": "😀".repeat(200), "quantity": 1, "price": "1"}); 200];
    let aliases = |name: &str, n: usize| (0..n).map(|n| format!("a{n}:{name} ")).collect::<String>();
    let errors = "results{outcome userErrors{message field code a:message b:message c:message}}";
    let types = format!(
        "{{__schema{{{}}}}}",
        (0..15)
            .map(|n| format!(
                "a{n}:types{{{}}} ",
                "fields{name description args{name description type{name description}}}"
            ))
            .collect::<String>()
    );
    vec![
        ("R1", bulk(660, &empty, "results{userErrors{message field code}}"), true),
        ("R1 with values", bulk(130, &wrong, errors), false),
        ("R2", page(&format!("nodes{{lineItems{{item {}}}}}", aliases("item", 25))), true),
        ("R2 within the complexity", page("nodes{lineItems{item a:item b:item}}"), true),
        ("R2 in edges", page("edges{node{lineItems{item a:item b:item}}}"), true),
        ("R2 over timelines", page("nodes{events{order{lineItems{item}}}}"), true),
        ("R2 in small values", page(&format!("nodes{{lineItems{{{}}}}}", aliases("__typename", 13))), true),
        ("R2 in numbers", page(&format!("nodes{{lineItems{{{}}}}}", aliases("quantity", 13))), true),
        ("R3", bulk(600, &large, "results{order{id}}"), true),
        ("R3 once", bulk(1, &large[..70], "results{order{lineItems{item}}}"), false),
        ("the schema", json!({"query": types}), false),
    ]
}

/// Checks the size and the kind of a response.
fn check_response(name: &str, transport: &str, text: &str, is_error: bool) {
    assert!(text.len() <= MAX_RESPONSE_BYTES, "{name} over {transport}: {} bytes", text.len());
    let codes = ["limit_exceeded", "body_too_large", "document_too_large", "invalid_input"];
    let refused = codes.iter().any(|code| text.contains(code));
    if is_error {
        assert!(
            refused && text.len() < 16 * 1024,
            "{name} over {transport}: {} bytes, {text:.300}",
            text.len()
        );
    }
}

/// Sends a request over one transport, and checks the response.
async fn send(server: &Server, name: &str, transport: &str, request: &Value, is_error: bool) {
    let body = request.to_string();
    let texts = match transport {
        "http" => vec![server.post(&body, "application/json").await],
        "batch" => vec![server.post(&format!("[{body}]"), "application/json").await],
        "sse" => vec![server.post(&body, "text/event-stream").await],
        _ => server.send_over_websocket(request, 2).await,
    };
    for text in texts {
        check_response(name, transport, &text, is_error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_requests_have_bounded_cost() {
    let _alone = ALONE.lock().await;
    let mut server = Server::start().await;
    server.create_large_orders().await;
    // Memory that the allocator keeps after requests of every kind is not growth.
    server.post(&page("nodes{id}").to_string(), "application/json").await;
    let idle = server.probed(std::future::ready(())).await;
    let before = server.memory("VmRSS");
    println!("idle: a probe waits {idle:?}, {before} KiB");
    let mut failed = Vec::new();
    for (name, request, is_error) in requests() {
        let length = request.to_string().len();
        for transport in ["http", "batch", "sse", "websocket"] {
            // Longer than the limit of a websocket message.
            if transport == "websocket" && length > 64 * 1024 {
                continue;
            }
            for round in 1..=ROUNDS {
                server.reset_peak_memory();
                let clients = (0..CLIENTS).map(|_| send(&server, name, transport, &request, is_error));
                let start = Instant::now();
                let wait = server.probed(async { drop(join_all(clients).await) }).await;
                let grown = server.memory("VmHWM").saturating_sub(before);
                let took = start.elapsed();
                let line =
                    format!("{name} over {transport}: {took:?}, a probe waits {wait:?}, {grown} KiB more");
                println!("{line}");
                if wait > MAX_PROBE_LATENCY && round < ROUNDS {
                    continue;
                }
                if grown > MAX_GROWTH_KIB || wait > MAX_PROBE_LATENCY {
                    failed.push(line);
                }
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    let after = server.memory("VmRSS");
    assert!(after <= before + MAX_GROWTH_KIB, "{before} KiB before and {after} KiB after");
    server.process.terminate();
    server.process.wait_for_success().await;
}
