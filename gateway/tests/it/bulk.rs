//! Bulk creates over REST and GraphQL.

use gateway::Config;
use gateway::store::{CreateRequest, Idempotency, InsertOutcome, NewOrder, bulk_hash, request_hash};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, check_invariants};
use crate::on_both;

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

async fn post(gateway: &Gateway<'_>, query: &str, kind: &str, key: Option<&str>, body: String) -> Response {
    let mut request = gateway.client.post(gateway.url(&format!("/orders/bulk{query}")));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.header("content-type", kind).body(body).send().await.unwrap()
}

async fn json_of(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn good(item: &str) -> Value {
    json!({"item": item, "quantity": 1, "price": 1.5})
}

async fn stored(backend: &Backend) -> usize {
    backend
        .store
        .list(&domain::Principal::anonymous(), &domain::query::Filter::default(), None, 10_000)
        .await
        .unwrap()
        .len()
}

on_both!(a_bulk_of_1000_orders_keeps_its_order, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let rows: Vec<Value> = (0..1_000).map(|n| good(&format!("item {n}"))).collect();
    let (status, answer) = json_of(post(&gateway, "", JSON, None, json!(rows).to_string()).await).await;
    assert_eq!(
        (status, &answer["created"], &answer["failed"]),
        (StatusCode::CREATED, &json!(1_000), &json!(0))
    );
    for (n, result) in answer["results"].as_array().unwrap().iter().enumerate() {
        let order = &result["order"];
        assert_eq!((&result["index"], &result["status"]), (&json!(n), &json!("created")));
        assert_eq!((&order["item"], &order["status"]), (&json!(format!("item {n}")), &json!("pending")));
    }
    assert_eq!(stored(&backend).await, 1_000);
    gateway.stop().await;
});

