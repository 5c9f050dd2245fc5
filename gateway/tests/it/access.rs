//! Authentication on every surface of a gateway, on both pairs of back ends.

use std::time::Duration;

use domain::{Limits, Role, Scopes, TenantId};
use futures_util::{SinkExt, StreamExt};
use gateway::Config;
use gateway::access::{self, IssuedKey, KeyRequest, NewKeyTenant};
use gateway::store::{KeyActor, TenantState};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

/// The routes that need no credential. A new route of the reference is not here, so it has to refuse a request.
const PUBLIC: [&str; 3] = ["/livez", "/healthz", "/readyz"];

pub(crate) fn with_keys() -> Config {
    let mut config = Config::default();
    config.access.keys = true;
    config.access.developer_tools = false;
    config.graphql.introspection = false;
    config
}

pub(crate) async fn key(backend: &Backend, scopes: Scopes, ttl: Duration) -> IssuedKey {
    key_of(backend, NewKeyTenant::All, scopes, ttl).await
}

async fn key_of(backend: &Backend, tenant: NewKeyTenant, scopes: Scopes, ttl: Duration) -> IssuedKey {
    let request = KeyRequest { name: "test".to_owned(), tenant, scopes, ttl, limits: Limits::default() };
    access::create(&backend.store, &domain::Principal::anonymous(), &request, None).await.unwrap()
}

pub(crate) async fn role(backend: &Backend, role: Role) -> IssuedKey {
    key(backend, role.scopes(), Duration::from_secs(3_600)).await
}

/// Sends a request, and returns the status and the code of the error.
pub(crate) async fn send(gateway: &Gateway<'_>, method: &str, path: &str, key: Option<&str>) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let mut request = gateway.client.request(method, gateway.url(path));
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    if status == 401 {
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"), "{path}");
    }
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

on_both!(every_route_needs_a_credential, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let document: Value = serde_json::from_str(&gateway::openapi().to_json().unwrap()).unwrap();
    let mut routes: Vec<(String, String)> =
        vec![("get".into(), "/graphql".into()), ("post".into(), "/graphql".into())];
    for (path, methods) in document["paths"].as_object().unwrap() {
        routes.extend(methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
    }
    for (method, path) in &routes {
        let target = path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057");
        // There are more routes than an address may fail in a second.
        let attempt =
            async || Some(send(&gateway, method, &target, None).await).filter(|(status, _)| *status != 429);
        let (status, body) = eventually("a response that is not limited", attempt).await;
        if PUBLIC.contains(&path.as_str()) {
            assert_eq!(status, 200, "{method} {path}: {body}");
        } else if path == "/session" && method != "get" {
            // A session begins with the credential in the body, and ends without one.
            assert_ne!(status, 401, "{method} {path}: {body}");
        } else {
            assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")), "{method} {path}");
        }
    }
    for path in ["/", "/problems", "/guide/", "/track/x"] {
        assert_eq!(send(&gateway, "get", path, None).await.0, 200, "{path}");
    }
    for path in ["/docs", "/openapi.json", "/graphiql", "/playground"] {
        assert_eq!(send(&gateway, "get", path, None).await.0, 404, "{path}");
    }
    gateway.stop().await;
});

on_both!(a_key_is_accepted_until_it_ends, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let admin = role(&backend, Role::Admin).await;
    assert_eq!(send(&gateway, "get", "/orders", Some(admin.key.expose())).await.0, 200);
    assert_eq!(send(&gateway, "get", "/metrics", Some(admin.key.expose())).await.0, 200);
    assert_eq!(send(&gateway, "get", "/readyz?verbose", Some(admin.key.expose())).await.0, 200);

    let worker = role(&backend, Role::Worker).await;
    for path in ["/metrics", "/readyz?verbose"] {
        let (status, body) = send(&gateway, "get", path, Some(worker.key.expose())).await;
        assert_eq!((status, &body["code"]), (403, &json!("forbidden")), "{path}");
        assert!(body["detail"].as_str().unwrap().contains("metrics:read"), "{body}");
        assert_eq!(send(&gateway, "get", path, None).await.0, 401, "{path}");
    }

    // A key that is stored with an end in the past, as after the end of its lifetime.
    let mut expired = key(&backend, Scopes::ALL, Duration::from_secs(1)).await;
    expired.key = access::Key::generate();
    expired.stored.id = expired.key.id().to_owned();
    expired.stored.hash = expired.key.hash();
    expired.stored.expires_at = domain::Timestamp::from_micros(1);
    let actor = KeyActor { name: "test".to_owned(), tenant: None, request_id: None };
    backend.store.create_api_key(&expired.stored, &actor).await.unwrap();
    let (status, body) = send(&gateway, "get", "/orders", Some(expired.key.expose())).await;
    assert_eq!((status, &body["code"]), (401, &json!("token_expired")));

    let revoked = role(&backend, Role::Admin).await;
    access::revoke(&backend.store, &domain::Principal::anonymous(), &revoked.stored.id, None).await.unwrap();
    let unknown = access::Key::generate();
    for wrong in [revoked.key.expose(), unknown.expose(), "ord_x", &admin.key.expose()[1..]] {
        let (status, body) = send(&gateway, "get", "/orders", Some(wrong)).await;
        assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")));
        assert!(!body.to_string().contains(wrong), "the error does not repeat the key");
    }
    gateway.stop().await;
});

