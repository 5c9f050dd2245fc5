//! The size of REST responses: a page ends early, a bulk create omits orders, the number of errors is limited.

use gateway::Config;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway};
use crate::on_both;
use crate::rest::{link, value};

const LIMIT: usize = 256 * 1024;

fn config() -> Config {
    let mut config = Config::default();
    config.http.max_response_size = LIMIT;
    config
}

/// An order near the maximum size. Its JSON is longer, because each quotation mark is escaped.
fn large(reference: usize) -> Value {
    let line = json!({"item": "\"".repeat(200), "quantity": 1, "price": 1});
    json!({"lineItems": vec![line; 150], "externalReference": format!("{reference}")})
}

/// The references of the orders on a page, and the page itself.
async fn page(gateway: &Gateway<'_>, path: &str) -> (Vec<usize>, reqwest::Response) {
    let response = gateway.get(path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let head = http::Response::builder().status(200);
    let head = response.headers().iter().fold(head, |head, (name, value)| head.header(name, value));
    let text = response.text().await.unwrap();
    assert!(text.len() <= LIMIT, "{path}: {}", text.len());
    let orders: Vec<Value> = serde_json::from_str(&text).unwrap();
    let reference = |order: &Value| order["externalReference"].as_str().unwrap().parse().unwrap();
    (orders.iter().map(reference).collect(), head.body("").unwrap().into())
}

on_both!(a_page_of_large_orders_ends_early_and_skips_none, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(config()).await;
    for reference in 0..20 {
        gateway.create(large(reference)).await;
    }
    for (query, expected) in [
        ("limit=1000", (0..20).rev().collect::<Vec<usize>>()),
        ("limit=1000&sort=createdAt", (0..20).collect()),
        ("limit=1000&itemContains=%22", (0..20).rev().collect()),
        ("limit=1000&status=pending", (0..20).rev().collect()),
    ] {
        let (mut seen, mut next) = (Vec::new(), Some(format!("/orders?{query}")));
        let mut last = String::new();
        while let Some(path) = next {
            let (orders, response) = page(&gateway, &path).await;
            assert!((1..=5).contains(&orders.len()), "{path}: {orders:?}");
            seen.extend(orders);
            next = link(&response, "next");
            last = link(&response, "prev").unwrap_or_default();
        }
        assert_eq!(seen, expected, "{query}");
        // Backwards: each page has the orders next to those of the page before.
        let mut back = Vec::new();
        let mut previous = Some(last);
        while let Some(path) = previous {
            let (orders, response) = page(&gateway, &path).await;
            back.splice(0..0, orders);
            previous = link(&response, "prev");
        }
        assert_eq!(back, expected[..back.len()], "{query}");
        assert!(back.len() >= 15, "{query}: {back:?}");
    }
    gateway.stop().await;
});

on_both!(a_bulk_create_omits_orders_beyond_the_response_limit, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(config()).await;
    let rows: Vec<Value> = (0..20).map(large).collect();
    let response = gateway.post("/orders/bulk", json!(rows).to_string()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let text = response.text().await.unwrap();
    assert!(text.len() <= LIMIT, "{}", text.len());
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["created"], 20);
    let results = answer["results"].as_array().unwrap();
    assert!(results[0]["order"].is_object() && results[19].get("order").is_none());
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["status"], "created");
        let id = result["orderId"].as_str().unwrap();
        let stored = value(gateway.get(&format!("/orders/{id}")).await).await;
        assert_eq!(stored["externalReference"], n.to_string());
    }
    gateway.stop().await;
});

on_both!(a_response_lists_100_errors, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let lines = |line: Value| json!({"lineItems": vec![line; 200]});
    for (path, body, status) in [
        ("/orders", lines(json!({})), 422),
        ("/orders", lines(json!(1)), 400),
        ("/orders/bulk", json!(vec![lines(json!({})); 300]), 422),
        ("/orders/bulk", json!(vec![lines(json!(1)); 300]), 422),
    ] {
        let response = gateway.post(path, body.to_string()).await;
        assert_eq!(response.status(), status, "{path}");
        let text = response.text().await.unwrap();
        assert!(text.len() < 100 * 1024, "{path}: {}", text.len());
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["errors"].as_array().unwrap().len(), 100, "{path}");
        let rows = problem["results"].as_array().cloned().unwrap_or_default();
        let errors = rows.iter().filter_map(|row| row["errors"].as_array()).map(Vec::len).sum::<usize>();
        assert_eq!((rows.len(), errors), if rows.is_empty() { (0, 0) } else { (300, 100) }, "{path}");
        assert!(rows.iter().all(|row| row["status"] == "invalid"), "{path}");
    }
    // The same with other rows.
    let mut rows = vec![lines(json!({})); 200];
    rows.push(json!({"item": "x", "quantity": 1, "price": 1}));
    let response = gateway.post("/orders/bulk?errorPolicy=REJECT_FAILED_ROWS", json!(rows).to_string()).await;
    assert_eq!(response.status(), StatusCode::MULTI_STATUS);
    let answer = value(response).await;
    let rows = answer["results"].as_array().unwrap();
    assert_eq!(rows.iter().filter_map(|row| row["errors"].as_array()).map(Vec::len).sum::<usize>(), 100);
    assert_eq!((&rows[199]["status"], &rows[200]["status"]), (&json!("invalid"), &json!("created")));
    gateway.stop().await;
});

on_both!(the_strings_of_an_order_are_limited_to_64_kib, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let order = |item: String| {
        let line = json!({"item": item, "quantity": 1, "price": 1});
        json!({"lineItems": vec![line; 200]})
    };
    assert_eq!(gateway.post("/orders", order("x".repeat(200)).to_string()).await.status(), 201);
    let large = order("😀".repeat(200));
    let refused = value(gateway.post("/orders", large.to_string()).await).await;
    assert_eq!(
        (&refused["code"], &refused["errors"][0]["pointer"]),
        (&json!("invalid_order"), &json!("/lineItems"))
    );
    let refused = value(gateway.post("/orders/bulk", json!([large]).to_string()).await).await;
    assert_eq!(refused["results"][0]["errors"][0]["pointer"], "/lineItems");
    let create = "mutation($input: CreateOrderInput!) { createOrder(input: $input) { order { id } userErrors { code field } } }";
    let (_, json) = gateway.graphql(create, json!({"input": order("😀".repeat(199))})).await;
    assert_eq!(
        json["data"]["createOrder"]["userErrors"][0]["field"],
        json!(["input", "lineItems"]),
        "{json}"
    );
    gateway.stop().await;
});
