//! Websockets that are rejected, and a client that stops reading.

use std::time::Duration;

use gateway::graphql::ConnectionInitHook;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{LEGACY, MODERN, Socket, config};
use crate::harness::{Backend, Gateway, On, eventually};

async fn code(gateway: &Gateway<'_>, headers: &[(&'static str, &str)]) -> Option<Value> {
    let protocol = ("sec-websocket-protocol", MODERN);
    let headers: Vec<_> = headers.iter().copied().chain([protocol]).collect();
    Socket::try_open(gateway, &headers).await.err().map(|problem| problem["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_connection_init_receives_the_reason() {
    let mut config = config();
    config.graphql_hooks.connection_init =
        ConnectionInitHook::new(|payload| match payload["token"].as_str() {
            Some("good") => Ok(()),
            _ => Err("the token is wrong".to_owned()),
        });
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let init = |token| json!({"type": "connection_init", "payload": {"token": token}});
    for protocol in [MODERN, LEGACY] {
        let mut socket = Socket::open(&gateway, protocol).await;
        socket.say(init("bad")).await;
        if protocol == LEGACY {
            let told = json!({"type": "connection_error", "payload": {"message": "the token is wrong"}});
            assert_eq!(socket.hear().await, told);
        }
        assert_eq!(socket.closed().await, 4403);
        let mut socket = Socket::open(&gateway, protocol).await;
        socket.say(init("good")).await;
        assert_eq!(socket.hear().await["type"], "connection_ack");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_limited_per_address_and_in_total() {
    let mut config = config();
    config.http.max_streams = 3;
    config.http.max_streams_per_address = Some(2);
    config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let from = |address| [("x-forwarded-for", address), ("sec-websocket-protocol", MODERN)];
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(Socket::try_open(&gateway, &from("203.0.113.1")).await.unwrap());
    }
    assert_eq!(code(&gateway, &from("203.0.113.1")[..1]).await, Some(json!("too_many_streams")));
    assert_eq!(code(&gateway, &from("1.1.1.1, 203.0.113.1")[..1]).await, Some(json!("too_many_streams")));
    open.push(Socket::try_open(&gateway, &from("203.0.113.2")).await.unwrap());
    assert_eq!(code(&gateway, &from("203.0.113.3")[..1]).await, Some(json!("streams_exhausted")));
    drop(open);
    eventually("a free place", async || {
        code(&gateway, &from("203.0.113.1")[..1]).await.is_none().then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_origins_may_open_a_websocket() {
    let mut config = config();
    config.http.cors_origins = "https://shop.example".parse().unwrap();
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    assert_eq!(code(&gateway, &[("origin", "https://shop.example")]).await, None);
    assert_eq!(
        code(&gateway, &[("origin", "https://evil.example")]).await,
        Some(json!("origin_not_allowed"))
    );
    gateway.stop().await;
}

/// The head of a masked frame with this first byte and length.
fn head(first: u8, length: u16) -> Vec<u8> {
    let mut head = vec![first];
    match u8::try_from(length) {
        Ok(length) if length < 126 => head.push(0x80 | length),
        _ => {
            head.push(0x80 | 126);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

/// Sends the pieces one by one and repeats the last one until the socket is closed with a code.
async fn trickled(socket: &mut Socket, mut pieces: Vec<Vec<u8>>) -> u16 {
    pieces.reverse();
    loop {
        let piece = if pieces.len() > 1 { pieces.pop().unwrap() } else { pieces[0].clone() };
        // Sending fails after the server closed the socket; the close frame can still be read.
        let _ = socket.0.get_mut().write_all(&piece).await;
        if let Ok(code) = tokio::time::timeout(Duration::from_millis(20), socket.closed()).await {
            return code;
        }
    }
}

const TEXT: u8 = 0x81;
const FIRST_FRAGMENT: u8 = 0x01;
const NEXT_FRAGMENT: u8 = 0x00;

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_websocket_message_times_out() {
    let mut config = config();
    config.http.request_read_timeout = Duration::from_secs(1);
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let byte = vec![b' '];
    let fragment = |first| [head(first, 1), byte.clone()].concat();
    let ping = head(0x89, 0);
    for pieces in [
        // One byte at a time, of the payload and of the header.
        vec![head(TEXT, 60_000), byte.clone()],
        [head(TEXT, 60_000)[..2].to_vec(), vec![]].to_vec(),
        // Fragments without a final one, also with complete frames between them.
        vec![fragment(FIRST_FRAGMENT), fragment(NEXT_FRAGMENT)],
        vec![fragment(FIRST_FRAGMENT), [ping, fragment(NEXT_FRAGMENT)].concat()],
    ] {
        let mut socket = Socket::ready(&gateway, MODERN).await;
        assert_eq!(trickled(&mut socket, pieces.clone()).await, 4408, "{pieces:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_request_buffer_closes_the_socket_with_a_code() {
    let mut config = config();
    config.http.request_buffer_limit = 48 * 1024;
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let half = [head(TEXT, 60_000), vec![b' '; 30_000]].concat();
    let mut first = Socket::ready(&gateway, MODERN).await;
    first.0.get_mut().write_all(&half).await.unwrap();
    let mut second = Socket::ready(&gateway, MODERN).await;
    second.0.get_mut().write_all(&half).await.unwrap();
    // Either message may be the second one.
    let code = tokio::select! {
        code = first.closed() => code,
        code = second.closed() => code,
    };
    assert_eq!(code, 1013);
    gateway.stop().await;
}

/// Each event is large, so that the socket buffers are full soon.
const LARGE: &str = "subscription { orderEvents { ... on OrderStatusEvent { sequence order { externalReference \
    a: lineItems { item } b: lineItems { item } c: lineItems { item } d: lineItems { item } \
    e: lineItems { item } f: lineItems { item } g: lineItems { item } h: lineItems { item } } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_closed_and_delays_no_other() {
    gateway::metrics::install();
    let mut config = config();
    config.graphql.pong_timeout = Duration::from_millis(300);
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;

    // A small receive window makes the server detect the stall early.
    let address = gateway.http_addr().parse().unwrap();
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(8 * 1024).unwrap();
    let tcp = tcp.connect(address).await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let mut request = gateway.ws_url("/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", MODERN.parse().unwrap());
    let stream = tokio_tungstenite::MaybeTlsStream::Plain(tcp);
    let (deaf, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut deaf = Socket(deaf);
    deaf.say(json!({"type": "connection_init"})).await;
    assert_eq!(deaf.hear().await["type"], "connection_ack");
    deaf.subscribe("1", LARGE).await;
    let mut other = Socket::ready(&gateway, MODERN).await;
    let small = "subscription { orderEvents { ... on OrderStatusEvent { order { externalReference } } } }";
    other.subscribe("1", small).await;
    // Both feeds are active when both have sent an order.
    let reference = |message: &Value| {
        message["payload"]["data"]["orderEvents"]["order"]["externalReference"].as_str().map(str::to_owned)
    };
    for socket in [&mut deaf, &mut other] {
        let begun = async {
            loop {
                gateway.create(json!({"item": "x", "quantity": 1, "price": 1})).await;
                if tokio::time::timeout(Duration::from_millis(200), socket.next()).await.is_ok() {
                    break;
                }
            }
        };
        begun.await;
    }

    let items: Vec<_> =
        (0..200).map(|_| json!({"item": "x".repeat(200), "quantity": 1, "price": 1})).collect();
    let create = async {
        for n in 0..40 {
            gateway.create(json!({"externalReference": format!("o{n}"), "lineItems": items})).await;
        }
    };
    let hear = async {
        let mut heard = Vec::new();
        while heard.len() < 40 {
            heard.extend(reference(&other.hear().await));
        }
        heard
    };
    let ((), heard) = futures_util::future::join(create, hear).await;
    assert_eq!(heard, (0..40).map(|n| format!("o{n}")).collect::<Vec<_>>());

    // The client reads only afterwards; otherwise it could catch up.
    eventually("the server gives the connection up", async || {
        // The established connection in the kernel's table. The metrics also count sockets of other tests.
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        (!table.contains(&format!(":{port:04X} 01 "))).then_some(())
    })
    .await;
    // The client reads again, too late: the server has sent a close frame or reset the connection.
    let closed = deaf.closed().await;
    assert!([4408, 1006].contains(&closed), "{closed}");
    gateway.stop().await;
}
