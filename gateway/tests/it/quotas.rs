//! The limits of keys and tenants on every surface of a gateway, on both pairs of back ends.
//!
//! The rates are one request per second. A group of requests that took longer than a second is sent again with a new
//! key, because its burst was partly complete again.

use std::time::{Duration, Instant};

use domain::{Limits, Principal, Scopes, TenantId};
use futures_util::{SinkExt, StreamExt};
use gateway::Config;
use gateway::access::{self, KeyRequest, NewKeyTenant};
use gateway::store::KeyActor;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::audit_log::fail;
use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// An id that no order has.
const NO_ORDER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn with_keys() -> Config {
    let mut config = Config::default();
    config.access.keys = true;
    config
}

/// One request per second and this burst.
fn burst(burst: u32) -> Limits {
    Limits { rate_per_s: Some(1), burst: Some(burst), ..Limits::default() }
}

fn order() -> Value {
    json!({"item": "Tea", "quantity": 1, "price": 1})
}

async fn key_of(backend: &Backend, tenant: NewKeyTenant, limits: Limits) -> String {
    let (name, scopes, ttl) = ("test".to_owned(), Scopes::ALL, Duration::from_secs(3_600));
    let request = KeyRequest { name, tenant, scopes, ttl, limits };
    let issued = access::create(&backend.store, &Principal::anonymous(), &request, None).await.unwrap();
    issued.key.expose().to_owned()
}

/// Creates a tenant, and returns keys of it without limits.
pub(crate) async fn tenant(backend: &Backend, name: &str, limits: Limits) -> [String; 2] {
    let id: TenantId = name.parse().unwrap();
    let actor = KeyActor { name: "test".to_owned(), tenant: None, request_id: None };
    backend.store.create_tenant(&id, name, &limits, &actor).await.unwrap();
    let key = || key_of(backend, NewKeyTenant::One(id.clone()), Limits::default());
    [key().await, key().await]
}

