//! The revocation of a key with 1,000 open sockets, each with a stream.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use domain::{Principal, Role};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use gateway::access::{self, IssuedKey};
use http::HeaderValue;
use proto::v1;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::access::{Socket, next_frame, role, send, with_keys};
use crate::harness::{Backend, Gateway};
use crate::on_both;

/// Websockets of each protocol, streams of server-sent events, and gRPC connections.
const WEBSOCKETS: usize = 400;
const EVENT_STREAMS: usize = 150;
const WATCHES: usize = 50;
/// Sockets that are opened at the same time.
const AT_ONCE: usize = 50;
/// The maximum time of the test after the revocation.
const PATIENCE: Duration = Duration::from_secs(120);

/// A stream of the key, on its own connection.
enum Open {
    Websocket(Box<Socket>),
    Events(reqwest::Response),
    Watch(Box<tonic::Streaming<v1::OrderEvent>>),
}

/// Subscribes to an order over one of the protocols, and returns the socket after the first event.
async fn subscribe(gateway: &Gateway<'_>, key: &str, order: &str, is_legacy: bool) -> Open {
    let (protocol, start, next) = match is_legacy {
        true => ("graphql-ws", "start", "data"),
        false => ("graphql-transport-ws", "subscribe", "next"),
    };
    let mut request = gateway.ws_url("/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
    let (mut socket, _) = connect_async(request).await.unwrap();
    let query = format!("subscription {{ orderStatus(orderId: \"{order}\", after: 0) {{ sequence }} }}");
    let authorization = json!({"authorization": format!("Bearer {key}")});
    for message in [
        json!({"type": "connection_init", "payload": authorization}),
        json!({"type": start, "id": "1", "payload": {"query": query}}),
    ] {
        socket.send(Message::text(message.to_string())).await.unwrap();
        let expected = if message["type"] == start { next } else { "connection_ack" };
        wait_for(&mut socket, expected).await;
    }
    Open::Websocket(Box::new(socket))
}

/// Reads messages until one of this type. Older clients get keepalive messages in between.
async fn wait_for(socket: &mut Socket, expected: &str) -> Value {
    loop {
        let message = next_frame(socket).await.unwrap();
        if message["type"] == expected {
            return message;
        }
        assert_eq!(message["type"], "ka", "{message}");
    }
}

async fn events(gateway: &Gateway<'_>, key: &str, order: &str) -> Open {
    let request = gateway.client.get(gateway.url(&format!("/orders/{order}/events"))).bearer_auth(key);
    let response = request.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(response.status(), 200);
    Open::Events(response)
}

async fn watch(gateway: &Gateway<'_>, key: &str, order: &str) -> Open {
    let message = v1::WatchOrderRequest { order_id: order.to_owned(), after_sequence: None };
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let mut events = gateway.workers().await.watch_order(request).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().status, "pending");
    Open::Watch(Box::new(events))
}

impl Open {
    /// Waits for the end of the stream, which must state the reason.
    async fn ended(self) {
        match self {
            Self::Websocket(mut socket) => {
                let error = wait_for(&mut socket, "error").await;
                assert!(error.to_string().contains("token_expired"), "{error}");
                assert_eq!(next_frame(&mut socket).await, Err(4403));
                assert!(socket.next().await.is_none_or(|end| end.is_err()), "the socket is closed");
            }
            Self::Events(response) => {
                let events = response.text().await.unwrap();
                let (_, last) =
                    events.split_once("event: error\ndata: ").unwrap_or_else(|| panic!("{events}"));
                assert!(last.contains("token_expired"), "{last}");
            }
            Self::Watch(mut events) => {
                let status = events.message().await.unwrap_err();
                assert_eq!(status.code(), tonic::Code::Unauthenticated, "{status:?}");
            }
        }
    }
}

async fn open_all(gateway: &Gateway<'_>, key: &IssuedKey, order: &str) -> Vec<Open> {
    let key = key.key.expose();
    let open = |n: usize| async move {
        if n < 2 * WEBSOCKETS {
            subscribe(gateway, key, order, n.is_multiple_of(2)).await
        } else if n < 2 * WEBSOCKETS + EVENT_STREAMS {
            events(gateway, key, order).await
        } else {
            watch(gateway, key, order).await
        }
    };
    let count = 2 * WEBSOCKETS + EVENT_STREAMS + WATCHES;
    futures_util::stream::iter((0..count).map(open)).buffer_unordered(AT_ONCE).collect().await
}

on_both!(a_revocation_closes_every_socket_of_its_key, |on| async move {
    // Both ends of each connection are in this process.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: files.maximum, maximum: files.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();

    let backend = Backend::new(on).await;
    let mut config = with_keys();
    config.http.max_connections_per_address = Some(3_000);
    config.http.max_streams_per_address = Some(3_000);
    let gateway = backend.gateway(config).await;
    let (revoked, other) = (role(&backend, Role::Admin).await, role(&backend, Role::Admin).await);
    let request = gateway.client.post(gateway.url("/orders")).bearer_auth(other.key.expose());
    let order = request.json(&json!({"item": "Tea", "quantity": 1, "price": 1})).send().await.unwrap();
    let order: Value = serde_json::from_str(&order.text().await.unwrap()).unwrap();
    let order = order["id"].as_str().unwrap();
    let open = open_all(&gateway, &revoked, order).await;
    assert_eq!(open.len(), 1_000);
    let of_other = subscribe(&gateway, other.key.expose(), order, false).await;

    access::revoke(&backend.store, &Principal::anonymous(), &revoked.stored.id, None).await.unwrap();
    let (all_ended, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ends = async {
        join_all(open.into_iter().map(Open::ended)).await;
        all_ended.store(true, Ordering::Relaxed);
    };
    let requests = async {
        while !all_ended.load(Ordering::Relaxed) {
            let (status, _) = send(&gateway, "get", "/orders", Some(other.key.expose())).await;
            assert_eq!(status, 200);
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let ended = tokio::time::timeout(PATIENCE, async { tokio::join!(ends, requests) }).await;
    assert!(ended.is_ok(), "every socket is closed within {PATIENCE:?}");
    assert!(served.into_inner() > 0, "other keys are served meanwhile");
    assert_eq!(send(&gateway, "get", "/orders", Some(revoked.key.expose())).await.0, 401);

    // The stream of the other key is open and receives the next event.
    let cancel = format!("/orders/{order}/cancel");
    assert_eq!(send(&gateway, "post", &cancel, Some(other.key.expose())).await.0, 200);
    let Open::Websocket(mut socket) = of_other else { panic!("it is a websocket") };
    let event = wait_for(&mut socket, "next").await;
    assert_eq!(event["payload"]["data"]["orderStatus"]["sequence"], 2, "{event}");
    gateway.stop().await;
});
