//! REST: every operation, with mutated paths, query strings, headers and bodies.

use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::mutate::Random;
use crate::run::{Run, check_response, in_time};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Returns the method, the path with its query, and the body of each operation.
fn operations() -> Vec<(Method, String, Value)> {
    let order = json!({"item": "Laptop", "quantity": 2, "price": 1299.99});
    let full = json!({
        "lineItems": [{"item": "Laptop", "quantity": 1, "price": "1299.99"}, {"item": "Mouse", "quantity": 2, "price": 19.5}],
        "currency": "EUR", "customer": "ann@example.com", "externalReference": "WEB-1001", "maxAttempts": 3,
        "priority": "high", "processAfter": "2026-01-31T12:00:00Z"
    });
    let get = |path: &str| (Method::GET, path.to_owned(), Value::Null);
    let post = |path: &str, body: &Value| (Method::POST, path.to_owned(), body.clone());
    let command = json!({"reason": "x", "requestedBy": "ann"});
    let redrive = json!({
        "filter": {"errorClass": "http_503", "totalFrom": 1.5, "createdFrom": "2026-01-31T12:00:00Z", "itemContains": "x"},
        "dryRun": true, "ratePerSecond": 50, "limit": 7, "after": ID, "startAt": "2026-01-31T12:00:00Z", "reason": "x"
    });
    vec![
        post("/orders", &order),
        post("/orders", &full),
        post("/orders/bulk", &json!([order, full])),
        post("/orders/bulk?errorPolicy=REJECT_FAILED_ROWS", &json!([order, full, order])),
        get(
            "/orders?limit=3&status=pending,failed&sort=-total&currency=EUR&totalFrom=1&totalTo=9&after=djI6&before=x",
        ),
        get(
            "/orders?customer=ann&externalReference=W&errorClass=x&itemContains=lap&createdFrom=2026-01-31T12:00:00Z",
        ),
        get("/dead-letters?limit=10&createdBefore=2026-01-31T12:00:00%2B01:00"),
        get(&format!("/orders/{ID}?waitForSequence=2&timeout=0")),
        get(&format!("/orders/{ID}/events?after=1&lastEventId=2&timeout=0")),
        post(&format!("/orders/{ID}/cancel"), &command),
        post(&format!("/orders/{ID}/redrive"), &command),
        post("/dead-letters/redrive", &redrive),
        post("/queue/pause", &json!({"until": "2026-01-31T12:00:00Z", "requestedBy": "ann"})),
        post("/queue/resume", &Value::Null),
        get("/queue"),
        get("/readyz?verbose"),
        get("/track/x"),
        get("/problems"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn rest() {
    let run = Run::start("rest").await;
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let operations = operations();
    run.repeat(async |mut random: Random| {
        let (method, path, body) = random.pick(&operations).clone();
        let path = if random.once_in(2) { random.mutated_string(&path) } else { path };
        let Ok(url) = Url::parse(&format!("{}{}", run.url, path.replace(['#', '\\'], "/"))) else { return };
        // A mutated path must not change the host.
        if !url.as_str().starts_with(&format!("{}/", run.url)) {
            return;
        }
        let mut body = serde_json::to_vec(&random.json(&body)).expect("JSON can be serialized");
        if random.once_in(4) {
            body = random.bytes(&body);
        }
        let kinds = [
            "application/json",
            "application/json",
            "application/json",
            "application/x-ndjson",
            "text/plain",
        ];
        let mut request = client.request(method, url.clone()).header("content-type", *random.pick(&kinds));
        for name in
            ["idempotency-key", "last-event-id", "x-request-id", "x-forwarded-for", "accept", "origin"]
        {
            if random.once_in(6)
                && let Ok(value) = reqwest::header::HeaderValue::from_bytes(random.string().as_bytes())
            {
                request = request.header(name, value);
            }
        }
        let sent = (url.as_str().to_owned(), String::from_utf8_lossy(&body).into_owned());
        let answered = async {
            let response = request.body(body).send().await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        // The connection of a request that is rejected while it is sent can be closed.
        if let Ok((status, body)) = in_time(&sent, answered).await {
            check_response(status, &body, &sent);
        }
    })
    .await;
}