/// Repeats `attempt`, whose argument is its number, until one takes less than a second.
async fn within_a_second<T>(attempt: impl AsyncFn(u32) -> T) -> T {
    for number in 0..50 {
        let started = Instant::now();
        let result = attempt(number).await;
        if started.elapsed() < Duration::from_secs(1) {
            return result;
        }
    }
    panic!("each of 50 attempts took more than a second")
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that the request was refused for its rate, with all fields.
    fn assert_limited(&self, policy: &str, state: &str) {
        assert_eq!(self.status, 429, "{}", self.body);
        let code = [&self.body["code"], &self.body["errors"][0]["extensions"]["code"]];
        assert!(code.contains(&&json!("rate_limited")), "{}", self.body);
        assert!((1..=3).contains(&self.header("retry-after").parse::<u32>().unwrap()));
        assert_eq!(self.header("ratelimit-policy"), policy);
        assert!(self.header("ratelimit").starts_with(state), "{}", self.header("ratelimit"));
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer {
        status,
        headers,
        body: serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default(),
    }
}

async fn get(gateway: &Gateway<'_>, path: &str, key: &str) -> Answer {
    answer(gateway.client.get(gateway.url(path)).bearer_auth(key)).await
}

async fn post(gateway: &Gateway<'_>, path: &str, key: &str, body: &Value) -> Answer {
    let request = gateway.client.post(gateway.url(path)).bearer_auth(key);
    answer(request.header("content-type", "application/json").body(body.to_string())).await
}

on_both!(a_key_has_a_rate_on_rest, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let answers = within_a_second(async |_| {
        let key = key_of(&backend, NewKeyTenant::All, burst(3)).await;
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(get(&gateway, "/orders", &key).await);
        }
        answers
    })
    .await;
    for (answer, left) in answers.iter().zip([2, 1, 0]) {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), r#""key";q=3;w=3"#);
        assert!(answer.header("ratelimit").starts_with(&format!(r#""key";r={left};t="#)));
    }
    answers[3].assert_limited(r#""key";q=3;w=3"#, r#""key";r=0;t=3"#);

    let unlimited = key_of(&backend, NewKeyTenant::All, Limits::default()).await;
    let answer = get(&gateway, "/orders", &unlimited).await;
    assert_eq!((answer.status, answer.header("ratelimit")), (200, ""));
    gateway.stop().await;
});

on_both!(a_bulk_create_costs_its_orders, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let bulk = |count: usize| json!(vec![order(); count]);
    let mutation = |count: usize| {
        let orders = vec![order(); count];
        let query = "mutation($orders: [CreateOrderInput!]!) { createOrders(input: {orders: $orders}) { userErrors { code } } }";
        json!({"query": query, "variables": {"orders": orders}})
    };
    let (created, refused, large) = within_a_second(async |_| {
        let key = key_of(&backend, NewKeyTenant::All, burst(5)).await;
        let created = post(&gateway, "/orders/bulk", &key, &bulk(3)).await;
        let refused = post(&gateway, "/orders/bulk", &key, &bulk(3)).await;
        let key = key_of(&backend, NewKeyTenant::All, burst(2)).await;
        let large = [bulk(20), bulk(1)];
        let large = [
            post(&gateway, "/orders/bulk", &key, &large[0]).await,
            post(&gateway, "/orders/bulk", &key, &large[1]).await,
        ];
        (created, refused, large)
    })
    .await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert!(created.header("ratelimit").starts_with(r#""key";r=2;"#));
    // The refused request was charged for one order.
    refused.assert_limited(r#""key";q=5;w=5"#, r#""key";r=1;"#);
    // A cost above the burst is admitted while the burst is complete, and is earned afterwards.
    assert_eq!(large.each_ref().map(|answer| answer.status), [201, 429], "{}", large[0].body);
    assert_eq!(large[1].header("retry-after"), "19");

    let answers = within_a_second(async |_| {
        let key = key_of(&backend, NewKeyTenant::All, burst(5)).await;
        [
            post(&gateway, "/graphql", &key, &mutation(3)).await,
            post(&gateway, "/graphql", &key, &mutation(3)).await,
        ]
    })
    .await;
    assert_eq!(answers[0].body["data"]["createOrders"]["userErrors"], json!([]), "{}", answers[0].body);
    let error = &answers[1].body["errors"][0]["extensions"];
    assert_eq!(
        (&error["code"], error["retryAfterSeconds"].is_u64()),
        (&json!("rate_limited"), true),
        "{error}"
    );
    gateway.stop().await;
});

on_both!(an_operation_costs_its_complexity, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let simple = json!({"query": "{ __typename }"});
    let complex = json!({"query": "{ orders(first: 100) { nodes { id status } } }"});
    let answers = within_a_second(async |_| {
        let key = key_of(&backend, NewKeyTenant::All, burst(5)).await;
        [
            post(&gateway, "/graphql", &key, &simple).await,
            post(&gateway, "/graphql", &key, &complex).await,
            post(&gateway, "/graphql", &key, &complex).await,
            post(&gateway, "/graphql", &key, &simple).await,
        ]
    })
    .await;
    let statuses = answers.each_ref().map(|answer| answer.status);
    assert_eq!(statuses, [200, 200, 429, 429], "{:?}", answers.each_ref().map(|answer| &answer.body));
    answers[2].assert_limited(r#""key";q=5;w=5"#, r#""key";r=0;"#);
    let extensions = &answers[2].body["errors"][0]["extensions"];
    assert_eq!(extensions["retryAfterSeconds"].to_string(), answers[2].header("retry-after"), "{extensions}");
    answers[3].assert_limited(r#""key";q=5;w=5"#, r#""key";r=0;"#);
    gateway.stop().await;
});

/// Opens a websocket with a key in its header or in `connection_init`. An error is the status of the response.
async fn socket(gateway: &Gateway<'_>, key: &str, in_header: bool) -> Result<Socket, u16> {
    let bearer = format!("Bearer {key}");
    let mut request = gateway.ws_url("/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    if in_header {
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
    }
    let mut socket = match connect_async(request).await {
        Ok((socket, _)) => socket,
        Err(tungstenite::Error::Http(response)) => return Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    };
    let payload = if in_header { json!({}) } else { json!({"authorization": bearer}) };
    let init = json!({"type": "connection_init", "payload": payload});
    socket.send(Message::text(init.to_string())).await.unwrap();
    Ok(socket)
}

/// Receives a message, or the code and the reason of the close frame.
async fn receive(socket: &mut Socket) -> Result<Value, (u16, String)> {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => {
                let frame = frame.unwrap();
                return Err((frame.code.into(), frame.reason.to_string()));
            }
            _ => {}
        }
    }
}

on_both!(each_operation_of_a_websocket_is_a_request, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let ack = json!({"type": "connection_ack"});
    for in_header in [true, false] {
        let (results, refused) = within_a_second(async |_| {
            let key = key_of(&backend, NewKeyTenant::All, burst(3)).await;
            let mut open = socket(&gateway, &key, in_header).await.unwrap();
            assert_eq!(receive(&mut open).await, Ok(ack.clone()));
            let mut results = Vec::new();
            for id in ["1", "2", "3"] {
                let payload = json!({"query": "{ __typename }"});
                let subscribe = json!({"type": "subscribe", "id": id, "payload": payload});
                open.send(Message::text(subscribe.to_string())).await.unwrap();
                results.push(receive(&mut open).await.unwrap());
                if results.len() < 3 {
                    assert_eq!(receive(&mut open).await.unwrap()["type"], "complete");
                }
            }
            // Another socket is a request as well.
            let refused = match socket(&gateway, &key, in_header).await {
                Ok(mut socket) => receive(&mut socket).await.unwrap_err().0,
                Err(status) => status,
            };
            (results, refused)
        })
        .await;
        let kinds: Vec<_> = results.iter().map(|result| &result["type"]).collect();
        assert_eq!(kinds, ["next", "next", "error"], "{results:?}");
        let extensions = &results[2]["payload"][0]["extensions"];
        assert_eq!(extensions["code"], "rate_limited");
        assert!(extensions["retryAfterSeconds"].is_u64(), "{extensions}");
        assert_eq!(refused, if in_header { 429 } else { 1013 });
    }
    gateway.stop().await;
});

fn with_key<T>(message: T, key: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

on_both!(a_key_has_a_rate_on_grpc, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let statuses = within_a_second(async |_| {
        let key = key_of(&backend, NewKeyTenant::All, burst(3)).await;
        let mut calls = gateway.workers().await;
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let order = proto::v1::GetOrderRequest { order_id: NO_ORDER.to_owned() };
            statuses.push(calls.get_order(with_key(order, &key)).await.unwrap_err());
        }
        statuses
    })
    .await;
    let codes: Vec<_> = statuses.iter().map(tonic::Status::code).collect();
    let (admitted, limited) = (tonic::Code::NotFound, tonic::Code::ResourceExhausted);
    assert_eq!(codes, [admitted, admitted, admitted, limited]);
    let metadata = statuses[3].metadata();
    assert_eq!(metadata.get(proto::ERROR_METADATA).unwrap(), "rate_limited");
    let pushback: u64 = metadata.get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!(pushback <= 1_000, "{pushback}");
    gateway.stop().await;
});

on_both!(the_keys_of_a_tenant_share_its_rate, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let answers = within_a_second(async |attempt| {
        let [first, second] = tenant(&backend, &format!("shop{attempt}"), burst(3)).await;
        let mut answers = Vec::new();
        for key in [&first, &first, &second, &second] {
            answers.push(get(&gateway, "/orders", key).await);
        }
        answers
    })
    .await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 200, 429]);
    answers[3].assert_limited(r#""tenant";q=3;w=3"#, r#""tenant";r=0;"#);
    assert!(answers[3].body["detail"].as_str().unwrap().contains("tenant"), "{}", answers[3].body);
    gateway.stop().await;
});

