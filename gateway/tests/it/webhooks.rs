//! Webhook endpoints over REST: every field, every error, tenants, limits and secrets, on both pairs of back ends.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use domain::Limits;
use gateway::store::Options;
use gateway::webhooks::{Secret, SecretKeys};
use gateway::{Config, Store};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::access::with_keys;
use crate::harness::{Backend, Gateway, On, eventually};
use crate::on_both;
use crate::quotas::tenant;

/// A config that permits receivers on this machine.
pub(crate) fn with_webhooks(mut config: Config) -> Config {
    config.webhooks.allowed_networks = "127.0.0.0/8".parse().unwrap();
    config.webhooks.secret_keys = SecretKeys::generate_line().parse().unwrap();
    config
}

/// A server that keeps the requests to it, and answers with a status.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn answering(status: u16) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&received);
        let receive = move |headers: HeaderMap, body: Bytes| {
            list.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
            async move { (StatusCode::from_u16(status).unwrap(), format!("status {status}")) }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", axum::routing::post(receive));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, received, task }
    }

    pub(crate) fn received(&self) -> Vec<(HeaderMap, Value)> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn send(
    gateway: &Gateway<'_>,
    method: &str,
    path: &str,
    key: &str,
    body: Value,
) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = gateway.client.request(method, gateway.url(path));
    let request = if key.is_empty() { request } else { request.bearer_auth(key) };
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

/// Creates an endpoint, and returns its path and its secret.
async fn create(gateway: &Gateway<'_>, key: &str, body: Value) -> (String, String) {
    let (status, created) = send(gateway, "POST", "/webhooks", key, body).await;
    assert_eq!(status, 201, "{created}");
    let path = format!("/webhooks/{}", created["endpoint"]["id"].as_str().unwrap());
    (path, created["secret"].as_str().unwrap().to_owned())
}

