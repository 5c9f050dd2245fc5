//! The REST interface over real connections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker::{Job, Queue};
use futures_util::StreamExt;
use gateway::Config;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Backend, Gateway, On, quick};
use crate::on_both;

const UNKNOWN: &str = "/orders/01890a5d-ac96-774b-bcce-b302099a8057";

impl Gateway<'_> {
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.client.post(self.url(path)).header("content-type", "application/json");
        request.body(body).send().await.unwrap()
    }

    /// The server-sent events of an order after `Last-Event-ID` until the stream ends.
    async fn stream(&self, id: &str, last_event_id: &str) -> Response {
        let request = self.client.get(self.url(&format!("/orders/{id}/events")));
        let request = request.header("accept", "text/event-stream").header("last-event-id", last_event_id);
        request.send().await.unwrap()
    }
}

pub(crate) async fn value(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// The problem in a response, whose status and media type are checked.
pub(crate) async fn problem(response: Response) -> Value {
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{status}");
    let problem = value(response).await;
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["type"], format!("/problems#{}", problem["code"].as_str().unwrap()));
    problem
}

/// The data of each event of an ended stream.
fn events(stream: &str) -> Vec<Value> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|json| serde_json::from_str(json).unwrap())
        .collect()
}

on_both!(an_order_in_the_short_form_is_accepted, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let response = gateway.post("/orders", r#"{"item":"Laptop","quantity":2,"price":1299.99}"#).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let text = response.text().await.unwrap();
    assert!(text.contains(r#""price":1299.99,"#) && text.contains(r#""total":2599.98,"#), "{text}");
    let order: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(order["id"], order["orderId"]);
    assert_eq!(location, format!("/orders/{}", order["id"].as_str().unwrap()));
    assert_eq!(order["currency"], "USD");
    assert_eq!((&order["status"], &order["sequence"]), (&json!("pending"), &json!(1)));
    let stored = value(gateway.get(&location).await).await;
    for field in ["id", "item", "quantity", "price", "lineItems", "total", "createdAt", "maxAttempts"] {
        assert_eq!(stored[field], order[field], "{field}");
    }
    gateway.stop().await;
});

on_both!(an_order_in_the_full_form_keeps_every_digit, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    // Both amounts have more digits than a float.
    let body = r#"{"lineItems":[{"item":"Köder 🎣","quantity":1,"price":"45035996273704.963"},
        {"item":"Hook","quantity":1,"price":45035996273704.97}],
        "currency":"KWD","customer":"Ann","externalReference":"WEB-1","maxAttempts":3}"#;
    let response = gateway.post("/orders", body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let id = value(response).await["id"].as_str().unwrap().to_owned();
    let text = gateway.get(&format!("/orders/{id}")).await.text().await.unwrap();
    for part in [
        r#""item":"Köder 🎣","quantity":1,"price":45035996273704.963,"#,
        r#""price":45035996273704.970,"#,
        r#""total":90071992547409.933,"currency":"KWD","customer":"Ann","externalReference":"WEB-1""#,
        r#""maxAttempts":3"#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    gateway.stop().await;
});

#[tokio::test]
async fn invalid_bodies_are_rejected_with_the_reasons() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    for (body, status, code, pointers) in [
        ("", 400, "malformed_json", &[][..]),
        (r#"{"item":"#, 400, "malformed_json", &[]),
        ("[]", 400, "invalid_input", &[""]),
        (r#"{"item":"x","quantity":1,"price":1,"colour":"red"}"#, 400, "invalid_input", &["/colour"]),
        (r#"{"item":"x","item":"y","quantity":1,"price":1}"#, 400, "invalid_input", &["/item"]),
        (r#"{"item":1,"quantity":"1","price":{}}"#, 400, "invalid_input", &["/item", "/quantity", "/price"]),
        (
            r#"{"lineItems":[{"item":"x","quantity":1,"price":true}]}"#,
            400,
            "invalid_input",
            &["/lineItems/0/price"],
        ),
        ("{}", 422, "invalid_order", &["/item", "/quantity", "/price"]),
        (r#"{"item":"x","quantity":0,"price":-1}"#, 422, "invalid_order", &["/quantity", "/price"]),
        (r#"{"item":"x","quantity":1,"price":1.999}"#, 422, "invalid_order", &["/price"]),
        (r#"{"item":"x","quantity":1,"price":1,"currency":"EURO"}"#, 422, "invalid_order", &["/currency"]),
        (r#"{"item":"a\u0000b","quantity":1,"price":1}"#, 422, "invalid_order", &["/item"]),
        (r#"{"lineItems":[]}"#, 422, "invalid_order", &["/lineItems"]),
    ] {
        let problem = problem(gateway.post("/orders", body).await).await;
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{body}");
        let named: Vec<&Value> =
            problem["errors"].as_array().into_iter().flatten().map(|e| &e["pointer"]).collect();
        assert_eq!(named, pointers, "{body}");
    }
    let form = gateway.client.post(gateway.url("/orders")).body("item=x").send().await.unwrap();
    assert_eq!(problem(form).await["code"], "unsupported_media_type");
    assert_eq!(value(gateway.get("/orders").await).await, json!([]));
    gateway.stop().await;
}

#[tokio::test]
async fn every_other_client_error_is_a_problem() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    for (path, code) in [
        ("/nothing", "not_found"),
        ("/orders/", "not_found"),
        ("/orders/1", "invalid_order_id"),
        ("/orders/%ff/events", "invalid_order_id"),
        (UNKNOWN, "order_not_found"),
        (&format!("{UNKNOWN}/events"), "order_not_found"),
        (&format!("{UNKNOWN}/events?after=-1"), "invalid_input"),
        ("/orders?limit=0", "invalid_input"),
        ("/orders?page=2", "invalid_input"),
        ("/orders?status=done", "invalid_input"),
    ] {
        assert_eq!(problem(gateway.get(path).await).await["code"], code, "{path}");
    }
    for path in ["cancel", "redrive"] {
        let response = gateway.post(&format!("{UNKNOWN}/{path}"), "").await;
        assert_eq!(problem(response).await["code"], "order_not_found");
    }
    let unseen = gateway.stream(UNKNOWN.trim_start_matches("/orders/"), "0").await;
    assert_eq!(problem(unseen).await["code"], "order_not_found");
    let id = gateway.create_order().await;
    assert_eq!(problem(gateway.stream(&id, "first").await).await["code"], "invalid_input");

    let bytes = problem(gateway.get("/orders/%ff").await).await;
    assert_eq!(bytes["detail"], problem(gateway.get("/orders/1").await).await["detail"]);

    let response = gateway.client.delete(gateway.url("/orders")).send().await.unwrap();
    let allowed = response.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    assert_eq!(problem(response).await["code"], "method_not_allowed");
    gateway.stop().await;
}

/// The target of a relation in the `Link` header.
pub(crate) fn link(response: &Response, relation: &str) -> Option<String> {
    let links = response.headers().get("link")?.to_str().unwrap();
    links.split(", ").find_map(|link| {
        let target = link.strip_suffix(&format!(">; rel=\"{relation}\""))?;
        Some(target.strip_prefix('<').unwrap().to_owned())
    })
}

on_both!(pages_contain_every_order_once, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let mut created = Vec::new();
    for n in 0..23 {
        let customer = if n % 2 == 0 { "Ann & Co" } else { "Bob" };
        let body = json!({"item": "x", "quantity": 1, "price": 1, "customer": customer, "externalReference": n.to_string()});
        created.push((gateway.create(body).await, customer));
    }
    for (filter, customer) in [("", None), ("&customer=Ann%20%26%20Co", Some("Ann & Co"))] {
        let mut expected: Vec<&str> = created
            .iter()
            .filter(|(_, c)| customer.is_none_or(|only| only == *c))
            .map(|(id, _)| id.as_str())
            .collect();
        expected.sort_unstable();
        expected.reverse();
        let mut seen: Vec<String> = Vec::new();
        let mut next = Some(format!("/orders?limit=5{filter}"));
        while let Some(path) = next {
            let response = gateway.get(&path).await;
            next = link(&response, "next");
            let page = value(response).await;
            let page = page.as_array().unwrap();
            assert!(page.len() == 5 || next.is_none(), "only the last page is short");
            seen.extend(page.iter().map(|order| order["id"].as_str().unwrap().to_owned()));
            // Orders created meanwhile do not shift the pages.
            gateway.create(json!({"item": "x", "quantity": 1, "price": 1, "customer": "late"})).await;
        }
        assert_eq!(seen, expected);
    }
    let one = value(gateway.get("/orders?externalReference=7").await).await;
    assert_eq!(one.as_array().unwrap().len(), 1);
    let none = value(gateway.get("/orders?status=completed,failed&status=cancelled").await).await;
    assert_eq!(none, json!([]));
    let none = value(gateway.get("/orders?createdBefore=2020-01-01T00:00:00Z").await).await;
    assert_eq!(none, json!([]));
    gateway.stop().await;
});

on_both!(an_order_is_cancelled_once_and_stays_cancelled, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let path = format!("/orders/{id}");
    let cancelled = gateway.post(&format!("{path}/cancel"), r#"{"reason":"changed her mind"}"#).await;
    assert_eq!(cancelled.status(), StatusCode::OK);
    let cancelled = value(cancelled).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["reason"]),
        (&json!("cancelled"), &json!("changed her mind"))
    );
    // A request without body and content type.
    let again = gateway.client.post(gateway.url(&format!("{path}/cancel"))).send().await.unwrap();
    assert_eq!(value(again).await["sequence"], 2);
    let refused = problem(gateway.post(&format!("{path}/redrive"), "{}").await).await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(409), &json!("order_not_failed")));
    assert_eq!((&refused["orderId"], &refused["orderStatus"]), (&json!(id), &json!("cancelled")));

    let timeline = value(gateway.get(&format!("{path}/events")).await).await;
    let statuses: Vec<&Value> = timeline.as_array().unwrap().iter().map(|event| &event["status"]).collect();
    assert_eq!(statuses, ["pending", "cancelled"]);
    assert_eq!(timeline[1]["previousStatus"], "pending");
    let rest = value(gateway.get(&format!("{path}/events?after=1")).await).await;
    assert_eq!(rest, json!([timeline[1]]));
    assert_eq!(value(gateway.get(&format!("{path}/events?after=2")).await).await, json!([]));
    gateway.stop().await;
});

on_both!(a_failed_order_is_redriven, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let lease = gateway.report(&id, "processing", "").await.unwrap().lease_token;
    gateway.report(&id, "failed", &lease).await.unwrap();
    let refused = problem(gateway.post(&format!("/orders/{id}/cancel"), "").await).await;
    assert_eq!(refused["code"], "order_final");
    let order = value(gateway.post(&format!("/orders/{id}/redrive"), r#"{"reason":"fixed"}"#).await).await;
    assert_eq!((&order["status"], &order["failures"]), (&json!("pending"), &json!(0)));
    gateway.stop().await;
});

on_both!(an_event_stream_resumes_after_the_last_event_id, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let response = gateway.stream(&id, "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    while !text.contains("\"sequence\":1") {
        text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    // The remaining changes happen while the stream is open.
    let lease = gateway.report(&id, "processing", "").await.unwrap().lease_token;
    gateway.report(&id, "completed", &lease).await.unwrap();
    while let Some(chunk) = stream.next().await {
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    assert!(text.starts_with("retry: "), "{text}");
    let shown = events(&text);
    let steps: Vec<_> =
        shown.iter().map(|e| (e["sequence"].as_u64().unwrap(), e["status"].as_str().unwrap())).collect();
    assert_eq!(steps, [(1, "pending"), (2, "processing"), (3, "completed")]);
    assert_eq!(json!(shown), value(gateway.get(&format!("/orders/{id}/events")).await).await);

    let rest = gateway.stream(&id, "1").await.text().await.unwrap();
    assert!(rest.contains("id: 2\n") && rest.contains("id: 3\n"), "{rest}");
    assert_eq!(events(&rest), shown[1..]);
    // A browser reconnects after each end of the stream until the response is 204.
    assert_eq!(gateway.stream(&id, "3").await.status(), StatusCode::NO_CONTENT);
    gateway.stop().await;
});

#[tokio::test]
async fn event_streams_end_when_the_gateway_stops() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let mut stream = gateway.stream(&id, "").await.bytes_stream();
    stream.next().await.unwrap().unwrap();
    gateway.stop().await;
    while let Some(chunk) = stream.next().await {
        chunk.expect("the stream ends in order and is not cut");
    }
}

fn narrow() -> Config {
    let mut config = quick();
    config.http.max_body_size = 1_000;
    config.http.request_read_timeout = Duration::from_millis(300);
    config
}

#[tokio::test]
async fn a_rejected_upload_receives_the_reason() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(narrow()).await;
    let large = vec![b' '; 1_500_000];
    let refused = problem(gateway.post("/orders", large.clone()).await).await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(413), &json!("body_too_large")));
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(large)]);
    let refused = problem(gateway.post("/orders", reqwest::Body::wrap_stream(chunks)).await).await;
    assert_eq!(refused["code"], "body_too_large");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_resumed_by_header_or_parameter() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    gateway.report(&id, "processing", "").await.unwrap();
    gateway.report(&id, "completed", "").await.unwrap();
    for (query, header, sequences) in [
        ("", "", &[1, 2, 3][..]),
        ("?lastEventId=2", "", &[3]),
        ("?after=1&lastEventId=2", "", &[3]),
        ("?lastEventId=1", "2", &[3]),
        ("?lastEventId=", "", &[1, 2, 3]),
    ] {
        let request = gateway.client.get(gateway.url(&format!("/orders/{id}/events{query}")));
        let request = request.header("accept", "text/event-stream").header("last-event-id", header);
        let text = request.send().await.unwrap().text().await.unwrap();
        let seen: Vec<Value> = events(&text).iter().map(|event| event["sequence"].clone()).collect();
        assert_eq!(seen, sequences, "{query} {header}");
    }
    let refused = problem(gateway.get(&format!("/orders/{id}/events?lastEventId=two")).await).await;
    assert_eq!(refused["errors"][0]["parameter"], "lastEventId");
    gateway.stop().await;
}