on_both!(keys_of_a_suspended_tenant_are_refused, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let shop: TenantId = "shop".parse().unwrap();
    let actor = KeyActor { name: "test".to_owned(), tenant: None, request_id: None };
    backend.store.create_tenant(&shop, "Shop", &Limits::default(), &actor).await.unwrap();
    // The gateway keeps a verdict for some time, so each step has a new key.
    let read = async |tenant| {
        let key = key_of(&backend, tenant, Scopes::ALL, Duration::from_secs(3_600)).await;
        send(&gateway, "get", "/orders", Some(key.key.expose())).await
    };
    let of_shop = || NewKeyTenant::One(shop.clone());
    assert_eq!(read(of_shop()).await.0, 200);
    for _ in 0..2 {
        assert!(backend.store.set_tenant_state(&shop, TenantState::Suspended, &actor).await.unwrap());
        let (status, body) = read(of_shop()).await;
        assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")));
        assert!(body["detail"].as_str().unwrap().contains("is suspended"), "{body}");
    }
    for unaffected in [NewKeyTenant::All, NewKeyTenant::One(TenantId::default())] {
        assert_eq!(read(unaffected).await.0, 200);
    }
    assert!(backend.store.set_tenant_state(&shop, TenantState::Active, &actor).await.unwrap());
    assert_eq!(read(of_shop()).await.0, 200);
    let unknown: TenantId = "cafe".parse().unwrap();
    assert!(!backend.store.set_tenant_state(&unknown, TenantState::Suspended, &actor).await.unwrap());
    gateway.stop().await;
});

on_both!(failed_authentications_are_limited, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let admin = role(&backend, Role::Admin).await;
    assert_eq!(send(&gateway, "get", "/orders", Some(admin.key.expose())).await.0, 200);
    let mut limited = false;
    // A second may end within these requests, but not each time within the limit.
    for _ in 0..200 {
        let (status, body) = send(&gateway, "get", "/orders", Some("ord_x")).await;
        limited = limited || (status == 429 && body["code"] == "rate_limited");
    }
    assert!(limited, "the address exceeded the limit");
    // A key that was verified before is not affected.
    assert_eq!(send(&gateway, "get", "/orders", Some(admin.key.expose())).await.0, 200);
    gateway.stop().await;
});

on_both!(grpc_calls_need_a_scope, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let (reader, worker) = (role(&backend, Role::Reader).await, role(&backend, Role::Worker).await);
    let report = |key: Option<&str>| {
        let mut request = tonic::Request::new(proto::v1::UpdateStatusRequest {
            order_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            status: "processing".to_owned(),
            ..proto::v1::UpdateStatusRequest::default()
        });
        if let Some(key) = key {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        request
    };
    let mut workers = gateway.workers().await;
    for (key, code, error) in [
        (None, tonic::Code::Unauthenticated, "unauthenticated"),
        (Some("ord_x"), tonic::Code::Unauthenticated, "unauthenticated"),
        (Some(reader.key.expose()), tonic::Code::PermissionDenied, "forbidden"),
        (Some(worker.key.expose()), tonic::Code::NotFound, "order_not_found"),
    ] {
        let status = workers.update_status(report(key)).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert_eq!(status.metadata().get(proto::ERROR_METADATA).unwrap(), error);
    }
    gateway.stop().await;
});

/// Opens a websocket, sends `connection_init`, and returns the first message or the code of the close frame.
pub(crate) async fn first_frame(
    gateway: &Gateway<'_>,
    header: Option<&str>,
    init: Value,
) -> (Socket, Result<Value, u16>) {
    let mut request = gateway.ws_url("/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    if let Some(key) = header {
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    let (mut socket, _) = connect_async(request).await.unwrap();
    let init = json!({"type": "connection_init", "payload": init}).to_string();
    socket.send(Message::text(init)).await.unwrap();
    let frame = next_frame(&mut socket).await;
    (socket, frame)
}

pub(crate) type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

pub(crate) async fn next_frame(socket: &mut Socket) -> Result<Value, u16> {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => return Err(frame.unwrap().code.into()),
            _ => {}
        }
    }
}