on_both!(an_endpoint_is_created_changed_and_removed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_webhooks(Config::default())).await;
    let new = json!({
        "url": "http://127.0.0.1:1025/hook?token=x", "description": "the shop", "types": ["order.failed", "webhook.*"],
        "customer": "ann", "currency": "EUR", "payload": "thin", "format": "cloudevents", "ratePerSecond": 5,
        "concurrency": 3, "secret": format!("whsec_{}", "A".repeat(44)),
    });
    let response = gateway.client.post(gateway.url("/webhooks")).json(&new).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let headers = response.headers().clone();
    let created: Value = response.json().await.unwrap();
    assert_eq!(created["secret"], new["secret"]);
    let endpoint = &created["endpoint"];
    let path = format!("/webhooks/{}", endpoint["id"].as_str().unwrap());
    assert_eq!(headers["location"], path);
    assert_eq!(headers["cache-control"], "no-store");
    for field in [
        "url",
        "description",
        "types",
        "customer",
        "currency",
        "payload",
        "format",
        "ratePerSecond",
        "concurrency",
    ] {
        assert_eq!(endpoint[field], new[field], "{field}");
    }
    let state = json!({
        "tenant": "default", "state": "active", "disabledReason": null, "failingSince": null, "lastError": null,
        "nextProbeAt": null, "lagEvents": 0, "lagSeconds": 0, "waitingMessages": 0, "failedMessages": 0,
        "recovery": null, "createdBy": "anonymous",
    });
    for (field, value) in state.as_object().unwrap() {
        assert_eq!(&endpoint[field], value, "{field}");
    }
    assert_eq!(endpoint.as_object().unwrap().len(), 23, "{endpoint}");
    assert_eq!(send(&gateway, "GET", &path, "", Value::Null).await, (200, endpoint.clone()));

    // Null removes what can be absent, and absent members stay.
    let changes = json!({"customer": null, "currency": null, "ratePerSecond": null, "description": "",
        "types": ["order.*"], "url": null});
    let (status, changed) = send(&gateway, "PATCH", &path, "", changes).await;
    assert_eq!(status, 200, "{changed}");
    let expected = json!({
        "url": new["url"], "description": "", "types": ["order.*"], "customer": null, "currency": null,
        "payload": "thin", "format": "cloudevents", "ratePerSecond": null, "concurrency": 3,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
    assert_eq!(send(&gateway, "PATCH", &path, "", json!({})).await, (200, changed.clone()));
    assert_eq!(send(&gateway, "GET", "/webhooks", "", Value::Null).await, (200, json!([changed])));

    let (_, disabled) = send(&gateway, "POST", &format!("{path}/disable"), "", Value::Null).await;
    assert_eq!((&disabled["state"], &disabled["disabledReason"]), (&json!("disabled"), &json!("request")));
    let (_, enabled) = send(&gateway, "POST", &format!("{path}/enable"), "", Value::Null).await;
    assert_eq!((&enabled["state"], &enabled["disabledReason"]), (&json!("active"), &Value::Null));

    assert_eq!(send(&gateway, "DELETE", &path, "", Value::Null).await.0, 204);
    for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/attempts")] {
        let (status, problem) = send(&gateway, method, &format!("{path}{rest}"), "", Value::Null).await;
        assert_eq!((status, &problem["code"]), (404, &json!("webhook_not_found")), "{method} {rest}");
    }
    // Changes are in the audit log, without the path of the URL.
    let (_, audit) = send(&gateway, "GET", "/audit-log", "", Value::Null).await;
    let actions: Vec<&Value> = audit.as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    let expected = ["delete", "enable", "disable", "update", "update", "create"];
    assert_eq!(actions, expected.map(|action| json!(format!("webhook.{action}"))).iter().collect::<Vec<_>>());
    assert!(!audit.to_string().contains("token"), "{audit}");
    gateway.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_of_the_input_is_reported_at_once() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(with_webhooks(Config::default())).await;
    let wrong = json!({
        "url": "http://10.0.0.1/", "description": "x".repeat(201), "types": ["order.paid"], "customer": " ",
        "currency": "dollars", "payload": "all", "format": "xml", "ratePerSecond": 10_001, "concurrency": 0,
        "secret": "change-me", "color": "red",
    });
    let pointers = |problem: &Value| -> HashSet<String> {
        let errors = problem["errors"].as_array().unwrap().iter();
        errors.map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let (status, problem) = send(&gateway, "POST", "/webhooks", "", wrong.clone()).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_input")), "{problem}");
    let all: HashSet<String> = wrong.as_object().unwrap().keys().map(|name| format!("/{name}")).collect();
    assert_eq!(pointers(&problem), all, "{problem}");
    assert_eq!(problem["errors"].as_array().unwrap().len(), all.len());

    let (path, _) = create(&gateway, "", json!({"url": "http://127.0.0.1:1025"})).await;
    let (status, problem) = send(&gateway, "PATCH", &path, "", wrong).await;
    assert_eq!((status, pointers(&problem)), (400, all), "{problem}");
    for (body, pointer) in [
        (json!({}), "/url"),
        (json!({"url": null}), "/url"),
        (json!({"url": 5}), "/url"),
        (json!({"url": "http://127.0.0.1:1025", "types": []}), "/types"),
        (json!({"url": "http://127.0.0.1:1025", "types": ["order.*", 5]}), "/types"),
        (json!({"url": "http://127.0.0.1:1025", "types": "order.*"}), "/types"),
        (json!({"url": "http://127.0.0.1:1025", "concurrency": 33}), "/concurrency"),
        (json!({"url": "http://127.0.0.1:1025", "ratePerSecond": -1}), "/ratePerSecond"),
        (json!({"url": "http://127.0.0.1:1025", "ratePerSecond": 4_294_967_297_i64}), "/ratePerSecond"),
        (json!({"url": "http://127.0.0.1:1025", "secret": "whsec_AAAA"}), "/secret"),
        (json!([]), ""),
    ] {
        let (status, problem) = send(&gateway, "POST", "/webhooks", "", body.clone()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_input")), "{body}: {problem}");
        assert_eq!(pointers(&problem), HashSet::from([pointer.to_owned()]), "{body}: {problem}");
    }
    // What only the network of the gateway decides has its own code.
    for url in [
        "http://10.0.0.1/",
        "http://[::1]:8080/",
        "http://169.254.169.254/latest/meta-data",
        "https://192.168.0.1/",
        "https://[fd00::1]/",
        "https://0.0.0.0/",
        "https://user:password@shop.example.com/",
        "https://shop.example.com:22/",
        "https://shop.example.com/#part",
        "ftp://shop.example.com/",
        "shop.example.com",
        &format!("https://shop.example.com/{}", "x".repeat(2_000)),
    ] {
        let (status, problem) = send(&gateway, "POST", "/webhooks", "", json!({"url": url})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("webhook_url_refused")), "{url}: {problem}");
        assert_eq!(pointers(&problem), HashSet::from(["/url".to_owned()]), "{url}");
        let (status, problem) = send(&gateway, "PATCH", &path, "", json!({"url": url})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("webhook_url_refused")), "{url}: {problem}");
    }
    for (rest, body, pointer) in [
        ("rotate-secret", json!({"overlapHours": 721, "secret": "x"}), "/overlapHours"),
        ("rotate-secret", json!({"secret": "x"}), "/secret"),
        ("resend", json!({}), "/eventId"),
        ("recover", json!({}), "/since"),
        ("recover", json!({"since": "2h"}), "/since"),
        ("recover", json!({"since": "9999-01-01T00:00:00Z"}), "/since"),
        ("recover", json!({"since": "2026-01-31T12:00:00Z", "until": "2026-01-31T12:00:00Z"}), "/since"),
        ("recover", json!({"since": "2026-01-31T12:00:00Z", "dryRun": "yes"}), "/dryRun"),
    ] {
        let (status, problem) = send(&gateway, "POST", &format!("{path}/{rest}"), "", body.clone()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_input")), "{rest} {body}: {problem}");
        assert!(pointers(&problem).contains(pointer), "{rest} {body}: {problem}");
    }
    for query in [
        "/webhooks?limit=0",
        "/webhooks?limit=101",
        "/webhooks?after=x",
        &format!("{path}/attempts?outcome=x"),
        &format!("{path}/attempts?limit=501"),
        &format!("{path}/attempts?before=x"),
        &format!("{path}/messages?limit=501"),
        &format!("{path}/messages?kind=x"),
    ] {
        let (status, problem) = send(&gateway, "GET", query, "", Value::Null).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_input")), "{query}: {problem}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_receivers_need_permission_and_secrets_a_key() {
    let backend = Backend::new(On::Embedded).await;
    let config = Config::default();
    let gateway = backend.gateway(config.clone()).await;
    for url in ["http://127.0.0.1:1025/", "http://shop.example.com/", "https://127.0.0.1/"] {
        let (status, problem) = send(&gateway, "POST", "/webhooks", "", json!({"url": url})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("webhook_url_refused")), "{url}: {problem}");
    }
    let (status, problem) =
        send(&gateway, "POST", "/webhooks", "", json!({"url": "https://shop.example.com/"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("secret_key_missing")), "{problem}");
    gateway.stop().await;

    // With another key the secrets cannot be read.
    let gateway = backend.gateway(with_webhooks(config.clone())).await;
    let (path, _) = create(&gateway, "", json!({"url": "http://127.0.0.1:1025"})).await;
    gateway.stop().await;
    let gateway = backend.gateway(with_webhooks(config)).await;
    for rest in ["test", "rotate-secret"] {
        let (status, problem) = send(&gateway, "POST", &format!("{path}/{rest}"), "", Value::Null).await;
        assert_eq!((status, &problem["code"]), (409, &json!("secret_key_missing")), "{rest}: {problem}");
    }
    gateway.stop().await;
}

on_both!(a_tenant_has_a_limit_and_sees_only_its_endpoints, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_webhooks(with_keys())).await;
    let [shop, _] = tenant(&backend, "shop", Limits::default()).await;
    let [other, _] = tenant(&backend, "other", Limits::default()).await;
    let mut paths = Vec::new();
    for _ in 0..20 {
        paths.push(create(&gateway, &shop, json!({"url": "http://127.0.0.1:1025"})).await.0);
    }
    let body = json!({"url": "http://127.0.0.1:1025"});
    let (status, problem) = send(&gateway, "POST", "/webhooks", &shop, body.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("webhook_limit")), "{problem}");
    create(&gateway, &other, body.clone()).await;

    // Pages, with the link to the next one.
    let response =
        gateway.client.get(gateway.url("/webhooks?limit=15")).bearer_auth(&shop).send().await.unwrap();
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    let first: Vec<Value> = response.json().await.unwrap();
    let next = link.strip_prefix('<').unwrap().split('>').next().unwrap();
    let (_, second) = send(&gateway, "GET", next, &shop, Value::Null).await;
    let ids: Vec<String> = first
        .iter()
        .chain(second.as_array().unwrap())
        .map(|endpoint| format!("/webhooks/{}", endpoint["id"].as_str().unwrap()))
        .collect();
    assert_eq!(ids, paths);

    let requests = [
        ("GET", "", Value::Null),
        ("PATCH", "", json!({"description": "x"})),
        ("DELETE", "", Value::Null),
        ("POST", "/rotate-secret", Value::Null),
        ("POST", "/enable", Value::Null),
        ("POST", "/disable", Value::Null),
        ("POST", "/test", Value::Null),
        ("POST", "/resend", json!({"eventId": "x-1"})),
        ("POST", "/recover", json!({"since": "2026-01-31T12:00:00Z"})),
        ("DELETE", "/recover", Value::Null),
        ("GET", "/attempts", Value::Null),
        ("GET", "/messages", Value::Null),
    ];
    for (method, rest, body) in requests {
        let hidden = format!("{}{rest}", paths[0]);
        let (status, problem) = send(&gateway, method, &hidden, &other, body).await;
        assert_eq!((status, &problem["code"]), (404, &json!("webhook_not_found")), "{method} {rest}");
    }
    assert_eq!(send(&gateway, "DELETE", &paths[0], &shop, Value::Null).await.0, 204);
    create(&gateway, &shop, body).await;
    gateway.stop().await;
});

