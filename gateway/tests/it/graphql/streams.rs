//! Server-sent events.

use serde_json::{Value, json};

use super::config;
use crate::harness::{Backend, On, quick};

/// `id`, `event` and `data` of each event of a finished stream.
fn events(text: &str) -> Vec<(Option<&str>, &str, Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    blocks
        .map(|block| {
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let data = field("data").unwrap();
            let data = if data.is_empty() { Value::Null } else { serde_json::from_str(data).unwrap() };
            (field("id"), field("event").unwrap(), data)
        })
        .collect()
}

fn watch(id: &str) -> String {
    format!("subscription {{ orderStatus(orderId: \"{id}\", after: 0) {{ status }} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_sends_every_change_and_can_be_resumed() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let id = gateway.create_over_graphql().await;
    let response = gateway
        .client
        .post(gateway.url("/graphql"))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .body(json!({"query": watch(&id)}).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    gateway.complete(&id).await;
    let text = response.text().await.unwrap();
    assert!(text.starts_with(":\n\n"), "{text}");
    let seen = events(&text);
    let status = |status: &str| json!({"data": {"orderStatus": {"status": status}}});
    let expected = [
        (Some("1"), "next", status("PENDING")),
        (Some("2"), "next", status("PROCESSING")),
        (Some("3"), "next", status("COMPLETED")),
        (None, "complete", Value::Null),
    ];
    assert_eq!(seen, expected);

    // A browser that reconnects sends GET with the id of its last event.
    let mut url = url::Url::parse(&gateway.url("/graphql")).unwrap();
    url.query_pairs_mut().append_pair("query", &watch(&id));
    let request = gateway.client.get(url).header("accept", "text/event-stream").header("last-event-id", "2");
    let text = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(events(&text), expected[2..]);

    // Replacements of `EventSource` send a parameter. The header has precedence.
    for (parameter, header, rest) in
        [("2", None, &expected[2..]), ("1", Some("2"), &expected[2..]), ("", None, &expected[..])]
    {
        let mut url = url::Url::parse(&gateway.url("/graphql")).unwrap();
        url.query_pairs_mut().append_pair("query", &watch(&id)).append_pair("lastEventId", parameter);
        let request = gateway.client.get(url).header("accept", "text/event-stream");
        let request = header.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        let text = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(events(&text), rest, "{parameter} {header:?}");
    }
    let mut url = url::Url::parse(&gateway.url("/graphql")).unwrap();
    url.query_pairs_mut().append_pair("query", &watch(&id)).append_pair("lastEventId", "two");
    let refused = gateway.client.get(url).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(refused.status(), 400);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_operation_is_an_error_in_the_stream() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    for (document, code) in [
        ("{ nonsense }", Some("GRAPHQL_VALIDATION_FAILED")),
        ("{", Some("GRAPHQL_PARSE_FAILED")),
        (&watch("01890a5d-ac96-774b-bcce-b302099a8057"), Some("order_not_found")),
        ("{ __typename }", None),
    ] {
        let response = gateway
            .client
            .post(gateway.url("/graphql"))
            .header("content-type", "application/json")
            .header("accept", "text/event-stream")
            .body(json!({"query": document}).to_string());
        let text = response.send().await.unwrap().text().await.unwrap();
        let seen = events(&text);
        assert_eq!(seen.len(), 2, "{text}");
        assert_eq!(seen[0].2["errors"][0]["extensions"]["code"].as_str(), code, "{text}");
        assert_eq!(seen[1].1, "complete");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_an_event_stream_so_that_the_client_resumes() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_over_graphql().await;
    let mut response = gateway
        .client
        .post(gateway.url("/graphql"))
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .body(json!({"query": watch(&id)}).to_string())
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    futures_util::future::join(read, gateway.stop()).await;
    assert_eq!(events(&text).iter().filter(|event| event.1 == "complete").count(), 0, "{text}");
}