#[tokio::test]
async fn a_byte_order_mark_and_aliases_of_utf8_are_accepted() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let order = r#"{"item":"é","quantity":1,"price":1}"#;
    let marked = |body: &str| format!("\u{feff}{body}");
    for (path, kind, body, status) in [
        ("/orders", "application/json", marked(order), 201),
        ("/orders", "application/json;charset=utf8", order.to_owned(), 201),
        ("/orders", "application/json;charset=latin1", order.to_owned(), 415),
        ("/orders/bulk", "application/json", marked(&format!("[{order}]")), 201),
        ("/orders/bulk", "application/x-ndjson;charset=UTF8", marked(order), 201),
        ("/queue/pause", "application/json", marked("{}"), 200),
        ("/queue/resume", "application/json", marked(""), 200),
        ("/graphql", "application/json; charset=utf8", marked(r#"{"query":"{__typename}"}"#), 200),
    ] {
        let request = gateway.client.post(gateway.url(path)).header("content-type", kind).body(body);
        assert_eq!(request.send().await.unwrap().status(), status, "{path} {kind}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn incomplete_requests_time_out() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(narrow()).await;
    for (start, answer) in [
        ("POST /orders HTTP/1.1\r\nhost: localhost\r\n", None),
        (
            "POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{",
            Some("body_timeout"),
        ),
    ] {
        let mut socket = TcpStream::connect(gateway.http_addr()).await.unwrap();
        socket.write_all(start.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut bytes)).await;
        closed.expect("the gateway closes the connection").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        match answer {
            Some(code) => assert!(text.starts_with("HTTP/1.1 408") && text.contains(code), "{text}"),
            None => assert!(!text.contains(" 200 "), "{text}"),
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_documentation_is_served_without_third_party_requests() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let served = value(gateway.get("/openapi.json").await).await;
    let generated: Value = serde_json::from_str(&gateway::openapi().to_json().unwrap()).unwrap();
    assert_eq!(served, generated);
    let page = gateway.get("/docs").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "{page}");
    for file in ["reference/main.js", "reference.css"] {
        let address = page.split('"').find(|part| part.starts_with("assets/") && part.ends_with(file));
        let response = gateway.get(&format!("/{}", address.unwrap())).await;
        assert_eq!(response.status(), StatusCode::OK, "{file}");
        assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"), "{file}");
    }
    let problems = gateway.get("/problems").await.text().await.unwrap();
    assert!(problems.contains("id=\"order_not_found\""));
    gateway.stop().await;
}

on_both!(readiness_checks_the_database_and_the_queue, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    for path in ["/livez", "/healthz", "/readyz"] {
        let response = gateway.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        // No worker is connected.
        let status = if path == "/readyz" { "degraded" } else { "ok" };
        assert_eq!(value(response).await, json!({"status": status}), "{path}");
    }
    let verbose = value(gateway.get("/readyz?verbose").await).await;
    let names: Vec<&Value> =
        verbose["checks"].as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert_eq!(names, ["database", "writes", "queue", "workers", "processing", "kinds"]);
    assert!(verbose["checks"][0]["ms"].is_u64());
    gateway.stop().await;
});

/// A queue whose server is unavailable.
struct Away;

#[async_trait]
impl Queue for Away {
    fn of_kind(&self, _: &domain::Kind) -> std::sync::Arc<dyn Queue> {
        unreachable!("this queue has one kind")
    }

    async fn push(&self, _: &[Job], _: broker::QueueEnd) -> Result<u64, broker::Error> {
        Err(broker::Error::Unavailable("away".into()))
    }
    async fn pull(&self, _: usize, _: Duration) -> Result<Vec<Job>, broker::Error> {
        Err(broker::Error::Unavailable("away".into()))
    }
    async fn len(&self) -> Result<u64, broker::Error> {
        Err(broker::Error::Unavailable("away".into()))
    }
}

#[tokio::test]
async fn without_a_queue_the_gateway_is_degraded_and_accepts_orders() {
    let mut backend = Backend::new(On::Embedded).await;
    backend.queue = Arc::new(Away);
    let gateway = backend.gateway(quick()).await;
    let ready = gateway.get("/readyz?verbose").await;
    assert_eq!(ready.status(), StatusCode::OK);
    let ready = value(ready).await;
    assert_eq!(ready["status"], "degraded");
    assert_eq!(ready["checks"][2]["detail"], "cannot be reached");
    gateway.create_order().await;
    gateway.stop().await;
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    gateway::metrics::install();
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    gateway.get(UNKNOWN).await;
    gateway.get("/no/such/path").await;
    let response = gateway.get("/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(
        text.contains(r#"orders_http_requests_total{method="GET",route="/orders/{id}",status="404"}"#),
        "{text}"
    );
    assert!(text.contains(r#"route="unmatched",status="404""#), "{text}");
    assert!(
        text.contains(r#"orders_http_request_duration_seconds_bucket{method="GET",route="/orders/{id}",le="#),
        "{text}"
    );
    assert!(!text.contains("/no/such/path"));
    gateway.stop().await;
}
