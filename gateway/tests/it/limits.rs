//! The HTTP server under abuse: every rejection is a problem with the reason, and other clients are unaffected.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Backend, Gateway, On, quick};

/// The status and the code of a problem.
async fn refused(request: reqwest::RequestBuilder) -> (u16, String) {
    problem(request.send().await.unwrap().into()).await
}

async fn problem(response: http::Response<reqwest::Body>) -> (u16, String) {
    let (head, body) = response.into_parts();
    assert_eq!(head.headers["content-type"], "application/problem+json", "{}", head.status);
    assert_eq!(head.headers.contains_key("allow"), head.status == StatusCode::METHOD_NOT_ALLOWED);
    let body = body.collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["status"], head.status.as_u16());
    (head.status.as_u16(), problem["code"].as_str().unwrap().to_owned())
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Sends one request over HTTP/2 without TLS.
async fn over_http2(gateway: &Gateway<'_>, request: reqwest::Request) -> http::Response<reqwest::Body> {
    let stream = TokioIo::new(TcpStream::connect(gateway.http_addr()).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request: http::Request<reqwest::Body> = request.try_into().unwrap();
    sender.send_request(request).await.unwrap().map(reqwest::Body::wrap)
}

#[tokio::test]
async fn every_rejection_is_a_problem_over_http1_and_http2() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let request = |method: Method, path: &str| gateway.client.request(method, gateway.url(path));
    let post = |path: &str| request(Method::POST, path).body("{}");
    let json = |path: &str| request(Method::POST, path).header("content-type", "application/json");
    let mut cases = vec![
        (request(Method::GET, "/nothing"), code(404, "not_found")),
        (request(Method::DELETE, "/orders"), code(405, "method_not_allowed")),
        (request(Method::DELETE, "/graphql"), code(405, "method_not_allowed")),
        (request(Method::POST, "/livez"), code(405, "method_not_allowed")),
        (json("/orders").body(vec![b' '; 2_000_000]), code(413, "body_too_large")),
        (request(Method::GET, &format!("/orders?x={}", "x".repeat(17_000))), code(414, "uri_too_long")),
        (request(Method::GET, "/orders").header("x", "x".repeat(40_000)), code(431, "head_too_large")),
    ];
    for path in ["/orders", "/orders/bulk"] {
        cases.push((post(path), code(415, "unsupported_media_type")));
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            let refusal = code(415, "unsupported_media_type");
            cases.push((post(path).header("content-type", kind), refusal));
        }
    }
    for (request, expected) in cases {
        let request = request.build().unwrap();
        let again = request.try_clone().unwrap();
        let shown = format!("{} {}", request.method(), request.url().path());
        let answer = gateway.client.execute(request).await.unwrap();
        assert_eq!(problem(answer.into()).await, expected, "{shown}");
        assert_eq!(problem(over_http2(&gateway, again).await).await, expected, "{shown} over HTTP/2");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn cross_site_requests_change_nothing() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let cancel = gateway.url(&format!("/orders/{id}/cancel"));
    let foreign = gateway.client.post(&cancel).header("origin", "https://evil.example");
    assert_eq!(refused(foreign).await, code(403, "origin_not_allowed"));
    let pause = gateway.client.post(gateway.url("/queue/pause"));
    let foreign = pause.header("origin", "null").header("content-type", "text/plain");
    assert_eq!(refused(foreign).await, code(403, "origin_not_allowed"));
    let own = gateway.client.post(&cancel).header("origin", gateway.url(""));
    assert_eq!(own.send().await.unwrap().status(), 200);
    gateway.stop().await;
}

