//! A REST client.

use serde_json::{Value, json};

use super::{eventually, install_tls_provider, watch};

/// A client for one gateway.
#[derive(Clone)]
pub(crate) struct Api {
    /// `http://host:port`.
    pub(crate) base: String,
    client: reqwest::Client,
}

impl Api {
    pub(crate) fn new(base: String) -> Self {
        install_tls_provider();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        Self { base, client }
    }

    /// Creates a client that trusts only this certificate authority.
    pub(crate) fn with_authority(base: String, pem: &str) -> Self {
        Self { base, client: https_client(pem, true) }
    }

    /// Creates a client that trusts only this certificate authority, or uses no TLS, and sends a key.
    pub(crate) fn with_key(base: String, authority: Option<&str>, key: &str) -> Self {
        install_tls_provider();
        let client = reqwest::Client::builder().no_proxy();
        let client = match authority {
            Some(pem) => {
                let pem = reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate");
                client.tls_certs_only([pem])
            }
            None => client,
        };
        let value = format!("Bearer {key}").parse().expect("a header value");
        let headers = [(reqwest::header::AUTHORIZATION, value)].into_iter().collect();
        Self { base, client: client.default_headers(headers).build().expect("a client can be built") }
    }

    /// `host:port`, for raw sockets.
    pub(crate) fn addr(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Creates an order; `None` without a 201.
    pub(crate) async fn try_create(&self) -> Option<Value> {
        let order = json!({"item": "Laptop", "quantity": 2, "price": 1299.99});
        let response = self.client.post(format!("{}/orders", self.base)).json(&order).send().await.ok()?;
        if response.status() != 201 {
            return None;
        }
        response.json().await.ok()
    }

    /// Creates an order and returns it.
    pub(crate) async fn create(&self) -> Value {
        self.try_create().await.expect("the gateway responds with 201")
    }

    /// Creates an order and returns its id.
    pub(crate) async fn create_id(&self) -> String {
        id(&self.create().await)
    }

    /// Waits until the gateway is ready.
    pub(crate) async fn wait_until_ready(&self) {
        eventually("the gateway to be ready", || async {
            (self.try_get("/readyz").await? == 200).then_some(())
        })
        .await;
    }

    /// Returns the status of the response; `None` without one.
    pub(crate) async fn try_get(&self, path: &str) -> Option<u16> {
        Some(self.client.get(format!("{}{path}", self.base)).send().await.ok()?.status().as_u16())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.client.get(format!("{}{path}", self.base)).send().await;
        let response = response.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.client.post(format!("{}{path}", self.base)).json(body).send().await;
        let response = response.unwrap_or_else(|error| panic!("POST {path}: {error}"));
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    /// Reads an order.
    pub(crate) async fn order(&self, id: &str) -> Value {
        let (status, order) = self.get(&format!("/orders/{id}")).await;
        assert_eq!(status, 200, "{order}");
        order
    }

    /// Waits until the order has the status.
    pub(crate) async fn wait_for_status(&self, id: &str, status: &str) -> Value {
        eventually(&format!("order {id} to be {status}"), || async {
            let order = self.order(id).await;
            (order["status"] == status).then_some(order)
        })
        .await
    }

    /// Returns all events of an order as `(sequence, status)`, until the stream completes.
    pub(crate) async fn watch(&self, id: &str) -> Vec<(i64, String)> {
        watch::order_status(&self.base, id).await
    }
}

/// Returns a client that trusts only this certificate authority. Without reuse each request opens a connection.
pub(crate) fn https_client(authority: &str, reuse: bool) -> reqwest::Client {
    install_tls_provider();
    let authority = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).tls_info(true);
    let client = if reuse { client } else { client.pool_max_idle_per_host(0) };
    client.build().expect("a client can be built")
}

/// Returns the id of an order.
pub(crate) fn id(order: &Value) -> String {
    order["id"].as_str().expect("an order has an id").to_owned()
}
