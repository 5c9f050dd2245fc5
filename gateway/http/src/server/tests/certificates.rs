//! Ports with a certificate, with real clients of TLS.

use std::net::IpAddr;
use std::path::Path;

use axum::Extension;
use tempfile::TempDir;
use test_certificates::{Authority, Leaf};
use tls::{ALPN_GRPC, ALPN_HTTP, ClientFiles, ClientTls, ServerFiles};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::*;

const GET_PEER: &str = "GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A port with a certificate, and its files.
struct Port {
    folder: TempDir,
    authority: Authority,
    certificate: Arc<ServerTls>,
    server: Running,
}

impl Port {
    async fn start(limits: Config, client_ca: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("ca");
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, authority.pem()).unwrap();
        let (certificate, key) = authority.issue(&Leaf::server()).write(folder.path(), "port");
        let files = ServerFiles { certificate, key, client_ca: client_ca.then_some(ca) };
        let certificate = Arc::new(ServerTls::load("http", files, ALPN_HTTP).unwrap());
        let identity = |identity: Option<Extension<ClientIdentity>>| async move {
            identity.map(|Extension(identity)| identity.name().to_owned()).unwrap_or_default()
        };
        let routes =
            Router::new().route("/identity", get(identity)).route("/silent", get(std::future::pending::<()>));
        let limits = Config { strict_transport_security: true, ..limits };
        let server = start_on(limits, Duration::ZERO, routes, Some(certificate.clone())).await;
        Self { folder, authority, certificate, server }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A client that trusts the authority, with this certificate.
    fn client(&self, leaf: Option<&Leaf>) -> ClientTls {
        let pair = leaf.map(|leaf| self.authority.issue(leaf).write(self.path(), "client"));
        let files = ClientFiles { ca: Some(self.path().join("ca.crt")), certificate_and_key: pair };
        ClientTls::load("gateway_client", files, &[]).unwrap()
    }

    async fn connect(&self, client: &ClientTls) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.server.connect().await;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(client.config()).connect(name, stream).await
    }

    /// Everything the server answers until it closes.
    async fn say(&self, client: &ClientTls, request: &str) -> io::Result<String> {
        let mut stream = self.connect(client).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

#[tokio::test]
async fn https_is_served_over_both_versions_of_http() {
    let port = Port::start(limits(), false).await;
    let client = port.client(None);
    let answer = port.say(&client, GET_PEER).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("127.0.0.1:"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=31536000"), "{answer}");
    let files = ClientFiles { ca: Some(port.path().join("ca.crt")), certificate_and_key: None };
    let client = ClientTls::load("gateway_client", files, ALPN_GRPC).unwrap();
    let stream = port.connect(&client).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/peer").body(()).unwrap();
    assert_eq!(sender.send_request(request, true).unwrap().0.await.unwrap().status(), 200);
}

#[tokio::test]
async fn http_without_tls_gets_a_hint() {
    let port = Port::start(limits(), false).await;
    let answer = port.server.say(GET_PEER).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("use https:// instead"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let stream = TokioIo::new(port.server.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://localhost/peer").body(Body::empty()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 400);
    // What is neither is closed.
    assert!(!port.server.say("\0\0\0\0").await.contains("200"));
}

#[tokio::test]
async fn handshakes_that_never_end_are_given_up() {
    let port = Port::start(short(), false).await;
    for start in ["", "\x16", "\x16\x03\x01\x02\x00\x01"] {
        assert_eq!(port.server.say(start).await, "", "{start:?}");
    }
    assert!(port.say(&port.client(None), GET_PEER).await.unwrap().starts_with("HTTP/1.1 200"));
}

/// Unfinished handshakes of one address do not delay another address, even when they are more than may be in progress.
#[tokio::test]
async fn unfinished_handshakes_of_one_address_delay_no_other_address() {
    let port = Port::start(limits(), false).await;
    let mut held = Vec::new();
    for _ in 0..2 * handshake_limits::MAX_HANDSHAKES_PER_ADDRESS {
        let mut stream = port.server.connect().await;
        stream.write_all(b"\x16\x03\x01").await.unwrap();
        held.push(stream);
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from([127, 0, 0, 2]), 0).into()).unwrap();
    let stream = socket.connect(port.server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(port.client(None).config());
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(GET_PEER.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("127.0.0.2:"), "{answer}");
}

#[tokio::test]
async fn connections_of_one_address_are_limited_with_a_response() {
    let port = Port::start(Config { max_connections_per_address: Some(1), ..limits() }, false).await;
    let client = port.client(None);
    let _held = port.connect(&client).await.unwrap();
    let answer = port.say(&client, GET_PEER).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("too_many_connections"), "{answer}");
    let answer = port.server.say(GET_PEER).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn handlers_know_the_client_of_a_certificate() {
    let port = Port::start(limits(), true).await;
    let request = "GET /identity HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let leaf = Leaf::client("worker").uri("spiffe://example/worker/7");
    let answer = port.say(&port.client(Some(&leaf)), request).await.unwrap();
    assert!(answer.ends_with("spiffe://example/worker/7"), "{answer}");
    let expired = leaf.clone().valid_until("2020-01-01T00:00:00Z");
    for (refused, why) in [
        (port.client(None), "no certificate"),
        (port.client(Some(&expired)), "expired"),
        (port.client(Some(&Leaf::server())), "a certificate of a server"),
        (port.client(Some(&Leaf::client(""))), "no name"),
    ] {
        assert!(port.say(&refused, request).await.is_err(), "{why}");
    }
    let other = Authority::new("other");
    let pair = other.issue(&Leaf::client("worker")).write(port.path(), "other");
    let files = ClientFiles { ca: Some(port.path().join("ca.crt")), certificate_and_key: Some(pair) };
    let foreign = ClientTls::load("gateway_client", files, &[]).unwrap();
    assert!(port.say(&foreign, request).await.is_err(), "another authority");
}

#[tokio::test]
async fn open_connections_stay_and_new_ones_get_the_new_certificate() {
    let port = Port::start(limits(), false).await;
    let client = port.client(None);
    let mut open = port.connect(&client).await.unwrap();
    let presented = |stream: &TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().map(|chain| chain[0].as_ref().to_vec()).unwrap()
    };
    let first = presented(&open);
    let renewed = port.authority.issue(&Leaf::server());
    renewed.write(port.path(), "port");
    port.certificate.reload();
    assert_eq!(presented(&port.connect(&client).await.unwrap()), renewed.der());
    assert_ne!(first, renewed.der());
    open.write_all(GET_PEER.as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_client() {
    let port = Port::start(limits(), true).await;
    let mut stream = port.connect(&port.client(Some(&Leaf::client("worker").valid_for(5)))).await.unwrap();
    // The request has no response, so the connection is not idle.
    stream.write_all(b"GET /silent HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
    // The end has no close message of TLS.
    assert!(closed.is_ok() && answer.is_empty(), "{closed:?}");
    let valid = port.connect(&port.client(Some(&Leaf::client("worker")))).await;
    assert!(valid.is_ok(), "the port accepts other certificates");
}
