//! The options of the program's sockets, read from the kernel.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures_util::SinkExt;
use rustix::net::{getpeername, getsockname, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use url::Url;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Process, Servers, command, eventually, start_gateway};

/// One connected TCP socket of a process.
struct Socket {
    ports: [u16; 2],
    nodelay: bool,
}

/// Returns all connected TCP sockets of a process.
fn connected_sockets(process: &Process) -> Vec<Socket> {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process id");
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("the process runs");
    let files = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).expect("the process runs");
    let mut found = Vec::new();
    for file in files {
        let number = file.expect("an open file").file_name().to_str().and_then(|name| name.parse().ok());
        // The file can have been closed meanwhile.
        let Ok(file) = pidfd_getfd(&process, number.expect("a number"), PidfdGetfdFlags::empty()) else {
            continue;
        };
        let Ok(nodelay) = sockopt::tcp_nodelay(&file) else { continue };
        // A listening or closed socket has no peer.
        let Ok(peer) = getpeername(&file) else { continue };
        let own = getsockname(&file).expect("a connected socket has an address");
        let ports = [own, peer.expect("TCP has addresses")]
            .map(|address| SocketAddr::try_from(address).expect("an internet address").port());
        found.push(Socket { ports, nodelay });
    }
    found
}

fn port(url: &str) -> u16 {
    Url::parse(url).ok().and_then(|url| url.port()).expect("a URL with a port")
}

/// Sends a request and keeps the connection open.
async fn send_request(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("the request is sent");
    let mut response = [0; 12];
    stream.read_exact(&mut response).await.expect("a response");
    assert_eq!(&response, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn tcp_sockets_have_nodelay() {
    let receiver = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(204)).mount(&receiver).await;
    let (servers, folder) = (Servers::new().await, tempfile::tempdir().expect("a temporary folder"));
    let (gateway, api, grpc) = start_gateway(&folder, &servers, 1).await;
    let gateway_url = format!("http://{grpc}");
    let variables = [
        ("REDIS_URL", servers.redis_url.as_str()),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
        ("ORDERS_GATEWAY_URL", &gateway_url),
        ("ORDERS_WEBHOOK_URL", &receiver.uri()),
    ];
    let arguments =
        ["processor", "--metrics-addr", "127.0.0.1:0", "--handler", "webhook", "--log-format", "json"];
    let mut processor = Process::start(command(folder.path(), &arguments, &variables), "processor");
    let metrics = processor
        .wait_for_log("its health address", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["metrics"].as_str().map(str::to_owned)
        })
        .await;

    let id = api.create_id().await;
    api.wait_for_status(&id, "completed").await;
    let (http, health) = (port(&api.base), port(&format!("http://{metrics}")));
    let _requests = [send_request(http).await, send_request(health).await];
    let mut request =
        format!("{}/graphql", api.base.replacen("http", "ws", 1)).into_client_request().expect("a URL");
    let protocol = "graphql-transport-ws".parse().expect("a header value");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let (mut websocket, _) = tokio_tungstenite::connect_async(request).await.expect("a websocket");
    websocket.send(Message::text(r#"{"type":"connection_init"}"#)).await.expect("the message is sent");

    let (mysql, redis) = (port(&servers.database_url), port(&servers.redis_url));
    for (process, ports) in [
        (&gateway, vec![http, port(&gateway_url), mysql, redis]),
        (&processor, vec![health, port(&gateway_url), port(&receiver.uri())]),
    ] {
        // A new connection can be seen before its option is set.
        eventually("every socket to have the option", || async {
            let sockets = connected_sockets(process);
            let seen: BTreeSet<u16> = sockets.iter().flat_map(|socket| socket.ports).collect();
            let delayed: Vec<_> =
                sockets.iter().filter(|socket| !socket.nodelay).map(|socket| socket.ports).collect();
            let missing: Vec<_> = ports.iter().filter(|port| !seen.contains(port)).collect();
            if !delayed.is_empty() || !missing.is_empty() {
                eprintln!("without the option: {delayed:?}; not connected: {missing:?}");
            }
            (delayed.is_empty() && missing.is_empty()).then_some(())
        })
        .await;
    }
}
