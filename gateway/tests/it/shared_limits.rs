//! Limits over all clients: bytes of incomplete bodies, and open streams.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::{Backend, Gateway, On, eventually, quick};

const MIB: usize = 1024 * 1024;

/// Opens an HTTP/2 connection to the address.
async fn http2(addr: &str) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Calls a method with an incomplete message: 16 bytes are missing. Returns the status of the call.
async fn unfinished(sender: SendRequest<Bytes>, method: &str, length: usize) -> Code {
    let request = Request::post(format!("http://localhost/orders.v1.OrderService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let mut sender = sender.ready().await.unwrap();
    let (response, mut stream) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    let sending = tokio::spawn(async move {
        let length_bytes = u32::try_from(length + 16).unwrap().to_be_bytes();
        let mut rest = Bytes::from([&[0], &length_bytes[..], &vec![0; length]].concat());
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let Some(Ok(capacity)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
                return;
            };
            if stream.send_data(rest.split_to(capacity.min(rest.len())), false).is_err() {
                return;
            }
        }
        // The stream stays open until the server ends it.
        let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
    });
    let response = tokio::time::timeout(Duration::from_secs(30), response).await.expect("an answer in time");
    let (head, mut body) = response.unwrap().into_parts();
    let mut status = head.headers.get("grpc-status").cloned();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
    }
    if status.is_none() {
        status = body.trailers().await.unwrap().and_then(|trailers| trailers.get("grpc-status").cloned());
    }
    sending.abort();
    Code::from_bytes(status.expect("every call has a status").as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_grpc_message_times_out() {
    let backend = Backend::new(On::Embedded).await;
    let mut config = quick();
    config.http.request_read_timeout = Duration::from_secs(1);
    config.http.request_buffer_limit = 16 * MIB;
    let gateway = backend.gateway(config).await;
    let sender = http2(gateway.grpc_addr()).await;
    // A message above the limit, messages at the limit, and more of them than the request buffer holds.
    assert_eq!(unfinished(sender.clone(), "UpdateStatus", 4_194_240 - 16).await, Code::ResourceExhausted);
    assert_eq!(unfinished(sender.clone(), "UpdateStatus", 1_000).await, Code::DeadlineExceeded);
    assert_eq!(unfinished(sender.clone(), "Work", 1_000).await, Code::DeadlineExceeded);
    let calls = (0..150).map(|_| unfinished(sender.clone(), "Work", 4_194_240 - 16));
    let ends = futures_util::future::join_all(calls).await;
    let count = |code| ends.iter().filter(|end| **end == code).count();
    assert_eq!(count(Code::DeadlineExceeded) + count(Code::Unavailable), 150, "{ends:?}");
    assert!(count(Code::Unavailable) >= 146, "more than the budget is refused: {ends:?}");
    // All bytes have been released.
    eventually("no byte to be held", async || (held(&gateway).await == 0).then_some(())).await;
    assert_eq!(gateway.order(&gateway.create_order().await).await.status, "pending");
    gateway.stop().await;
}

/// The bytes in the request buffer according to the metrics.
async fn held(gateway: &Gateway<'_>) -> u64 {
    gateway::metrics::install();
    let text = gateway.client.get(gateway.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("orders_request_buffer_bytes "));
    line.and_then(|value| value.parse::<f64>().ok()).map_or(0, |value| value as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_bodies_share_a_limit_and_small_requests_are_served() {
    let backend = Backend::new(On::Embedded).await;
    let mut config = quick();
    config.http.request_buffer_limit = 8 * MIB;
    let gateway = backend.gateway(config).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut socket = TcpStream::connect(gateway.http_addr()).await.unwrap();
        let head = "POST /orders/bulk HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                    content-length: 4194304\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        // The gateway may reject the request before all of it is sent.
        let _ = socket.write_all(&vec![b' '; 4_194_304 - 10]).await;
        open.push(socket);
    }
    let mut refused = 0;
    for socket in &mut open {
        let mut answer = [0; 12];
        let read = tokio::time::timeout(Duration::from_millis(500), socket.read_exact(&mut answer)).await;
        refused += usize::from(read.is_ok_and(|read| read.is_ok()) && &answer == b"HTTP/1.1 503");
    }
    assert!(refused >= 2, "{refused} of 4 are refused");
    // GraphQL as well; small requests are served meanwhile.
    gateway.create_order().await;
    let large = json!({"query": "{ __typename }", "variables": {"x": "x".repeat(200_000)}}).to_string();
    let mut answers = Vec::new();
    for path in ["/graphql", "/orders"] {
        let post = gateway.client.post(gateway.url(path)).header("content-type", "application/json");
        let answer = post.body(large.clone()).send().await.unwrap();
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(answer.headers()["retry-after"], "1");
        }
        answers.push(answer.json::<Value>().await.unwrap());
    }
    drop(open);
    eventually("no byte to be held", async || (held(&gateway).await == 0).then_some(())).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_stream_kinds_share_one_limit() {
    let backend = Backend::new(On::Embedded).await;
    let mut config = quick();
    config.http.max_streams_per_address = Some(3);
    let gateway = backend.gateway(config).await;
    let id = gateway.create_order().await;
    let events = || {
        let get = gateway.client.get(gateway.url(&format!("/orders/{id}/events")));
        get.header("accept", "text/event-stream").send()
    };
    let subscription = || {
        let query = format!("subscription {{ orderStatus(orderId: \"{id}\") {{ sequence }} }}");
        let post = gateway.client.post(gateway.url("/graphql")).header("accept", "text/event-stream");
        post.header("content-type", "application/json").body(json!({"query": query}).to_string()).send()
    };
    let watch = || async {
        let request = proto::v1::WatchOrderRequest { order_id: id.clone(), after_sequence: None };
        gateway.workers().await.watch_order(request).await
    };
    let poll =
        || gateway.client.get(gateway.url(&format!("/orders/{id}?waitForSequence=9&timeout=55"))).send();
    let open = (events().await.unwrap(), subscription().await.unwrap(), watch().await.unwrap());
    assert_eq!((open.0.status(), open.1.status()), (StatusCode::OK, StatusCode::OK));
    for refused in [events().await.unwrap(), subscription().await.unwrap(), poll().await.unwrap()] {
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "5");
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too_many_streams");
    }
    assert_eq!(watch().await.unwrap_err().code(), Code::ResourceExhausted);
    let hello = tokio_stream::iter([proto::v1::WorkerMessage::default()]);
    assert_eq!(gateway.workers().await.work(hello).await.unwrap_err().code(), Code::ResourceExhausted);
    // Requests without a stream are served.
    gateway.create_order().await;
    drop(open);
    eventually("a free stream", async || events().await.unwrap().status().is_success().then_some(())).await;
    gateway.stop().await;
}
