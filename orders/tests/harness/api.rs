//! REST as a client uses it.

use serde_json::{Value, json};

use super::{eventually, watch};

/// One gateway.
#[derive(Clone)]
pub(crate) struct Api {
    /// `http://host:port`.
    pub(crate) base: String,
    client: reqwest::Client,
}

impl Api {
    pub(crate) fn new(base: String) -> Self {
        // The client's TLS wants one; plain HTTP never uses it. A second install changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        Self { base, client }
    }

    /// `host:port`, for raw sockets.
    pub(crate) fn addr(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Creates an order; `None` when the gateway did not say that it has it.
    pub(crate) async fn try_create(&self) -> Option<Value> {
        let order = json!({"item": "Laptop", "quantity": 2, "price": 1299.99});
        let answer = self.client.post(format!("{}/orders", self.base)).json(&order).send().await.ok()?;
        if answer.status() != 201 {
            return None;
        }
        answer.json().await.ok()
    }

    /// Creates an order and returns it as the gateway showed it.
    pub(crate) async fn create(&self) -> Value {
        self.try_create().await.expect("the gateway answers 201")
    }

    /// Creates an order and returns its id.
    pub(crate) async fn create_id(&self) -> String {
        id(&self.create().await)
    }

    /// Waits until it takes requests.
    pub(crate) async fn is_ready(&self) {
        eventually("the gateway to be ready", || async {
            (self.try_get("/readyz").await? == 200).then_some(())
        })
        .await;
    }

    /// The status of the answer; `None` when there is none.
    pub(crate) async fn try_get(&self, path: &str) -> Option<u16> {
        Some(self.client.get(format!("{}{path}", self.base)).send().await.ok()?.status().as_u16())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.client.post(format!("{}{path}", self.base)).json(body).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("POST {path}: {error}"));
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// The order as it is now.
    pub(crate) async fn order(&self, id: &str) -> Value {
        let (status, order) = self.get(&format!("/orders/{id}")).await;
        assert_eq!(status, 200, "{order}");
        order
    }

    /// Waits until the order has the status.
    pub(crate) async fn reaches(&self, id: &str, status: &str) -> Value {
        eventually(&format!("order {id} to be {status}"), || async {
            let order = self.order(id).await;
            (order["status"] == status).then_some(order)
        })
        .await
    }

    /// Every event of an order from its first, as `(sequence, status)`, up to the end of the stream.
    pub(crate) async fn watch(&self, id: &str) -> Vec<(i64, String)> {
        watch::order_status(&self.base, id).await
    }
}

/// The id of an order.
pub(crate) fn id(order: &Value) -> String {
    order["id"].as_str().expect("an order has an id").to_owned()
}
