//! Times of any year in every input that has a time.

use gateway::Config;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway};
use crate::on_both;

/// Times outside the supported years; one of them is outside only when it is converted to UTC.
const OUTSIDE: [&str; 5] = [
    "9999-12-31T23:59:59-00:01",
    "9999-12-31T00:01:00-23:59",
    "0000-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999Z",
];
const LAST: &str = "9999-12-31T23:59:59.999999Z";
const RANGE: &str = "1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z";

async fn ask(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn get(gateway: &Gateway<'_>, path: &str) -> (StatusCode, Value) {
    ask(gateway.client.get(gateway.url(path))).await
}

async fn post(gateway: &Gateway<'_>, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = gateway.client.post(gateway.url(path)).header("content-type", "application/json");
    ask(request.body(body.to_string())).await
}

fn order(process_after: &str) -> Value {
    json!({"item": "x", "quantity": 1, "price": 1, "processAfter": process_after})
}

on_both!(an_unsupported_time_is_rejected_by_field_name_over_rest, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    for time in OUTSIDE {
        let query = time.replace('+', "%2B");
        for (path, name) in [
            (format!("/orders?createdFrom={query}"), "createdFrom"),
            (format!("/orders?createdBefore={query}"), "createdBefore"),
            (format!("/dead-letters?createdFrom={query}"), "createdFrom"),
        ] {
            let (status, problem) = get(&gateway, &path).await;
            assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_input")), "{path}");
            assert_eq!(problem["errors"][0]["parameter"], name, "{problem}");
            assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(RANGE), "{problem}");
        }
        for (path, body, code, pointer) in [
            ("/orders", order(time), (422, "invalid_order"), "/processAfter"),
            ("/orders/bulk", json!([order(LAST), order(time)]), (422, "invalid_order"), "/1/processAfter"),
            ("/queue/pause", json!({"until": time}), (400, "invalid_input"), "/until"),
            (
                "/dead-letters/redrive",
                json!({"filter": {"createdFrom": time}}),
                (400, "invalid_input"),
                "/filter/createdFrom",
            ),
            (
                "/dead-letters/redrive",
                json!({"filter": {}, "startAt": time}),
                (400, "invalid_input"),
                "/startAt",
            ),
        ] {
            let (status, problem) = post(&gateway, path, &body).await;
            assert_eq!((status.as_u16(), problem["code"].as_str().unwrap()), code, "{path} {problem}");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
            assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(RANGE), "{problem}");
        }
        let rows = json!([order(LAST), order(time), order("2026-01-31T12:00:00+01:00")]);
        let (status, answer) = post(&gateway, "/orders/bulk?errorPolicy=REJECT_FAILED_ROWS", &rows).await;
        assert_eq!(status.as_u16(), 207, "{answer}");
        let statuses: Vec<_> =
            answer["results"].as_array().unwrap().iter().map(|row| &row["status"]).collect();
        assert_eq!(statuses, ["created", "invalid", "created"]);
        assert_eq!(answer["results"][0]["order"]["processAfter"], LAST);
    }
    let (_, queue) = get(&gateway, "/queue").await;
    assert_eq!(queue["paused"], false);
    gateway.stop().await;
});

on_both!(the_maximum_time_is_accepted_everywhere, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let (status, created) = post(&gateway, "/orders", &order(LAST)).await;
    assert_eq!((status.as_u16(), &created["processAfter"]), (201, &json!(LAST)));
    let (status, orders) = get(&gateway, &format!("/orders?createdBefore={LAST}")).await;
    assert_eq!((status.as_u16(), orders.as_array().unwrap().len()), (200, 1));
    let body = json!({"filter": {"createdFrom": LAST}, "startAt": LAST, "ratePerSecond": 1});
    let (status, redriven) = post(&gateway, "/dead-letters/redrive", &body).await;
    assert_eq!((status.as_u16(), &redriven["nextStartAt"]), (200, &json!(LAST)), "{redriven}");
    let (status, queue) = post(&gateway, "/queue/pause", &json!({"until": LAST})).await;
    assert_eq!((status.as_u16(), &queue["pausedUntil"]), (200, &json!(LAST)), "{queue}");
    gateway.stop().await;
});

on_both!(an_unsupported_time_is_rejected_over_graphql, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    for time in OUTSIDE {
        for document in [
            "query($t: DateTime) { orders(filter: {createdFrom: $t}) { nodes { id } } }",
            "mutation($t: DateTime) { pauseQueue(input: {until: $t}) { userErrors { code } } }",
            "mutation($t: DateTime) { createOrder(input: {item: \"x\", quantity: 1, price: 1, processAfter: $t}) \
             { order { id } } }",
        ] {
            let (status, answer) = gateway.graphql(document, json!({"t": time})).await;
            assert!(status == 200 || status == 400, "{status} {answer}");
            assert_eq!(answer["errors"][0]["extensions"]["code"], "invalid_input", "{document} {answer}");
            assert!(answer["errors"][0]["message"].as_str().unwrap().contains(RANGE), "{answer}");
        }
    }
    assert!(
        backend
            .store
            .list(&domain::Principal::anonymous(), &domain::query::Filter::default(), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    gateway.stop().await;
});