on_both!(a_secret_is_shown_once_and_signs, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_webhooks(Config::default())).await;
    let receiver = Receiver::answering(200).await;
    let (path, first) = create(&gateway, "", json!({"url": receiver.url})).await;
    assert!(first.parse::<Secret>().is_ok(), "{first}");
    let rotate = format!("{path}/rotate-secret");
    let (status, rotated) = send(&gateway, "POST", &rotate, "", json!({"overlapHours": 1})).await;
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert!(status == 200 && second != first, "{rotated}");
    let test = format!("{path}/test");
    let (_, attempt) = send(&gateway, "POST", &test, "", Value::Null).await;
    assert_eq!(attempt["succeeded"], true, "{attempt}");
    // Both sign during the overlap.
    let signatures = |headers: &HeaderMap| headers["webhook-signature"].to_str().unwrap().split(' ').count();
    assert_eq!(signatures(&receiver.received()[0].0), 2);
    let third = format!("whsec_{}", "B".repeat(44));
    let body = json!({"overlapHours": 0, "secret": third});
    let (_, rotated) = send(&gateway, "POST", &rotate, "", body).await;
    assert_eq!(rotated["secret"], third);
    for path in ["/webhooks", &path, &format!("{path}/attempts"), "/audit-log"] {
        let shown = send(&gateway, "GET", path, "", Value::Null).await.1.to_string();
        for secret in [&first, &second, &third] {
            assert!(!shown.contains(&secret[6..]), "{path}: {shown}");
        }
    }
    gateway.stop().await;
});

