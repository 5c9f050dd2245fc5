//! Websockets: both protocols, and every reason for which a socket is closed.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use super::{LEGACY, MODERN, PATIENCE, Socket, config};
use crate::harness::{Backend, On, quick};
use crate::on_both;

fn watch(id: &str) -> String {
    format!(
        "subscription {{ orderStatus(orderId: \"{id}\", after: 0) {{ \
         sequence status previousStatus attempt order {{ id total }} }} }}"
    )
}

on_both!(a_subscriber_receives_every_change_over_both_protocols, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(config()).await;
    let id = gateway.create_over_graphql().await;
    let mut modern = Socket::ready(&gateway, MODERN).await;
    modern.subscribe("m", &watch(&id)).await;
    let mut legacy = Socket::ready(&gateway, LEGACY).await;
    legacy.say(json!({"type": "start", "id": "l", "payload": {"query": watch(&id)}})).await;
    // Half of the events exist before the subscription, the other half follows.
    gateway.report(&id, "processing", "").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push((modern.hear().await, legacy.hear().await));
    }
    gateway.report(&id, "completed", "").await.unwrap();
    seen.push((modern.hear().await, legacy.hear().await));

    let statuses = ["PENDING", "PROCESSING", "COMPLETED"];
    for (n, (modern, legacy)) in seen.iter().enumerate() {
        assert_eq!((&modern["type"], &modern["id"]), (&json!("next"), &json!("m")));
        assert_eq!((&legacy["type"], &legacy["id"]), (&json!("data"), &json!("l")));
        let event = &modern["payload"]["data"]["orderStatus"];
        assert_eq!(event["sequence"], n + 1);
        assert_eq!(event["status"], statuses[n]);
        assert_eq!(event["order"], json!({"id": id, "total": "2599.98"}));
        assert_eq!(legacy["payload"]["data"]["orderStatus"]["sequence"], n + 1);
    }
    assert_eq!(modern.hear().await, json!({"type": "complete", "id": "m"}));
    assert_eq!(legacy.hear().await, json!({"type": "complete", "id": "l"}));
    gateway.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_of_all_orders_can_be_filtered() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let mut socket = Socket::ready(&gateway, MODERN).await;
    let feed = "subscription { orderEvents(filter: {statuses: [COMPLETED]}) { __typename \
                ... on OrderStatusEvent { orderId status } ... on OrderFeedLag { missed } } }";
    socket.subscribe("feed", feed).await;
    // The start of the feed is not announced, so orders are completed until one is received.
    let seen = async {
        loop {
            let id = gateway.create_over_graphql().await;
            gateway.complete(&id).await;
            if let Ok(message) = tokio::time::timeout(Duration::from_millis(200), socket.next()).await {
                break message.unwrap();
            }
        }
    };
    let message = tokio::time::timeout(PATIENCE, seen).await.expect("a completed order is seen");
    let event = &message["payload"]["data"]["orderEvents"];
    assert_eq!((&event["__typename"], &event["status"]), (&json!("OrderStatusEvent"), &json!("COMPLETED")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_mutations_run_over_a_websocket() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let mut socket = Socket::ready(&gateway, MODERN).await;
    let create =
        r#"mutation { createOrder(input: {item: "x", quantity: 1, price: "0.10"}) { order { id } } }"#;
    socket.subscribe("1", create).await;
    let id = socket.hear().await["payload"]["data"]["createOrder"]["order"]["id"].clone();
    assert_eq!(socket.hear().await, json!({"type": "complete", "id": "1"}));
    socket.subscribe("1", &format!("{{ order(id: {id}) {{ id }} }}")).await;
    assert_eq!(socket.hear().await["payload"], json!({"data": {"order": {"id": id}}}));
    assert_eq!(socket.hear().await["type"], "complete");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_operation_is_an_error_for_its_id_only() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let mut socket = Socket::ready(&gateway, MODERN).await;
    for (document, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nonsense }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { a: orderEvents { __typename } b: orderEvents { __typename } }", "limit_exceeded"),
        ("subscription { orderStatus(orderId: \"x\") { status } }", "invalid_order_id"),
        (&watch("01890a5d-ac96-774b-bcce-b302099a8057"), "order_not_found"),
    ] {
        socket.subscribe("1", document).await;
        let error = socket.hear().await;
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{error}");
    }
    // The socket continues to work, and the id can be used again.
    socket.subscribe("1", "{ __typename }").await;
    assert_eq!(socket.hear().await["type"], "next");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_subscription_sends_nothing_and_releases_its_slot() {
    let mut config = config();
    config.graphql.max_operations_per_socket = 1;
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let (first, second) = (gateway.create_over_graphql().await, gateway.create_over_graphql().await);
    let mut socket = Socket::ready(&gateway, MODERN).await;
    socket.subscribe("a", &watch(&first)).await;
    assert_eq!(socket.hear().await["id"], "a");
    socket.subscribe("b", &watch(&second)).await;
    let refused = socket.hear().await;
    assert_eq!(refused["payload"][0]["extensions"]["limit"], "operations", "{refused}");
    socket.say(json!({"type": "complete", "id": "a"})).await;
    socket.subscribe("b", &watch(&second)).await;
    gateway.complete(&first).await;
    gateway.complete(&second).await;
    for _ in 0..3 {
        assert_eq!(socket.hear().await["id"], "b");
    }
    assert_eq!(socket.hear().await, json!({"type": "complete", "id": "b"}));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_field_in_a_fragment_is_resolved() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let id = gateway.create_over_graphql().await;
    let mut socket = Socket::ready(&gateway, MODERN).await;
    let document = format!(
        "subscription S {{ ...F }} fragment F on Subscription {{ orderStatus(orderId: \"{id}\") {{ status }} }}"
    );
    socket.subscribe("1", &document).await;
    assert_eq!(socket.hear().await["payload"], json!({"data": {"orderStatus": {"status": "PENDING"}}}));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_violations_close_with_their_code() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let subscribe =
        json!({"type": "subscribe", "id": "1", "payload": {"query": watch(&gateway.create_order().await)}});
    let init = json!({"type": "connection_init"});
    let long = "x".repeat(64 * 1024 + 1);
    for (messages, code) in [
        (vec![subscribe.to_string()], 4401),
        (vec![init.to_string(), init.to_string()], 4429),
        (vec![init.to_string(), subscribe.to_string(), subscribe.to_string()], 4409),
        (vec![init.to_string(), "nonsense".to_owned()], 4400),
        (vec![init.to_string(), json!({"type": "subscribe", "id": "1"}).to_string()], 4400),
        (vec![init.to_string(), long], 1009),
    ] {
        let mut socket = Socket::open(&gateway, MODERN).await;
        for message in &messages {
            socket.say_text(message).await;
        }
        assert_eq!(
            socket.closed().await,
            code,
            "{}",
            messages[messages.len() - 1].get(..60).unwrap_or("short")
        );
    }
    let mut socket = Socket::open(&gateway, MODERN).await;
    futures_util::SinkExt::send(&mut socket.0, Message::binary(vec![1])).await.unwrap();
    assert_eq!(socket.closed().await, 4400);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_connection_init_is_closed() {
    let mut config = config();
    config.graphql.connection_init_timeout = Duration::from_millis(100);
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    for protocol in [MODERN, LEGACY] {
        assert_eq!(Socket::open(&gateway, protocol).await.closed().await, 4408);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_rejected_before_the_upgrade() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let same = gateway.url("");
    for (headers, expected) in [
        (
            vec![("sec-websocket-protocol", MODERN), ("origin", "https://evil.example")],
            Err("origin_not_allowed"),
        ),
        (vec![("sec-websocket-protocol", MODERN), ("origin", same.as_str())], Ok(())),
        (vec![("sec-websocket-protocol", "mqtt")], Err("websocket_handshake")),
        (vec![], Err("websocket_handshake")),
        (vec![("sec-websocket-protocol", "mqtt, graphql-ws")], Ok(())),
    ] {
        let opened = Socket::try_open(&gateway, &headers).await;
        let opened = opened.map(|_| ()).map_err(|problem| problem["code"].as_str().unwrap().to_owned());
        assert_eq!(opened, expected.map_err(str::to_owned), "{headers:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_no_ping_is_disconnected() {
    let mut config = config();
    config.graphql.ping_interval = Duration::from_millis(200);
    config.graphql.pong_timeout = Duration::from_millis(800);
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let silent = Socket::ready(&gateway, MODERN).await;
    let mut alive = Socket::ready(&gateway, LEGACY).await;
    // The client library answers pings only while the test reads.
    let mut raw = silent.0.into_inner();
    let read_to_end = async {
        let mut rest = Vec::new();
        let _ = raw.read_to_end(&mut rest).await;
    };
    let keepalives = async {
        for _ in 0..10 {
            assert_eq!(alive.hear().await["type"], "ka");
        }
    };
    tokio::time::timeout(PATIENCE, futures_util::future::join(read_to_end, keepalives)).await.unwrap();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_closes_sockets_with_a_code_that_clients_retry() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let mut sockets = Vec::new();
    for protocol in [MODERN, LEGACY, MODERN] {
        sockets.push(Socket::ready(&gateway, protocol).await);
    }
    sockets[0].subscribe("1", &watch(&id)).await;
    sockets[0].hear().await;
    let closes = futures_util::future::join_all(sockets.iter_mut().map(Socket::closed));
    let (codes, ()) = futures_util::future::join(closes, gateway.stop()).await;
    assert_eq!(codes, [1012, 1012, 1012]);
}