on_both!(websockets_authenticate_by_header_or_init, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let reader = role(&backend, Role::Reader).await;
    let bearer = json!({"authorization": format!("Bearer {}", reader.key.expose())});
    let ack = Ok(json!({"type": "connection_ack"}));
    assert_eq!(first_frame(&gateway, Some(reader.key.expose()), json!({})).await.1, ack);
    let (mut socket, accepted) = first_frame(&gateway, None, bearer).await;
    assert_eq!(accepted, ack);
    for init in [json!({}), json!({"authorization": "Bearer ord_x"}), json!({"authorization": 5})] {
        assert_eq!(first_frame(&gateway, None, init).await.1, Err(4401));
    }
    // A wrong header is refused before the upgrade.
    let (status, _) = send(&gateway, "get", "/graphql", Some("ord_x")).await;
    assert_eq!(status, 401);

    let query = json!({"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}});
    socket.send(Message::text(query.to_string())).await.unwrap();
    assert_eq!(next_frame(&mut socket).await.unwrap()["type"], "next");
    gateway.stop().await;
});

/// Reads a stream of gRPC to its end, and returns its status.
async fn status_at_the_end<T>(mut stream: tonic::Streaming<T>) -> tonic::Status {
    loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "the stream ended without an error"),
            Err(status) => return status,
        }
    }
}

on_both!(open_streams_end_with_their_key, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    // All streams are open before the end of the key.
    let short = key(&backend, Scopes::ALL, Duration::from_secs(5)).await;
    let key = short.key.expose();
    let order = json!({"item": "Tea", "quantity": 1, "price": 1}).to_string();
    let order = gateway.client.post(gateway.url("/orders")).bearer_auth(key).body(order);
    let order = order.header("content-type", "application/json").send().await.unwrap().text().await.unwrap();
    let order: Value = serde_json::from_str(&order).unwrap();
    let id = order["id"].as_str().unwrap_or_else(|| panic!("{order}"));

    let mut event_streams = Vec::new();
    for path in [
        format!("/orders/{id}/events"),
        "/graphql?query=subscription%7BorderEvents%7B__typename%7D%7D".to_owned(),
    ] {
        let request = gateway.client.get(gateway.url(&path)).bearer_auth(key);
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        event_streams.push(response);
    }
    let (mut socket, accepted) = first_frame(&gateway, Some(key), json!({})).await;
    assert_eq!(accepted, Ok(json!({"type": "connection_ack"})));
    let payload = json!({"query": "subscription { orderEvents { __typename } }"});
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": payload});
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    let bearer = format!("Bearer {key}").parse::<tonic::metadata::MetadataValue<_>>().unwrap();
    let mut workers = gateway.workers().await;
    let watch = proto::v1::WatchOrderRequest { order_id: id.to_owned(), after_sequence: None };
    let mut watch = tonic::Request::new(watch);
    watch.metadata_mut().insert("authorization", bearer.clone());
    let watch = workers.watch_order(watch).await.unwrap().into_inner();
    let mut work = tonic::Request::new(tokio_stream::pending::<proto::v1::WorkerMessage>());
    work.metadata_mut().insert("authorization", bearer);
    let work = workers.work(work).await.unwrap().into_inner();

    for response in event_streams {
        let text = response.text().await.unwrap();
        let (_, last) = text.split_once("event: error\ndata: ").unwrap_or_else(|| panic!("{text}"));
        let problem: Value = serde_json::from_str(last).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&json!("token_expired"), &json!(401)));
    }
    // The event of the order may arrive after the subscription.
    let error = loop {
        let frame = next_frame(&mut socket).await.unwrap();
        if frame["type"] != "next" {
            break frame;
        }
    };
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("1")), "{error}");
    assert_eq!(error["payload"][0]["extensions"]["code"], "token_expired", "{error}");
    assert_eq!(next_frame(&mut socket).await, Err(4403));
    for status in [status_at_the_end(watch).await, status_at_the_end(work).await] {
        assert_eq!(status.code(), tonic::Code::Unauthenticated, "{status:?}");
        assert_eq!(status.metadata().get(proto::ERROR_METADATA).unwrap(), "token_expired");
    }
    gateway.stop().await;
});
