//! Subscribers that read a few bytes at a time.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Backend, Gateway, On, quick};

/// Each event is large, so that the socket buffers are full soon.
const SUBSCRIPTION: &str = "subscription { orderEvents { ... on OrderStatusEvent { sequence order { \
    a: lineItems { item } b: lineItems { item } c: lineItems { item } d: lineItems { item } } } } }";

/// A ping frame of a client.
const PING: &[u8] = &[0x89, 0x80, 0, 0, 0, 0];

/// A connection with a small receive window, so that the server detects the stall early.
async fn connect(gateway: &Gateway<'_>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(gateway.http_addr().parse().unwrap()).await.unwrap()
}

/// A text frame of a client, with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0x81, 0x80 | 126][..], &length, &[0; 4], text.as_bytes()].concat()
}

async fn websocket(gateway: &Gateway<'_>) -> TcpStream {
    let mut stream = connect(gateway).await;
    let head = "GET /graphql HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                sec-websocket-protocol: graphql-transport-ws\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": SUBSCRIPTION}});
    for message in [json!({"type": "connection_init"}), subscribe] {
        stream.write_all(&frame(&format!("{:200}", message.to_string()))).await.unwrap();
    }
    stream
}

async fn events(gateway: &Gateway<'_>) -> TcpStream {
    let mut stream = connect(gateway).await;
    let body = json!({"query": SUBSCRIPTION}).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Reads `bytes` at a time until the server has closed the connection and sending fails.
async fn sips(mut stream: TcpStream, bytes: usize, says: &[u8]) {
    let mut space = vec![0; bytes];
    while stream.write_all(says).await.is_ok() {
        let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut space)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_subscribers_are_disconnected() {
    let backend = Backend::new(On::Embedded).await;
    let mut config = quick();
    // The clients read up to 200 KB/s. Only the rate may disconnect them.
    config.http.slow_client_grace = Duration::from_millis(500);
    config.http.min_read_rate = 8 << 20;
    config.http.write_timeout = Duration::from_secs(600);
    config.graphql.pong_timeout = Duration::from_secs(600);
    let gateway = backend.gateway(config).await;
    let items: Vec<_> =
        (0..200).map(|_| json!({"item": "x".repeat(200), "quantity": 1, "price": 1})).collect();
    let create = async {
        loop {
            gateway.create(json!({"lineItems": items})).await;
        }
    };
    let slow = async {
        tokio::join!(
            sips(websocket(&gateway).await, 500, PING),
            sips(websocket(&gateway).await, 8_000, PING),
            sips(events(&gateway).await, 500, b"x"),
            sips(events(&gateway).await, 8_000, b"x"),
        )
    };
    let ended = async {
        tokio::select! {
            _ = slow => {}
            () = create => unreachable!("orders are created without an end"),
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("slow subscribers are disconnected");
    gateway.stop().await;
}