on_both!(messages_are_sent_at_once_and_recorded, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_webhooks(Config::default())).await;
    let receiver = Receiver::answering(503).await;
    let body = json!({"url": receiver.url, "types": ["order.redriven"]});
    let (path, _) = create(&gateway, "", body).await;
    // A disabled endpoint receives nothing but tests and resends.
    send(&gateway, "POST", &format!("{path}/disable"), "", Value::Null).await;
    let (status, failed) = send(&gateway, "POST", &format!("{path}/test"), "", Value::Null).await;
    assert_eq!(status, 200, "{failed}");
    let expected = json!({
        "type": "webhook.ping", "attempt": 1, "succeeded": false, "outcome": "throttled", "status": 503,
        "error": null, "response": "status 503",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&failed[field], value, "{field}: {failed}");
    }
    assert_eq!(failed.as_object().unwrap().len(), 11, "{failed}");
    let accepting = Receiver::answering(200).await;
    let (_, changed) = send(&gateway, "PATCH", &path, "", json!({"url": accepting.url})).await;
    assert_eq!(changed["url"], accepting.url);

    let order = gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})).await;
    let event = format!("{order}-1");
    let resend =
        async |id: &str| send(&gateway, "POST", &format!("{path}/resend"), "", json!({"eventId": id})).await;
    let (status, resent) = resend(&event).await;
    assert_eq!((status, &resent["messageId"]), (200, &json!(event)), "{resent}");
    let (headers, body) = accepting.received().pop().unwrap();
    assert_eq!(headers["webhook-id"], event);
    assert_eq!(body["type"], "order.created");
    for unknown in ["", "x", &format!("{order}-2"), &format!("{}-1", "01890a5d-ac96-774b-bcce-b302099a8057")]
    {
        let (status, problem) = resend(unknown).await;
        assert_eq!((status, &problem["code"]), (404, &json!("event_not_found")), "{unknown}: {problem}");
    }

    // Newest first, in pages, and by outcome.
    let attempts = async |query: &str| {
        send(&gateway, "GET", &format!("{path}/attempts{query}"), "", Value::Null).await.1
    };
    assert_eq!(attempts("").await, json!([resent, failed]));
    assert_eq!(attempts("?outcome=failed").await, json!([failed]));
    assert_eq!(attempts("?outcome=succeeded").await, json!([resent]));
    let before = resent["id"].as_str().unwrap();
    assert_eq!(attempts(&format!("?limit=1&before={before}")).await, json!([failed]));
    let response = gateway.client.get(gateway.url(&format!("{path}/attempts?outcome=failed&limit=1")));
    let link = response.send().await.unwrap().headers()["link"].to_str().unwrap().to_owned();
    assert!(link.contains("?outcome=failed&limit=1&before="), "{link}");
    gateway.stop().await;
});

