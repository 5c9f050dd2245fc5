//! The allowed hosts of a request, and the requests of other sites.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::graphql::{MODERN, Socket};
use crate::harness::{Backend, Gateway, On, quick};

const EVIL: &str = "https://evil.example";
const JSON: &str = "content-type: application/json\r\n";

/// All orders over REST.
async fn orders(gateway: &Gateway<'_>) -> Vec<Value> {
    serde_json::from_str(&gateway.get("/orders").await.text().await.unwrap()).unwrap()
}

/// Sends a raw HTTP/1 request and returns its status and the code of its problem.
async fn raw(gateway: &Gateway<'_>, line: &str, headers: &str, body: &str) -> (u16, Option<String>) {
    let mut socket = TcpStream::connect(gateway.http_addr()).await.unwrap();
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let problem = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
    (status, problem.and_then(|problem| Some(problem["code"].as_str()?.to_owned())))
}

#[tokio::test]
async fn every_route_rejects_other_hosts() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let order = r#"{"item":"x","quantity":1,"price":1}"#;
    let routes = [
        ("GET", "/orders", "", ""),
        ("POST", "/orders", JSON, order),
        ("GET", "/graphql?query=%7B__typename%7D", "", ""),
        ("POST", "/graphql", JSON, r#"{"query":"{__typename}"}"#),
        ("GET", "/metrics", "", ""),
        ("GET", "/livez", "", ""),
        ("GET", "/", "", ""),
        ("GET", "/docs", "", ""),
        ("GET", "/nothing", "", ""),
    ];
    let port = gateway.http_addr().rsplit_once(':').unwrap().1.to_owned();
    for (method, path, headers, body) in routes {
        let send = |target: String, hosts: String| {
            let (line, headers) = (format!("{method} {target}"), format!("{hosts}{headers}"));
            let gateway = &gateway;
            async move { raw(gateway, &line, &headers, body).await }
        };
        let bare = || path.to_owned();
        for own in ["localhost".to_owned(), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            let (status, _) = send(bare(), format!("host: {own}\r\n")).await;
            assert!(!matches!(status, 400 | 403 | 421), "{method} {path} for {own}: {status}");
        }
        let foreign = (421, Some("host_not_allowed".to_owned()));
        let malformed = (400, Some("malformed_request".to_owned()));
        let evil = format!("evil.example:{port}");
        assert_eq!(send(bare(), format!("host: {evil}\r\n")).await, foreign, "{method} {path}");
        assert_eq!(send(bare(), String::new()).await, malformed, "{method} {path} without a host");
        let two = "host: localhost\r\nhost: localhost\r\n".to_owned();
        assert_eq!(send(bare(), two).await, malformed, "{method} {path} with two hosts");
        // The host of an absolute target has precedence over the header.
        let absolute = |host: &str| format!("http://{host}{path}");
        let (status, _) =
            send(absolute(&format!("localhost:{port}")), "host: evil.example\r\n".to_owned()).await;
        assert!(!matches!(status, 400 | 403 | 421), "{method} {path} with an absolute target: {status}");
        assert_eq!(send(absolute(&evil), "host: localhost\r\n".to_owned()).await, foreign, "{method} {path}");
    }
    assert_eq!(orders(&gateway).await.len(), 4, "one for each allowed form");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_rebinding_cannot_open_a_websocket() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let rebound = [
        ("sec-websocket-protocol", MODERN),
        ("host", "evil.example"),
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "same-origin"),
    ];
    let refused = Socket::try_open(&gateway, &rebound).await.err().unwrap();
    assert_eq!(refused["code"], "host_not_allowed");
    gateway.stop().await;
}