on_both!(one_invalid_row_fails_all_or_only_itself, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let lines = format!(
        "{}\n\n{{\"item\":\"x\",\"quantity\":0,\"price\":1}}\r\n{{\"sku\":1}}\nnonsense\n[]\n{}\n",
        good("first"),
        good("last")
    );
    let (status, problem) = json_of(post(&gateway, "", NDJSON, None, lines.clone()).await).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_order")));
    let statuses = |answer: &Value| -> Vec<String> {
        let results = answer["results"].as_array().unwrap().iter();
        results.map(|result| result["status"].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["not_created", "invalid", "invalid", "invalid", "invalid", "not_created"];
    assert_eq!(statuses(&problem), expected);
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/1/quantity", "/2/sku", "/3", "/4"]);
    assert_eq!(stored(&backend).await, 0);

    let query = "?errorPolicy=REJECT_FAILED_ROWS";
    let (status, answer) = json_of(post(&gateway, query, NDJSON, None, lines).await).await;
    assert_eq!(status, StatusCode::MULTI_STATUS);
    assert_eq!((&answer["created"], &answer["failed"]), (&json!(2), &json!(4)));
    let expected = ["created", "invalid", "invalid", "invalid", "invalid", "created"];
    assert_eq!(statuses(&answer), expected);
    assert_eq!(answer["results"][1]["errors"][0]["pointer"], "/quantity");
    assert_eq!(answer["results"][5]["order"]["item"], "last");
    assert_eq!(stored(&backend).await, 2);

    let (status, problem) = json_of(post(&gateway, query, JSON, None, "[{}]".into()).await).await;
    assert_eq!((status, problem["results"].as_array().unwrap().len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    gateway.stop().await;
});

on_both!(a_bulk_is_idempotent_as_a_whole, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let query = "?errorPolicy=REJECT_FAILED_ROWS";
    let rows = json!([good("a"), {"item": "b"}, good("c")]).to_string();
    let first = post(&gateway, query, JSON, Some("bulk-1"), rows.clone()).await;
    assert_eq!(
        (first.status(), first.headers().get("idempotent-replayed")),
        (StatusCode::MULTI_STATUS, None)
    );
    let first = first.text().await.unwrap();
    let answer: Value = serde_json::from_str(&first).unwrap();
    let id = answer["results"][2]["order"]["id"].as_str().unwrap();
    gateway.report(id, "processing", "").await.unwrap();
    gateway.report(id, "completed", "").await.unwrap();

    let again = post(&gateway, query, JSON, Some("bulk-1"), rows.clone()).await;
    assert_eq!(
        (again.status(), &again.headers()["idempotent-replayed"]),
        (StatusCode::MULTI_STATUS, &"true".parse().unwrap())
    );
    assert_eq!(again.text().await.unwrap(), first, "byte for byte");

    // Another row, another sequence of rows, another invalid row, another policy: another request.
    let others = [
        (query, json!([good("a"), {"item": "b"}, good("d")])),
        (query, json!([good("c"), {"item": "b"}, good("a")])),
        (query, json!([good("a"), {"item": "x"}, good("c")])),
        (query, json!([good("a"), 7, good("c")])),
        ("", json!([good("a"), good("c")])),
    ];
    for (query, rows) in others {
        let (status, problem) =
            json_of(post(&gateway, query, JSON, Some("bulk-1"), rows.to_string()).await).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_key_reused"))
        );
    }
    // A single order with that key is another request as well.
    let single = gateway
        .client
        .post(gateway.url("/orders"))
        .header("idempotency-key", "bulk-1")
        .header("content-type", JSON)
        .body(good("a").to_string());
    assert_eq!(json_of(single.send().await.unwrap()).await.1["code"], "idempotency_key_reused");
    assert_eq!(stored(&backend).await, 2);
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(concurrent_bulks_with_one_key_create_one, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let rows = json!((0..20).map(|n| good(&n.to_string())).collect::<Vec<_>>()).to_string();
    let posts =
        (0..20).map(|_| async { json_of(post(&gateway, "", JSON, Some("same"), rows.clone()).await).await });
    let answers = futures_util::future::join_all(posts).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "all are answered alike");
    assert_eq!((answers[0].0, stored(&backend).await), (StatusCode::CREATED, 20));
    gateway.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_bulk_body_is_rejected() {
    let backend = Backend::new(crate::harness::On::Embedded).await;
    let gateway = backend.gateway(Config::default()).await;
    let many = json!(vec![good("x"); 1_001]).to_string();
    let lines = vec![good("x").to_string(); 1_001].join("\n");
    for (query, kind, body, code, status) in [
        ("", JSON, "[]", "invalid_row_count", 422),
        ("", NDJSON, "\n\n", "invalid_row_count", 422),
        ("", JSON, many.as_str(), "invalid_row_count", 422),
        ("", NDJSON, &lines, "invalid_row_count", 422),
        ("", JSON, "{}", "invalid_input", 400),
        ("", JSON, "[", "malformed_json", 400),
        ("", "text/csv", "a,b", "unsupported_media_type", 415),
        ("?errorPolicy=IGNORE", JSON, "[]", "invalid_input", 400),
        ("?policy=x", JSON, "[]", "invalid_input", 400),
    ] {
        let (got, problem) = json_of(post(&gateway, query, kind, None, body.to_owned()).await).await;
        assert_eq!((got.as_u16(), &problem["code"]), (status, &json!(code)), "{query} {kind}");
    }
    let large = format!("[\"{}\"]", "x".repeat(4 * 1024 * 1024));
    let (status, problem) = json_of(post(&gateway, "", JSON, None, large).await).await;
    assert_eq!((status.as_u16(), &problem["code"]), (413, &json!("body_too_large")));
    gateway.stop().await;
}

on_both!(graphql_creates_orders_in_bulk, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let create = "mutation($orders: [CreateOrderInput!]!, $policy: ErrorPolicy, $key: String) {
        createOrders(input: {orders: $orders, errorPolicy: $policy}, idempotencyKey: $key) {
            results { order { id lineItems { item } } userErrors { code field } } idempotentReplay userErrors { code field }
        } }";
    let bad = json!({"item": "b", "quantity": 0, "price": "1"});
    let orders =
        json!([{"item": "a", "quantity": 1, "price": "1"}, bad, {"item": "c", "quantity": 1, "price": "1"}]);
    let (_, json) = gateway.graphql(create, json!({"orders": orders})).await;
    let results = &json["data"]["createOrders"]["results"];
    assert_eq!(results[0], json!({"order": null, "userErrors": []}), "{json}");
    let field = json!(["input", "orders", "1", "quantity"]);
    assert_eq!(results[1]["userErrors"], json!([{"code": "invalid_order", "field": field}]));
    assert_eq!(stored(&backend).await, 0);

    let some = json!({"orders": orders, "policy": "REJECT_FAILED_ROWS", "key": "k"});
    let (_, first) = gateway.graphql(create, some.clone()).await;
    let payload = &first["data"]["createOrders"];
    assert_eq!(payload["results"][2]["order"]["lineItems"][0]["item"], "c", "{first}");
    assert_eq!(payload["idempotentReplay"], false);
    let (_, again) = gateway.graphql(create, some).await;
    assert_eq!(again["data"]["createOrders"]["results"], payload["results"]);
    assert_eq!(again["data"]["createOrders"]["idempotentReplay"], true);
    assert_eq!(stored(&backend).await, 2);

    let (_, json) = gateway.graphql(create, json!({"orders": []})).await;
    let errors = &json["data"]["createOrders"]["userErrors"];
    assert_eq!(errors, &json!([{"code": "invalid_row_count", "field": ["input", "orders"]}]));
    gateway.stop().await;
});

on_both!(the_ids_of_a_bulk_are_unpredictable, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let rows: Vec<Value> = (0..200).map(|n| good(&format!("item {n}"))).collect();
    let create = r#"mutation($orders: [CreateOrderInput!]!) {
        createOrders(input: {orders: $orders}, idempotencyKey: "graphql") { results { order { id } } } }"#;
    let (_, over_graphql) = gateway.graphql(create, json!({"orders": rows[..100]})).await;
    let over_graphql = over_graphql["data"]["createOrders"]["results"].clone();
    for key in [None, Some("rest")] {
        let (status, answer) = json_of(post(&gateway, "", JSON, key, json!(rows).to_string()).await).await;
        assert_eq!(status, StatusCode::CREATED);
        for results in [&answer["results"], &over_graphql] {
            let ids: Vec<domain::OrderId> = results
                .as_array()
                .unwrap()
                .iter()
                .map(|result| result["order"]["id"].as_str().unwrap().parse().unwrap())
                .collect();
            assert!(ids.is_sorted(), "lists show the rows in their order");
            let number = |id: &domain::OrderId| u128::from_be_bytes(*id.as_bytes());
            let random = |id: &domain::OrderId| number(id) << 66 >> 66;
            let mut differences: Vec<u128> =
                ids.windows(2).map(|pair| random(&pair[1]).wrapping_sub(random(&pair[0]))).collect();
            differences.sort_unstable();
            assert!(differences.windows(2).all(|pair| pair[0] != pair[1]));
            for neighbour in [number(&ids[0]) + 1, number(&ids[50]) - 1, number(&ids[50]) + 1] {
                let neighbour = domain::OrderId::from_bytes(neighbour.to_be_bytes());
                let response =
                    gateway.client.get(gateway.url(&format!("/orders/{neighbour}"))).send().await.unwrap();
                assert_eq!(response.status(), StatusCode::NOT_FOUND);
            }
        }
    }
    gateway.stop().await;
});

