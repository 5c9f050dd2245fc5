//! Lists of orders over REST and GraphQL: pages, filters, sorts, and their cost.

mod cursors;
mod exact;
mod pages;
mod prefixes;
mod search;
mod statements;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::Gateway;
use crate::rest::value;

const LIST: &str = "query($first: Int, $after: String, $last: Int, $before: String, $filter: OrderFilter, $sort: OrderSort) {
    orders(first: $first, after: $after, last: $last, before: $before, filter: $filter, sort: $sort) {
        edges { cursor node { id } } nodes { id }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

impl Gateway<'_> {
    /// A page over GraphQL.
    async fn connection(&self, variables: Value) -> Value {
        let (status, json) = self.graphql(LIST, variables.clone()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(json["errors"], Value::Null, "{variables}");
        let page = &json["data"]["orders"];
        let nodes: Vec<Value> =
            page["edges"].as_array().unwrap().iter().map(|edge| edge["node"].clone()).collect();
        assert_eq!(page["nodes"], json!(nodes));
        page.clone()
    }

    /// The error message of a page that GraphQL rejects.
    async fn refused_connection(&self, variables: Value) -> String {
        let (_, json) = self.graphql(LIST, variables.clone()).await;
        let error = &json["errors"][0];
        assert_eq!(error["extensions"]["code"], "invalid_input", "{variables} {json}");
        error["message"].as_str().unwrap().to_owned()
    }

    /// The ids of a page over REST.
    async fn listed(&self, path: &str) -> Vec<String> {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        ids(&value(response).await)
    }

    /// Creates orders in one request and returns their ids.
    async fn create_all(&self, orders: &[Value]) -> Vec<String> {
        let answer = value(self.post("/orders/bulk", json!(orders).to_string()).await).await;
        let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
        results.iter().map(|row| row["order"]["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The ids of a list of objects.
fn ids(orders: &Value) -> Vec<String> {
    orders.as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect()
}
