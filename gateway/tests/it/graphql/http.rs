//! HTTP responses to requests that are not valid POST requests.

use serde_json::{Value, json};

use super::config;
use crate::harness::{Backend, On};

const JSON: (&str, &str) = ("content-type", "application/json");
const NEW: (&str, &str) = ("accept", "application/graphql-response+json");

#[tokio::test(flavor = "multi_thread")]
async fn http_statuses_follow_the_specification() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let query = |text: &str| json!({"query": text}).to_string();
    let fragments: String =
        (0..25).map(|n| format!("fragment f{n} on Order {{ ...f{0} ...f{0} }} ", n + 1)).collect();
    let bomb = format!("{{ order(id: 1) {{ ...f0 }} }} {fragments} fragment f25 on Order {{ id }}");
    for (headers, body, status, code) in [
        (vec![JSON], query("{ __typename }"), 200, None),
        (vec![JSON, NEW], query("{ __typename }"), 200, None),
        // Rejected before execution: the status depends on the media type.
        (vec![JSON], query("{ nonsense }"), 200, Some("GRAPHQL_VALIDATION_FAILED")),
        (vec![JSON, NEW], query("{ nonsense }"), 400, Some("GRAPHQL_VALIDATION_FAILED")),
        (vec![JSON, NEW], query("{"), 400, Some("GRAPHQL_PARSE_FAILED")),
        (
            vec![JSON, NEW],
            query("query A { __typename } query B { __typename }"),
            400,
            Some("GRAPHQL_VALIDATION_FAILED"),
        ),
        (vec![JSON, NEW], query("query($id: ID!) { order(id: $id) { id } }"), 400, Some("invalid_input")),
        // Not a GraphQL request.
        (vec![JSON], "{".to_owned(), 400, Some("malformed_json")),
        (vec![JSON], "{}".to_owned(), 400, Some("invalid_input")),
        (vec![JSON], format!("[{}]", query("{ __typename }")), 400, Some("invalid_input")),
        (
            vec![JSON],
            json!({"query": "{ __typename }", "variables": "x"}).to_string(),
            400,
            Some("invalid_input"),
        ),
        // Content types of cross-site simple requests.
        (vec![("content-type", "text/plain")], query("{ __typename }"), 415, Some("unsupported_media_type")),
        (
            vec![("content-type", "application/x-www-form-urlencoded")],
            "query={__typename}".to_owned(),
            415,
            Some("unsupported_media_type"),
        ),
        (vec![], query("{ __typename }"), 415, Some("unsupported_media_type")),
        (vec![JSON, ("accept", "text/html")], query("{ __typename }"), 406, Some("not_acceptable")),
        (vec![JSON, NEW], query("subscription { orderEvents { __typename } }"), 406, Some("not_acceptable")),
        // Limits.
        (vec![JSON], query(&bomb), 400, Some("limit_exceeded")),
        (vec![JSON], query(&" ".repeat(17_000)), 413, Some("document_too_large")),
        (vec![JSON], query(&" ".repeat(300_000)), 413, Some("body_too_large")),
        (
            vec![JSON],
            query(&format!("{{ order(id: {}{}) {{ id }} }}", "[".repeat(8_000), "]".repeat(8_000))),
            400,
            Some("limit_exceeded"),
        ),
    ] {
        let shown = body.get(..80).unwrap_or(&body).to_owned();
        let (got, json) = gateway.graphql_raw(&headers, body).await;
        assert_eq!(got, status, "{shown}: {json}");
        assert_eq!(json["errors"][0]["extensions"]["code"].as_str(), code, "{shown}: {json}");
        assert_eq!(json.get("data").is_some(), code.is_none(), "{shown}: {json}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_request_runs_queries_and_no_mutations() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let get = async |pairs: &[(&str, &str)]| {
        let mut url = url::Url::parse(&gateway.url("/graphql")).unwrap();
        url.query_pairs_mut().extend_pairs(pairs);
        gateway.client.get(url).send().await.unwrap()
    };
    let response = get(&[
        ("query", "query A { a: __typename } query B { b: __typename }"),
        ("operationName", "B"),
        ("variables", ""),
    ])
    .await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    assert_eq!(response.text().await.unwrap(), r#"{"data":{"b":"Query"}}"#);

    let mutation = r#"mutation { createOrder(input: {item: "x", quantity: 1, price: 1}) { order { id } } }"#;
    let response = get(&[("query", mutation)]).await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
    let (_, orders) = gateway.graphql("{ orders { nodes { id } } }", Value::Null).await;
    assert_eq!(orders["data"]["orders"]["nodes"], json!([]));
    assert_eq!(get(&[]).await.status(), 400);
    gateway.stop().await;
}

/// The list of validation errors is limited.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_lists_at_most_ten_validation_errors() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let many: String = (0..19).map(|n| format!("nonsense{n} ")).collect();
    let (_, json) = gateway.graphql(&format!("{{ {many} }}"), Value::Null).await;
    assert_eq!(json["errors"].as_array().unwrap().len(), 10);
    gateway.stop().await;
}