#[tokio::test]
async fn cors_is_closed_unless_a_site_is_allowed() {
    let backend = Backend::new(On::Embedded).await;
    for (allowed, answers) in [
        ("", [None, None]),
        ("https://a.example", [Some("https://a.example"), None]),
        ("*", [Some("*"), Some("*")]),
    ] {
        let mut config = quick();
        config.http.cors_origins = allowed.parse().unwrap();
        let gateway = backend.gateway(config).await;
        for (origin, expected) in ["https://a.example", "https://b.example"].into_iter().zip(answers) {
            for path in ["/orders", "/graphql"] {
                let preflight = gateway
                    .client
                    .request(Method::OPTIONS, gateway.url(path))
                    .header("origin", origin)
                    .header("access-control-request-method", "POST")
                    .header("access-control-request-headers", "content-type,idempotency-key");
                let preflight = preflight.send().await.unwrap();
                let header = |name: &str| preflight.headers().get(name).map(|value| value.to_str().unwrap());
                assert_eq!(header("access-control-allow-origin"), expected, "{allowed:?} {origin}");
                assert_eq!(preflight.status().is_success(), !allowed.is_empty());
                if expected.is_some() {
                    assert!(header("access-control-allow-methods").unwrap().contains("POST"));
                    assert!(header("access-control-allow-headers").unwrap().contains("idempotency-key"));
                    let credentials = (allowed != "*").then_some("true");
                    assert_eq!(header("access-control-allow-credentials"), credentials);
                }
            }
            let list = gateway.client.get(gateway.url("/orders")).header("origin", origin);
            let list = list.send().await.unwrap();
            let header = |name: &str| list.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("access-control-allow-origin"), expected);
            if expected.is_some() {
                let exposed = header("access-control-expose-headers").unwrap();
                assert!(
                    ["link", "location", "retry-after", "x-request-id"]
                        .iter()
                        .all(|name| exposed.contains(name))
                );
            }
            let metrics = gateway.client.get(gateway.url("/metrics")).header("origin", origin);
            let metrics = metrics.send().await.unwrap();
            assert!(!metrics.headers().contains_key("access-control-allow-origin"));
        }
        gateway.stop().await;
    }
}

const HALF_SENT: usize = 1_000;
const NOT_READING: usize = 200;

async fn half_sent(gateway: &Gateway<'_>) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.http_addr()).await.unwrap();
    socket.write_all(b"POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-").await.unwrap();
    socket
}

async fn not_reading(gateway: &Gateway<'_>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut socket = socket.connect(gateway.http_addr().parse().unwrap()).await.unwrap();
    let request = b"GET /orders?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
    socket.write_all(&request).await.unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_requests_and_stalled_readers_do_not_affect_other_clients() {
    // Both ends of each connection are in this process.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: files.maximum, maximum: files.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();

    let backend = Backend::new(On::Embedded).await;
    // They stay open during the test.
    let mut config = quick();
    config.http.request_read_timeout = Duration::from_secs(600);
    config.http.write_timeout = Duration::from_secs(600);
    config.http.max_connections_per_address = Some(HALF_SENT + NOT_READING + 2);
    let gateway = backend.gateway(config).await;
    let rows: Vec<_> = (0..100)
        .map(|_| json!({"item": "x".repeat(200), "quantity": 1, "price": 1, "customer": "c".repeat(100)}))
        .collect();
    let bulk = gateway.client.post(gateway.url("/orders/bulk")).header("content-type", "application/json");
    assert_eq!(bulk.body(json!(rows).to_string()).send().await.unwrap().status(), 201);

    let half = join_all((0..HALF_SENT).map(|_| half_sent(&gateway))).await;
    let mut quick = 0;
    for _ in 0..20 {
        let asked = Instant::now();
        let alive = gateway.client.get(gateway.url("/livez")).timeout(Duration::from_secs(20));
        assert_eq!(alive.send().await.unwrap().status(), 200);
        quick += usize::from(asked.elapsed() < Duration::from_millis(100));
    }
    // Another test may have used the machine for a moment.
    assert!(quick >= 15, "{quick} of 20 responses within 100 ms");
    let deaf = join_all((0..NOT_READING).map(|_| not_reading(&gateway))).await;
    for _ in 0..20 {
        let alive = gateway.client.get(gateway.url("/livez")).timeout(Duration::from_secs(20));
        assert_eq!(alive.send().await.unwrap().status(), 200);
    }
    gateway.create_order().await;
    // One connection above the limit, while all are open.
    let _last = half_sent(&gateway).await;
    let one_more = reqwest::Client::new().get(gateway.url("/livez"));
    assert_eq!(refused(one_more).await, code(429, "too_many_connections"));
    drop((half, deaf));
    gateway.stop().await;
}