#[tokio::test]
async fn allowed_hosts_are_served() {
    let backend = Backend::new(On::Embedded).await;
    let mut config = quick();
    config.http.allowed_hosts = "shop.example".parse().unwrap();
    let gateway = backend.gateway(config).await;
    for (host, status) in
        [("shop.example", 200), ("Shop.Example:443", 200), ("localhost", 200), ("evil.example", 421)]
    {
        assert_eq!(raw(&gateway, "GET /orders", &format!("host: {host}\r\n"), "").await.0, status, "{host}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn cross_site_requests_change_nothing_with_any_content_type() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let order = r#"{"item":"x","quantity":1,"price":1}"#;
    let mutation = json!({"query": format!("mutation {{ cancelOrder(input: {{orderId: \"{id}\"}}) {{ order {{ id }} }} }}")});
    let routes = [
        ("/orders".to_owned(), order.to_owned()),
        ("/orders/bulk".to_owned(), format!("[{order}]")),
        (format!("/orders/{id}/cancel"), "{}".to_owned()),
        (format!("/orders/{id}/redrive"), "{}".to_owned()),
        ("/dead-letters/redrive".to_owned(), r#"{"filter":{}}"#.to_owned()),
        ("/queue/pause".to_owned(), "{}".to_owned()),
        ("/queue/resume".to_owned(), String::new()),
        ("/graphql".to_owned(), mutation.to_string()),
    ];
    for (path, body) in routes {
        for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
            for (name, value) in [("origin", EVIL), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
                let request = gateway.client.post(gateway.url(&path)).header("content-type", kind);
                let response = request.header(name, value).body(body.clone()).send().await.unwrap();
                assert_eq!(response.status(), 403, "{path} {kind} {name}: {value}");
                let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
                assert_eq!(problem["code"], "origin_not_allowed");
            }
        }
    }
    assert_eq!(orders(&gateway).await.len(), 1);
    assert_eq!(orders(&gateway).await[0]["status"], "pending");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_cors_origin_may_read_and_not_write() {
    let mut config = quick();
    config.http.cors_origins = "*".parse().unwrap();
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let id = gateway.create_order().await;
    let send = |method: Method, path: &str, body: String| {
        let request = gateway.client.request(method, gateway.url(path)).header("origin", EVIL);
        let request = request.header("content-type", "application/json").body(body);
        async move {
            let response = request.send().await.unwrap();
            let readable = response.headers().contains_key("access-control-allow-origin");
            (response.status().as_u16(), readable, response.text().await.unwrap())
        }
    };
    for path in ["/orders", "/queue", "/graphql?query=%7B__typename%7D"] {
        let (status, readable, _) = send(Method::GET, path, String::new()).await;
        assert_eq!((status, readable), (200, true), "{path}");
    }
    let query = json!({"query": "{ orders { nodes { id } } }"}).to_string();
    let (status, readable, text) = send(Method::POST, "/graphql", query).await;
    assert_eq!((status, readable, text.contains(&id)), (200, true, true), "{text}");
    let cancel = format!("mutation {{ cancelOrder(input: {{orderId: \"{id}\"}}) {{ order {{ id }} }} }}");
    let (status, _, text) = send(Method::POST, "/graphql", json!({"query": cancel}).to_string()).await;
    assert_eq!((status, text.contains("origin_not_allowed")), (403, true), "{text}");
    let (status, _, text) = send(Method::POST, &format!("/orders/{id}/cancel"), "{}".into()).await;
    assert_eq!((status, text.contains("origin_not_allowed")), (403, true), "{text}");

    let headers = [("sec-websocket-protocol", MODERN), ("origin", EVIL)];
    let mut socket = Socket::try_open(&gateway, &headers).await.unwrap();
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await["type"], "connection_ack");
    socket.subscribe("1", &cancel).await;
    let refused = socket.hear().await;
    assert_eq!(refused["type"], "error", "{refused}");
    assert_eq!(refused["payload"][0]["extensions"]["code"], "origin_not_allowed");
    socket.subscribe("2", &format!("subscription {{ orderStatus(orderId: \"{id}\") {{ status }} }}")).await;
    assert_eq!(socket.hear().await["payload"]["data"]["orderStatus"]["status"], "PENDING");
    assert_eq!(orders(&gateway).await[0]["status"], "pending");
    gateway.stop().await;
}

/// The form of nginx with `proxy_set_header Host $host`.
#[tokio::test]
async fn a_proxy_may_omit_the_port() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    for (origin, status) in [("http://127.0.0.1:18081", 200), ("http://127.0.0.2:18081", 403)] {
        let headers = format!("host: 127.0.0.1\r\norigin: {origin}\r\n");
        assert_eq!(raw(&gateway, "POST /queue/resume", &headers, "").await.0, status, "{origin}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn every_response_has_the_security_and_cache_headers() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    for path in
        ["/", "/orders", "/metrics", "/livez", "/readyz", "/nothing", "/graphiql", "/docs", "/graphql"]
    {
        let response = gateway.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(response.headers()[name], value, "{path}");
        }
        assert!(response.headers()["permissions-policy"].to_str().unwrap().contains("camera=()"), "{path}");
        let caching = response.headers()["cache-control"].to_str().unwrap().to_owned();
        assert!(caching == "no-store" || caching == "no-cache", "{path}: {caching}");
    }
    gateway.stop().await;
}