on_both!(messages_that_fail_wait_and_a_recovery_sends_a_range_again, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_webhooks(Config::default())).await;
    let order = json!({"item": "Tea", "quantity": 1, "price": 1});
    let since = "2020-01-01T00:00:00Z";
    let ids = [gateway.create(order.clone()).await, gateway.create(order.clone()).await];
    let log = async || {
        let (_, page) = send(&gateway, "GET", "/events", "", Value::Null).await;
        (page["events"].as_array().unwrap().len() == 2).then(|| page["next"].clone())
    };
    let next = eventually("both events are numbered", log).await;

    let receiver = Receiver::answering(200).await;
    let (path, _) = create(&gateway, "", json!({"url": receiver.url, "types": ["order.created"]})).await;
    let recover = format!("{path}/recover");
    let (status, counted) =
        send(&gateway, "POST", &recover, "", json!({"since": since, "dryRun": true})).await;
    assert_eq!(
        (status, &counted["events"], &counted["isMore"]),
        (200, &json!(2), &json!(false)),
        "{counted}"
    );
    assert_eq!((&counted["to"], &counted["endpoint"]["recovery"]), (&next, &Value::Null), "{counted}");
    assert!(counted["logBegins"].is_null() && counted["from"].is_string(), "nothing was removed: {counted}");
    let (_, started) = send(&gateway, "POST", &recover, "", json!({"since": since})).await;
    let recovery = &started["endpoint"]["recovery"];
    assert_eq!((&recovery["done"], &recovery["total"]), (&json!(0), &json!(2)), "{started}");
    let delivered = async || {
        let received = receiver.received();
        let ids: HashSet<String> =
            received.iter().map(|(headers, _)| headers["webhook-id"].to_str().unwrap().to_owned()).collect();
        (ids.len() == 2).then_some(ids)
    };
    let delivered = eventually("the range is delivered", delivered).await;
    assert_eq!(delivered, ids.iter().map(|id| format!("{id}-1")).collect());
    let ended = async || {
        let (_, endpoint) = send(&gateway, "GET", &path, "", Value::Null).await;
        endpoint["recovery"].is_null().then_some(())
    };
    eventually("the recovery ends", ended).await;

    // A rejected message waits for another attempt, and nothing else does.
    let rejecting = Receiver::answering(400).await;
    let (path, _) = create(&gateway, "", json!({"url": rejecting.url})).await;
    let id = gateway.create(order).await;
    let waiting = async || {
        let (_, list) = send(&gateway, "GET", &format!("{path}/messages"), "", Value::Null).await;
        list.as_array().unwrap().first().cloned()
    };
    let message = eventually("the message waits", waiting).await;
    let expected = json!({"id": format!("{id}-1"), "orderId": id, "sequence": 1, "state": "waiting", "attempts": 1,
        "lastError": "the endpoint answered 400"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&message[field], value, "{field}: {message}");
    }
    assert_eq!(message.as_object().unwrap().len(), 8, "{message}");
    let (_, endpoint) = send(&gateway, "GET", &path, "", Value::Null).await;
    assert_eq!(endpoint["waitingMessages"], 1, "{endpoint}");
    let after = format!("{path}/messages?limit=1&after={id}-1");
    assert_eq!(send(&gateway, "GET", &after, "", Value::Null).await.1, json!([]));

    // A recovery is stopped, once or twice.
    send(&gateway, "POST", &format!("{path}/disable"), "", Value::Null).await;
    let (_, started) = send(&gateway, "POST", &format!("{path}/recover"), "", json!({"since": since})).await;
    assert!(started["endpoint"]["recovery"].is_object(), "{started}");
    for _ in 0..2 {
        let (status, stopped) = send(&gateway, "DELETE", &format!("{path}/recover"), "", Value::Null).await;
        assert_eq!((status, &stopped["recovery"]), (200, &Value::Null));
    }
    gateway.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn without_an_event_log_there_are_no_endpoints() {
    let backend = Backend::new(On::Embedded).await;
    let (url, _folder) = Backend::empty_database(On::Embedded).await;
    let store = Store::connect(&url, &Options { event_log: false, ..Options::default() }).await.unwrap();
    store.migrate().await.unwrap();
    let gateway = backend.gateway_with(store, with_webhooks(Config::default())).await;
    let (status, problem) =
        send(&gateway, "POST", "/webhooks", "", json!({"url": "http://127.0.0.1:1025"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("event_log_disabled")), "{problem}");
    gateway.stop().await;
}
