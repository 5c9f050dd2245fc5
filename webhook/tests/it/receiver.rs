//! A receiver on a TCP port, and requests to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use webhook::{AllowedNetworks, Client, EndpointUrl, Outcome, Request, Secret, header::HeaderMap};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
pub(crate) const BODY: &[u8] = br#"{"type":"order.created"}"#;

/// The networks of these tests' receivers.
pub(crate) fn loopback() -> AllowedNetworks {
    "127.0.0.0/8".parse().unwrap()
}

pub(crate) fn client(allowed: &str) -> Client {
    Client::new(allowed.parse().unwrap(), "orders-test/1").unwrap()
}

/// Posts with a client that may reach the loopback network.
pub(crate) async fn post(url: &str) -> Outcome {
    send(&client("127.0.0.0/8"), url, &[], TIMEOUT).await
}

pub(crate) async fn send(client: &Client, url: &str, secrets: &[Secret], timeout: Duration) -> Outcome {
    let url = EndpointUrl::of_operator(url).unwrap();
    let request = Request {
        url: &url,
        id: "order-1",
        timestamp_secs: std::time::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        secrets,
        content_type: "application/json",
        headers: HeaderMap::new(),
        body: BODY.into(),
        timeout,
    };
    client.post(request).await
}

/// Counts the connections of a port, and answers each with the same bytes.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    /// Answers with `answer`, and leaves the connection open if `stalls`.
    pub(crate) async fn start(address: &str, answer: &'static [u8], stalls: bool) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counter = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    read_request(&mut stream).await;
                    // The client may have closed the connection.
                    let _ = stream.write_all(answer).await;
                    if stalls {
                        let _ = stream.read(&mut [0]).await;
                    }
                });
            }
        });
        Self { address, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?key=hidden", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads until the body of the tests is complete, or the start of a TLS handshake, which is not answered.
pub(crate) async fn read_request(stream: &mut TcpStream) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !request.ends_with(BODY) && request.first() != Some(&0x16) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
}
