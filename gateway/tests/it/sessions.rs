//! Sessions of browsers: a cookie that stands for an API key.

use std::time::Duration;

use domain::{Limits, Principal, Role};
use futures_util::{SinkExt, StreamExt};
use gateway::Config;
use gateway::access::{self, IssuedKey, KeyRequest, NewKeyTenant};
use http::HeaderValue;
use reqwest::Response;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

fn with_keys() -> Config {
    let mut config = Config::default();
    config.access.keys = true;
    config
}

async fn key(backend: &Backend, role: Role) -> IssuedKey {
    let request = KeyRequest {
        name: "browser".to_owned(),
        tenant: NewKeyTenant::All,
        scopes: role.scopes(),
        ttl: Duration::from_secs(3_600),
        limits: Limits::default(),
    };
    access::create(&backend.store, &Principal::anonymous(), &request, None).await.unwrap()
}

async fn begin(gateway: &Gateway<'_>, credential: &str) -> Response {
    let body = json!({ "credential": credential });
    gateway.client.post(gateway.url("/session")).json(&body).send().await.unwrap()
}

/// Returns the header `Cookie` of a new session.
async fn cookie(gateway: &Gateway<'_>, credential: &str) -> String {
    let response = begin(gateway, credential).await;
    assert_eq!(response.status(), 200);
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(!cookie.contains(credential));
    cookie.split(';').next().unwrap().to_owned()
}

async fn get(gateway: &Gateway<'_>, path: &str, cookie: &str) -> (u16, Value) {
    let response = gateway.client.get(gateway.url(path)).header("cookie", cookie).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

on_both!(a_session_has_the_rights_of_its_key_until_it_is_revoked, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let reader = key(&backend, Role::Reader).await;
    let cookie = cookie(&gateway, reader.key.expose()).await;
    assert!(cookie.starts_with("orders-session="), "{cookie}");
    let (status, session) = get(&gateway, "/session", &cookie).await;
    assert_eq!((status, &session["name"]), (200, &json!(format!("key:{}", reader.stored.id))));
    assert_eq!(session["scopes"], json!(["orders:read", "events:read"]));
    assert_eq!(session["expiresAt"], json!(reader.stored.expires_at), "the key ends before the session");
    assert_eq!(get(&gateway, "/orders", &format!("a=b; {cookie}; c=d")).await.0, 200);
    assert_eq!(get(&gateway, "/metrics", &cookie).await.0, 403);

    // Pages of other sites cannot use it.
    let foreign = gateway.client.post(gateway.url("/orders")).header("cookie", &cookie);
    let foreign = foreign.header("origin", "https://evil.example").json(&json!({})).send().await.unwrap();
    assert_eq!(foreign.status(), 403);

    let mut events =
        gateway.client.get(gateway.url("/graphql?query=subscription%7BorderEvents%7B__typename%7D%7D"));
    events = events.header("cookie", &cookie).header("accept", "text/event-stream");
    let events = events.send().await.unwrap();
    assert_eq!(events.status(), 200);
    access::revoke(&backend.store, &Principal::anonymous(), &reader.stored.id, None).await.unwrap();
    let attempt = async || (get(&gateway, "/orders", &cookie).await.0 == 401).then_some(());
    eventually("the revocation", attempt).await;
    let rest = events.text().await.unwrap();
    assert!(rest.contains("event: error") && rest.contains("token_expired"), "{rest}");
    gateway.stop().await;
});

on_both!(a_websocket_is_opened_with_the_cookie, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let reader = key(&backend, Role::Reader).await;
    let cookie = cookie(&gateway, reader.key.expose()).await;
    let open = async |cookie: &str| {
        let mut request = gateway.ws_url("/graphql").into_client_request().unwrap();
        request.headers_mut().insert("cookie", HeaderValue::try_from(cookie).unwrap());
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        connect_async(request).await
    };
    let (mut socket, _) = open(&cookie).await.unwrap();
    socket.send(Message::text(r#"{"type":"connection_init"}"#)).await.unwrap();
    let acknowledged = socket.next().await.unwrap().unwrap();
    assert_eq!(acknowledged.to_text().unwrap(), r#"{"type":"connection_ack"}"#);
    assert!(open("orders-session=AAAA").await.is_err(), "it is no session");
    drop(socket);
    gateway.stop().await;
});

on_both!(a_session_needs_a_valid_key, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    for wrong in ["ord_x", "x", access::Key::generate().expose()] {
        let response = begin(&gateway, wrong).await;
        assert_eq!(response.status(), 401, "{wrong}");
        assert!(!response.headers().contains_key("set-cookie"));
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "unauthenticated");
    }
    for cookie in ["orders-session=", "orders-session=AAAA", "__Host-orders=ord_x"] {
        let (status, problem) = get(&gateway, "/orders", cookie).await;
        assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")), "{cookie}");
    }
    let ended = gateway.client.delete(gateway.url("/session")).send().await.unwrap();
    assert_eq!((ended.status().as_u16(), ended.headers().get_all("set-cookie").iter().count()), (204, 2));
    gateway.stop().await;
});

on_both!(without_authentication_there_is_no_cookie, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let response = begin(&gateway, "any").await;
    assert!(response.status() == 200 && !response.headers().contains_key("set-cookie"));
    let (status, session) = get(&gateway, "/session", "").await;
    assert_eq!((status, &session["name"], &session["expiresAt"]), (200, &json!("anonymous"), &Value::Null));
    gateway.stop().await;
});
