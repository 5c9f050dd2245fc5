//! Messages on the bus that were not sent by a gateway.

use std::sync::Arc;

use broker::Bus;
use broker::redis::{BusKey, Redis};
use domain::{OrderEvent, OrderId, Status};
use futures_util::StreamExt;
use gateway::Config;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Backend, On, eventually};

/// An event in the format without authentication.
fn unproved(id: OrderId, sequence: u32, reason: &str) -> Vec<u8> {
    let mut message = vec![1];
    message.extend_from_slice(id.as_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(&[4, 1, 0, 0, 0, 1]);
    message.extend_from_slice(&1_700_000_000_000_000_i64.to_be_bytes());
    message.extend_from_slice(&(reason.len() as u32 + 1).to_be_bytes());
    message.extend_from_slice(reason.as_bytes());
    message
}

/// Publishes bytes on the channel, as any client of Redis can. Returns the number of receivers.
async fn publish(backend: &Backend, message: &[u8]) -> String {
    let url = url::Url::parse(&backend.redis_url()).unwrap();
    let address = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let channel = format!("{}:events", backend.prefix());
    let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), message.len());
    socket.write_all(&[head.as_bytes(), message, b"\r\n"].concat()).await.unwrap();
    let mut answer = [0; 16];
    let read = socket.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).trim().to_owned()
}

/// One client subscribes to an order and one to all orders. The bus delivers forged events, then the order is
/// completed over another gateway. Both clients receive the real events only.
#[tokio::test(flavor = "multi_thread")]
async fn forged_bus_messages_are_dropped() {
    let backend = Backend::new(On::Servers).await;
    let gateway = backend.gateway(Config::default()).await;
    let other = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let order: OrderId = id.parse().unwrap();
    let watch = |query: &str| gateway.client.get(gateway.url(&format!("/orders/{id}/events{query}")));
    let watching = watch("").header("accept", "text/event-stream").send().await.unwrap();
    let subscription = "subscription { orderEvents { ... on OrderStatusEvent { orderId sequence reason } } }";
    let query = url::form_urlencoded::byte_serialize(subscription.as_bytes()).collect::<String>();
    let all = gateway.client.get(gateway.url(&format!("/graphql?query={query}")));
    let all = all.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!((watching.status(), all.status()), (StatusCode::OK, StatusCode::OK));

    eventually("both subscriptions", || async { (publish(&backend, b"").await == ":2").then_some(()) }).await;
    for sequence in [2, 3, u32::MAX] {
        assert_eq!(publish(&backend, &unproved(order, sequence, "FORGED")).await, ":2");
    }
    let forged = Arc::new(OrderEvent {
        tenant_id: domain::TenantId::default(),
        order_id: order,
        sequence: 2,
        status: Status::Failed,
        previous_status: Some(Status::Pending),
        attempt: 1,
        reason: Some("FORGED".to_owned()),
        error_class: None,
        worker: None,
        occurred_at: backend.store.now(),
    });
    let redis = Redis::new(&backend.redis_url(), backend.prefix()).unwrap();
    let installation = backend.store.installation().await.unwrap();
    for key in [BusKey::new(installation.id, b"a guessed secret"), BusKey::new([9; 16], &installation.secret)]
    {
        redis.bus(key).publish(std::slice::from_ref(&forged)).await.unwrap();
    }
    other.report(&id, "processing", "").await.unwrap();
    other.report(&id, "completed", "").await.unwrap();

    let seen = watching.text().await.unwrap();
    assert!(!seen.contains("FORGED") && !seen.contains("failed"), "{seen}");
    assert_eq!(seen.matches("data: ").count(), 3, "{seen}");
    let (mut seen, mut chunks) = (String::new(), all.bytes_stream());
    while !seen.contains("\"sequence\":3") {
        seen.push_str(&String::from_utf8_lossy(&chunks.next().await.unwrap().unwrap()));
    }
    assert!(!seen.contains("FORGED"), "{seen}");
    drop(chunks);
    other.stop().await;
    gateway.stop().await;
}