on_both!(a_bulk_key_of_an_earlier_version_is_recognised, |on| async move {
    let backend = Backend::new(on).await;
    let rows = json!([good("first"), good("second"), good("third")]);
    // Its ids were consecutive, and its key stores the first of them.
    let now = backend.store.now();
    let contents: Vec<_> = ["first", "second", "third"]
        .map(|item| {
            let (item, price) = (Some(item.to_owned()), Some("1.5".to_owned()));
            let draft = domain::Draft { item, quantity: Some(1), price, ..domain::Draft::default() };
            draft.check(domain::Currency::USD).unwrap()
        })
        .into();
    let hashes: Vec<_> = contents.iter().map(request_hash).collect();
    let request_hash = bulk_hash(false, &hashes);
    let expires_at = now + std::time::Duration::from_secs(3_600);
    let idempotency = Idempotency { key: "old".parse().unwrap(), request_hash, expires_at };
    let ids = domain::OrderId::new(now).consecutive(3);
    let orders = ids
        .iter()
        .zip(contents)
        .map(|(id, content)| NewOrder::new(*id, domain::TenantId::default(), content, now));
    let creation = CreateRequest { orders: orders.collect(), idempotency: Some(idempotency) };
    assert_eq!(backend.store.insert([creation].into()).await.unwrap(), [InsertOutcome::Inserted]);

    let gateway = backend.gateway(Config::default()).await;
    let response = post(&gateway, "", JSON, Some("old"), rows.to_string()).await;
    assert_eq!(response.headers()["idempotent-replayed"], "true");
    let (status, answer) = json_of(response).await;
    assert_eq!(status, StatusCode::CREATED);
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(answer["results"][n]["order"]["id"], id.to_string());
    }
    assert_eq!(stored(&backend).await, 3);
    gateway.stop().await;
});
