//! Webhook endpoints over GraphQL, on both pairs of back ends.

use std::collections::HashSet;

use domain::Limits;
use gateway::Config;
use serde_json::{Value, json};

use crate::access::with_keys;
use crate::harness::{Backend, Gateway, On, eventually};
use crate::on_both;
use crate::quotas::tenant;
use crate::webhooks::{Receiver, send, with_webhooks};

/// Every field of an endpoint.
const ENDPOINT: &str = "id tenant url description types customer currency payload format ratePerSecond concurrency \
    state disabledReason failingSince lastError nextProbeAt lagEvents lagSeconds waitingMessages failedMessages \
    recovery { startedAt done total } createdAt createdBy";
const ATTEMPT: &str = "id at messageId type attempt succeeded outcome status durationMs error response";

async fn run(gateway: &Gateway<'_>, key: &str, query: &str, variables: Value) -> Value {
    let body = json!({"query": query, "variables": variables});
    send(gateway, "POST", "/graphql", key, body).await.1
}

/// Runs a mutation with an input, and returns its payload.
async fn mutate(gateway: &Gateway<'_>, name: &str, fields: &str, input: Value) -> Value {
    let kind = match name {
        "createWebhookEndpoint" => "CreateWebhookEndpointInput",
        "updateWebhookEndpoint" => "UpdateWebhookEndpointInput",
        "rotateWebhookSecret" => "RotateWebhookSecretInput",
        "resendEvent" => "ResendEventInput",
        "recoverEvents" => "RecoverEventsInput",
        _ => "WebhookEndpointInput",
    };
    let query = format!(
        "mutation ($input: {kind}!) {{ {name}(input: $input) {{ {fields} userErrors {{ code message field }} }} }}"
    );
    let response = run(gateway, "", &query, json!({"input": input})).await;
    assert_eq!(response["errors"], Value::Null, "{name}: {response}");
    response["data"][name].clone()
}

/// Returns the endpoint as REST shows it, with the words of GraphQL.
async fn over_rest(gateway: &Gateway<'_>, id: &str) -> Value {
    let (_, mut endpoint) = send(gateway, "GET", &format!("/webhooks/{id}"), "", Value::Null).await;
    for word in ["payload", "format", "state"] {
        endpoint[word] = endpoint[word].as_str().unwrap().to_uppercase().into();
    }
    endpoint
}

