//! The requests of a load, and how their responses count.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

/// The requests of a load and the address that they are sent to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    /// Complete requests, head and body. They are sent in rotation.
    pub(crate) requests: Rc<[Vec<u8>]>,
    /// The number of requests that were sent.
    pub(crate) sent: Rc<Cell<usize>>,
    /// The status of a response that counts as accepted.
    pub(crate) accepted_status: u16,
    /// The string that marks a rejection in a response with that status.
    pub(crate) rejection_mark: Option<&'static str>,
    /// Whether responses return the id of the order.
    pub(crate) returns_ids: bool,
}

/// The body of every create.
pub(crate) const ORDER: &str = r#"{"item":"Laptop","quantity":2,"price":1299.99}"#;

impl Target {
    /// Creates orders over REST.
    pub(crate) fn create(addr: SocketAddr) -> Self {
        Self::post(addr, "/orders", ORDER)
    }

    /// Creates the same orders over GraphQL.
    pub(crate) fn create_by_graphql(addr: SocketAddr) -> Self {
        let query =
            "mutation($input: CreateOrderInput!) { createOrder(input: $input) { order { id status } } }";
        // Money is a string in GraphQL.
        let input = serde_json::json!({"item": "Laptop", "quantity": 2, "price": "1299.99"});
        let body = serde_json::json!({"query": query, "variables": {"input": input}});
        let rejection_mark = Some("\"errors\":");
        Self { accepted_status: 200, rejection_mark, ..Self::post(addr, "/graphql", &body.to_string()) }
    }

    /// Starts orders on Restate, each with a separate key; `orders` is the maximum number of requests.
    pub(crate) fn create_on_restate(addr: SocketAddr, orders: usize) -> Self {
        let request = |key| post_request(addr, &format!("/order/{key}/process/send"), ORDER);
        Self { accepted_status: 202, ..Self::new(addr, (0..orders).map(request).collect()) }
    }

    /// Adds an API key to each request.
    pub(crate) fn with_key(self, key: Option<&str>) -> Self {
        let Some(key) = key else { return self };
        let with_key = |request: &Vec<u8>| {
            // The first line ends before the headers.
            let (line, rest) =
                request.split_at(request.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1));
            [line, format!("Authorization: Bearer {key}\r\n").as_bytes(), rest].concat()
        };
        Self { requests: self.requests.iter().map(with_key).collect(), ..self }
    }

    /// Reads one path.
    pub(crate) fn get(addr: SocketAddr, path: &str) -> Self {
        Self::get_each(addr, &[path.to_owned()])
    }

    /// Reads the paths in rotation.
    pub(crate) fn get_each(addr: SocketAddr, paths: &[String]) -> Self {
        let request = |path| format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").into_bytes();
        Self { accepted_status: 200, ..Self::new(addr, paths.iter().map(request).collect()) }
    }

    /// Sends `POST path` with a JSON body; a 201 counts as accepted.
    pub(crate) fn post(addr: SocketAddr, path: &str, json: &str) -> Self {
        Self::new(addr, [post_request(addr, path, json)].into())
    }

    fn new(addr: SocketAddr, requests: Rc<[Vec<u8>]>) -> Self {
        Self {
            addr,
            requests,
            sent: Rc::default(),
            accepted_status: 201,
            rejection_mark: None,
            returns_ids: false,
        }
    }
}

fn post_request(addr: SocketAddr, path: &str, json: &str) -> Vec<u8> {
    let length = json.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
    )
    .into_bytes()
}

/// One response.
pub(super) struct Response<'a> {
    pub(super) accepted: bool,
    /// The code of a problem, or the status.
    pub(super) kind: &'a str,
    /// The id of the order, if [`Target::returns_ids`].
    pub(super) id: Option<&'a str>,
}

impl<'a> Response<'a> {
    /// Creates the result of a request without a response.
    pub(super) fn missing(kind: &'a str) -> Self {
        Self { accepted: false, kind, id: None }
    }
}