on_both!(two_gateways_admit_half_each, |on| async move {
    let backend = Backend::new(on).await;
    let gateways = [backend.gateway(with_keys()).await, backend.gateway(with_keys()).await];
    let probe = Limits { rate_per_s: Some(1_000), burst: Some(8), ..Limits::default() };
    let probe = key_of(&backend, NewKeyTenant::All, probe).await;
    for gateway in &gateways {
        eventually("the gateways to know each other", || async {
            let answer = get(gateway, "/orders", &probe).await;
            (answer.header("ratelimit-policy") == r#""key";q=4;w=1"#).then_some(())
        })
        .await;
    }
    let admitted = within_a_second(async |_| {
        let key = key_of(&backend, NewKeyTenant::All, burst(8)).await;
        let mut admitted = [0; 2];
        for (gateway, admitted) in gateways.iter().zip(&mut admitted) {
            while get(gateway, "/orders", &key).await.status == 200 {
                *admitted += 1;
            }
        }
        admitted
    })
    .await;
    assert_eq!(admitted, [4, 4]);
    let [first, second] = gateways;
    second.stop().await;
    eventually("the stopped gateway to be forgotten", || async {
        let answer = get(&first, "/orders", &probe).await;
        (answer.header("ratelimit-policy") == r#""key";q=8;w=1"#).then_some(())
    })
    .await;
    first.stop().await;
});

on_both!(a_tenant_has_a_maximum_of_open_orders, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let limits = Limits { max_open: Some(3), ..Limits::default() };
    let [key, other] = tenant(&backend, "shop", limits).await;
    let [free, _] = tenant(&backend, "cafe", Limits::default()).await;
    let mut ids = Vec::new();
    for key in [&key, &other, &key] {
        let created = post(&gateway, "/orders", key, &order()).await;
        assert_eq!(created.status, 201, "{}", created.body);
        ids.push(created.body["id"].as_str().unwrap().to_owned());
    }
    for (path, body) in [("/orders", order()), ("/orders/bulk", json!([order(), order()]))] {
        let refused = post(&gateway, path, &key, &body).await;
        assert_eq!((refused.status, &refused.body["code"]), (429, &json!("quota_exceeded")), "{path}");
        assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
        assert!(refused.body["detail"].as_str().unwrap().contains("may have 3 orders"), "{}", refused.body);
        assert_eq!(post(&gateway, path, &free, &body).await.status, 201);
    }
    let query =
        "mutation { createOrder(input: {item: \"Tea\", quantity: 1, price: \"1\"}) { userErrors { code } } }";
    let refused = post(&gateway, "/graphql", &key, &json!({"query": query})).await;
    let extensions = &refused.body["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "quota_exceeded", "{}", refused.body);
    assert!(extensions["retryAfterSeconds"].is_u64(), "{extensions}");

    // Orders that are final do not count.
    for id in &ids[..2] {
        let path = format!("/orders/{id}/cancel");
        assert_eq!(post(&gateway, &path, &key, &json!({})).await.status, 200);
    }
    eventually("the final orders to be noticed", || async {
        let created = post(&gateway, "/orders/bulk", &key, &json!([order(), order()])).await;
        (created.status == 201).then_some(())
    })
    .await;
    assert_eq!(post(&gateway, "/orders", &key, &order()).await.status, 429);
    // A redrive opens orders as well.
    let failed = &ids[2];
    fail(&backend, failed).await;
    eventually("the failed order to be noticed", || async {
        (post(&gateway, "/orders", &key, &order()).await.status == 201).then_some(())
    })
    .await;
    let redrive = format!("/orders/{failed}/redrive");
    let all = json!({"filter": {}});
    for (path, body) in [(redrive.as_str(), json!({})), ("/dead-letters/redrive", all)] {
        let refused = post(&gateway, path, &key, &body).await;
        assert_eq!((refused.status, &refused.body["code"]), (429, &json!("quota_exceeded")), "{path}");
    }
    // Concurrent creates do not exceed it either.
    let [key, _] = tenant(&backend, "bar", limits).await;
    let body = order();
    let creates = (0..20).map(|_| post(&gateway, "/orders", &key, &body));
    let answers = futures_util::future::join_all(creates).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 3);
    gateway.stop().await;
});

on_both!(a_tenant_has_a_maximum_of_streams, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let limits = Limits { max_streams: Some(2), ..Limits::default() };
    let [key, other] = tenant(&backend, "shop", limits).await;
    let created = post(&gateway, "/orders", &key, &order()).await;
    let id = created.body["id"].as_str().unwrap().to_owned();
    let events = |key: &str| {
        let url = gateway.url(&format!("/orders/{id}/events"));
        gateway.client.get(url).bearer_auth(key).header("accept", "text/event-stream")
    };
    let stream = events(&key).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let mut open = socket(&gateway, &other, false).await.unwrap();
    assert_eq!(receive(&mut open).await, Ok(json!({"type": "connection_ack"})));

    let refused = answer(events(&other)).await;
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("quota_exceeded")));
    assert_eq!(refused.header("retry-after"), "5");
    assert!(refused.body["detail"].as_str().unwrap().contains("tenant"), "{}", refused.body);
    let subscription = "/graphql?query=subscription%7BorderEvents%7B__typename%7D%7D";
    let subscription = gateway.client.get(gateway.url(subscription)).bearer_auth(&key);
    for request in [
        subscription.header("accept", "text/event-stream"),
        gateway
            .client
            .get(gateway.url(&format!("/orders/{id}?waitForSequence=2&timeout=1")))
            .bearer_auth(&key),
    ] {
        let refused = answer(request).await;
        assert_eq!((refused.status, &refused.body["code"]), (429, &json!("quota_exceeded")));
    }
    assert_eq!(socket(&gateway, &key, true).await.err(), Some(429));
    let mut late = socket(&gateway, &key, false).await.unwrap();
    let (code, reason) = receive(&mut late).await.unwrap_err();
    assert!(code == 1013 && reason.contains("open streams"), "{code} {reason}");
    let mut calls = gateway.workers().await;
    let watch = || proto::v1::WatchOrderRequest { order_id: id.clone(), after_sequence: None };
    let refused = calls.watch_order(with_key(watch(), &key)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert_eq!(refused.metadata().get(proto::ERROR_METADATA).unwrap(), "quota_exceeded");
    assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").unwrap(), "5000");

    drop((stream, open));
    eventually("the closed streams to be noticed", || async {
        let mut calls = calls.clone();
        calls.watch_order(with_key(watch(), &key)).await.ok().map(drop)
    })
    .await;
    gateway.stop().await;
});