on_both!(endpoints_are_managed_over_graphql, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_webhooks(Config::default())).await;
    let receiver = Receiver::answering(200).await;
    let endpoint = format!("webhookEndpoint {{ {ENDPOINT} }}");
    let new = json!({
        "url": receiver.url, "description": "shop", "types": ["order.redriven"], "customer": "ann", "currency": "EUR",
        "payload": "THIN", "format": "CLOUDEVENTS", "ratePerSecond": 5, "concurrency": 3,
    });
    let created = mutate(&gateway, "createWebhookEndpoint", &format!("secret {endpoint}"), new.clone()).await;
    let shown = &created["webhookEndpoint"];
    for (field, value) in new.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert!(created["secret"].as_str().unwrap().starts_with("whsec_"), "{created}");
    let id = shown["id"].as_str().unwrap();
    assert_eq!(over_rest(&gateway, id).await, *shown);

    let changes =
        json!({"id": id, "customer": null, "currency": null, "ratePerSecond": null, "payload": "FULL"});
    let changed =
        mutate(&gateway, "updateWebhookEndpoint", &endpoint, changes).await["webhookEndpoint"].clone();
    assert_eq!(
        [&changed["customer"], &changed["currency"], &changed["ratePerSecond"], &changed["payload"]],
        [&Value::Null, &Value::Null, &Value::Null, &json!("FULL")]
    );
    assert_eq!(changed["url"], receiver.url);
    let same = mutate(&gateway, "updateWebhookEndpoint", &endpoint, json!({"id": id})).await;
    assert_eq!(same["webhookEndpoint"], changed);
    let rotated =
        mutate(&gateway, "rotateWebhookSecret", "secret", json!({"id": id, "overlapHours": 0})).await;
    assert!(rotated["secret"] != created["secret"] && rotated["secret"].is_string(), "{rotated}");
    for (name, state) in [("disableWebhookEndpoint", "DISABLED"), ("enableWebhookEndpoint", "ACTIVE")] {
        let payload = mutate(&gateway, name, &endpoint, json!({"id": id})).await;
        assert_eq!(payload["webhookEndpoint"]["state"], state);
    }

    // Messages that are sent at once, and the list of attempts.
    let attempt = format!("attempt {{ {ATTEMPT} }}");
    let test = mutate(&gateway, "testWebhookEndpoint", &attempt, json!({"id": id})).await["attempt"].clone();
    assert_eq!((&test["type"], &test["status"]), (&json!("webhook.ping"), &json!(200)), "{test}");
    let order = gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})).await;
    let resend = json!({"id": id, "eventId": format!("{order}-1")});
    let resent = mutate(&gateway, "resendEvent", &attempt, resend).await["attempt"].clone();
    assert_eq!(resent["messageId"], format!("{order}-1"));
    let query = format!(
        "query ($id: ID!, $after: String, $outcome: WebhookOutcome) {{ webhookEndpoint(id: $id) {{ \
         attempts(first: 1, after: $after, outcome: $outcome) {{ nodes {{ {ATTEMPT} }} pageInfo {{ hasNextPage endCursor }} }} \
         messages {{ nodes {{ id orderId sequence state attempts nextAttemptAt createdAt lastError }} }} }} }}"
    );
    let first = run(&gateway, "", &query, json!({"id": id})).await["data"]["webhookEndpoint"].clone();
    assert_eq!(first["attempts"]["nodes"], json!([resent]), "{first}");
    let after = first["attempts"]["pageInfo"]["endCursor"].clone();
    let second = run(&gateway, "", &query, json!({"id": id, "after": after, "outcome": "SUCCEEDED"})).await;
    let second = second["data"]["webhookEndpoint"].clone();
    assert_eq!((&second["attempts"]["nodes"], &second["messages"]["nodes"]), (&json!([test]), &json!([])));
    assert_eq!(second["attempts"]["pageInfo"]["hasNextPage"], false);
    let failed = run(&gateway, "", &query, json!({"id": id, "outcome": "FAILED"})).await;
    assert_eq!(failed["data"]["webhookEndpoint"]["attempts"]["nodes"], json!([]), "{failed}");

    // A recovery, which a disabled endpoint keeps until it is stopped.
    let logged = async || {
        let (_, page) = send(&gateway, "GET", "/events", "", Value::Null).await;
        (page["events"].as_array().unwrap().len() == 1).then_some(())
    };
    eventually("the event is numbered", logged).await;
    mutate(&gateway, "disableWebhookEndpoint", "", json!({"id": id})).await;
    mutate(&gateway, "updateWebhookEndpoint", "", json!({"id": id, "types": ["order.*"]})).await;
    let fields = format!("events isMore from to logBegins {endpoint}");
    let since = "2020-01-01T00:00:00Z";
    let dry = json!({"id": id, "since": since, "dryRun": true});
    let counted = mutate(&gateway, "recoverEvents", &fields, dry).await;
    assert_eq!((&counted["events"], &counted["webhookEndpoint"]["recovery"]), (&json!(1), &Value::Null));
    let started = mutate(&gateway, "recoverEvents", &fields, json!({"id": id, "since": since})).await;
    assert_eq!(started["webhookEndpoint"]["recovery"]["total"], 1, "{started}");
    let stopped = mutate(&gateway, "stopRecovery", &endpoint, json!({"id": id})).await;
    assert_eq!(stopped["webhookEndpoint"]["recovery"], Value::Null);

    let list = "{ webhookEndpoints(first: 1) { nodes { id } pageInfo { hasNextPage } } }";
    let listed = run(&gateway, "", list, Value::Null).await;
    assert_eq!(
        listed["data"]["webhookEndpoints"],
        json!({"nodes": [{"id": id}], "pageInfo": {"hasNextPage": false}})
    );
    let removed = mutate(&gateway, "deleteWebhookEndpoint", "id", json!({"id": id})).await;
    assert_eq!(removed["id"], id);
    let gone = run(&gateway, "", &query, json!({"id": id})).await;
    assert_eq!(gone, json!({"data": {"webhookEndpoint": null}}));
    gateway.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_input_are_user_errors() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(with_webhooks(with_keys())).await;
    let [shop, _] = tenant(&backend, "shop", Limits::default()).await;
    let [other, _] = tenant(&backend, "other", Limits::default()).await;
    let query = "mutation ($input: CreateWebhookEndpointInput!) { createWebhookEndpoint(input: $input) { \
                 webhookEndpoint { id } userErrors { code field } } }";
    let wrong = json!({"input": {
        "url": "http://10.0.0.1/", "description": "x".repeat(201), "types": ["order.paid"], "customer": " ",
        "currency": "dollars", "ratePerSecond": 10_001, "concurrency": 0, "secret": "change-me",
    }});
    let response = run(&gateway, &shop, query, wrong.clone()).await;
    let payload = &response["data"]["createWebhookEndpoint"];
    let errors = payload["userErrors"].as_array().unwrap();
    let fields: HashSet<&str> = errors.iter().map(|error| error["field"][1].as_str().unwrap()).collect();
    let given: HashSet<&str> = wrong["input"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((fields, &payload["webhookEndpoint"]), (given, &Value::Null), "{response}");
    let of_url = errors.iter().find(|error| error["field"] == json!(["input", "url"])).unwrap();
    assert_eq!(of_url["code"], "webhook_url_refused");

    let created = run(&gateway, &shop, query, json!({"input": {"url": "http://127.0.0.1:1025"}})).await;
    let id = created["data"]["createWebhookEndpoint"]["webhookEndpoint"]["id"].as_str().unwrap().to_owned();
    for (mutation, code, field) in [
        (r#"rotateWebhookSecret(input: {id: "ID", overlapHours: 721})"#, "invalid_input", "overlapHours"),
        (r#"rotateWebhookSecret(input: {id: "ID", secret: "x"})"#, "invalid_input", "secret"),
        (r#"resendEvent(input: {id: "ID", eventId: "x"})"#, "event_not_found", "eventId"),
        (r#"recoverEvents(input: {id: "ID", since: "9999-01-01T00:00:00Z"})"#, "invalid_input", "since"),
        (r#"updateWebhookEndpoint(input: {id: "ID", url: "http://10.0.0.1"})"#, "webhook_url_refused", "url"),
        (r#"testWebhookEndpoint(input: {id: "x"})"#, "webhook_not_found", "id"),
        (
            r#"deleteWebhookEndpoint(input: {id: "01890a5d-ac96-774b-bcce-b302099a8057"})"#,
            "webhook_not_found",
            "id",
        ),
    ] {
        let name = mutation.split('(').next().unwrap();
        let query =
            format!("mutation {{ {} {{ userErrors {{ code field }} }} }}", mutation.replace("ID", &id));
        let response = run(&gateway, &shop, &query, Value::Null).await;
        let expected = json!([{"code": code, "field": ["input", field]}]);
        assert_eq!(response["data"][name]["userErrors"], expected, "{response}");
        // Another tenant learns nothing about the endpoint.
        let hidden = run(&gateway, &other, &query, Value::Null).await;
        assert!(!hidden.to_string().contains("http://127.0.0.1"), "{hidden}");
    }
    let query =
        format!(r#"{{ webhookEndpoint(id: "{id}") {{ id }} webhookEndpoints {{ nodes {{ id }} }} }}"#);
    let hidden = run(&gateway, &other, &query, Value::Null).await;
    assert_eq!(hidden["data"], json!({"webhookEndpoint": null, "webhookEndpoints": {"nodes": []}}));
    let test =
        format!(r#"mutation {{ testWebhookEndpoint(input: {{id: "{id}"}}) {{ userErrors {{ code }} }} }}"#);
    let hidden = run(&gateway, &other, &test, Value::Null).await;
    assert_eq!(hidden["data"]["testWebhookEndpoint"]["userErrors"], json!([{"code": "webhook_not_found"}]));
    gateway.stop().await;

    // An error that no input avoids is an error of the operation.
    let gateway = backend.gateway(Config::default()).await;
    let query = r#"mutation { createWebhookEndpoint(input: {url: "https://shop.example.com"}) { secret } }"#;
    let response = run(&gateway, "", query, Value::Null).await;
    assert_eq!(response["errors"][0]["extensions"]["code"], "secret_key_missing", "{response}");
    gateway.stop().await;
}
