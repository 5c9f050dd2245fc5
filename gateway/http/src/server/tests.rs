//! Tests of the accept loop with raw sockets.

use axum::response::IntoResponse;
use axum::routing::get;
use http::HeaderMap;
use http::header::ACCEPT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::Config;
use crate::{fallback, middleware, problem};

mod certificates;

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(limits: Config, grace: Duration, routes: Router) -> Running {
    start_on(limits, grace, routes, None).await
}

async fn start_on(
    limits: Config,
    grace: Duration,
    routes: Router,
    certificate: Option<Arc<ServerTls>>,
) -> Running {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let routes = routes
        .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("oh")
                }
            }),
        )
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed);
    let routes = middleware::around(routes, &limits);
    let token = shutdown.clone();
    let connections = Connections::new(&limits);
    let listener = Listener::new(listener, certificate);
    let task = tokio::spawn(serve(listener, routes, Port::HTTP, connections, token, grace));
    Running { address, shutdown, task }
}

/// Time for which a test waits for an event that must not happen.
const LOOK: Duration = Duration::from_millis(300);

fn limits() -> Config {
    crate::Config::default()
}

fn short() -> Config {
    Config { request_read_timeout: Duration::from_millis(200), ..limits() }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends the bytes, and returns all that the server sends until it closes the connection.
    async fn say(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        until_closed(&mut stream).await
    }
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await;
    // A reset is a close as well.
    let _ = read.expect("the server closes the connection");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn handlers_know_the_peer_and_responses_have_the_security_headers_once() {
    let named = get(|| async { [("x-content-type-options", "nosniff"), ("x-request-id", "another")] });
    let server = start(limits(), Duration::ZERO, Router::new().route("/named", named)).await;
    let answer =
        server.say("GET /peer HTTP/1.1\r\nhost: x\r\nx-request-id: r1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("127.0.0.1:"));
    for header in ["x-request-id: r1", "x-content-type-options: nosniff", "x-frame-options: DENY"] {
        assert!(answer.contains(header), "{header} is missing in {answer}");
    }
    let answer = server.say("GET /named HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    for header in ["x-request-id: ", "x-content-type-options: ", "x-frame-options: "] {
        assert_eq!(answer.matches(header).count(), 1, "{header} in {answer}");
    }
}

#[tokio::test]
async fn errors_of_the_server_itself_are_problems_too() {
    let server = start(limits(), Duration::ZERO, Router::new()).await;
    for (line, status, code) in [
        ("GET /nothing", "404", "not_found"),
        ("DELETE /peer", "405", "method_not_allowed"),
        ("GET /panic", "500", "internal_error"),
    ] {
        let answer = server.say(&format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains(problem::MEDIA_TYPE), "{answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
        assert_eq!(answer.contains("allow: GET,HEAD"), status == "405", "{answer}");
    }
}

#[tokio::test]
async fn connection_with_an_incomplete_head_is_closed() {
    let server = start(short(), Duration::ZERO, Router::new()).await;
    // No byte, one byte, a part of the preface of HTTP/2, an incomplete head.
    for start in ["", "G", "PRI * HT", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let answer = server.say(start).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{start:?}: {answer}");
    }
}

#[tokio::test]
async fn invalid_heads_are_rejected_with_a_problem() {
    let server = start(limits(), Duration::ZERO, Router::new()).await;
    let many = |count| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let get = |headers: &str| format!("GET /peer HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let long = |length| format!("x: {}\r\n", "y".repeat(length));
    for (request, status, code) in [
        // Requests that the middleware rejects.
        (get(&long(limits().max_head_size)), "431", "head_too_large"),
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(limits().max_target_size)),
            "414",
            "uri_too_long",
        ),
        // Requests that hyper itself rejects.
        (get(&long(READ_BYTES)), "431", "head_too_large"),
        (get(&long(4 * READ_BYTES)), "431", "head_too_large"),
        (get(&many(101)), "431", "head_too_large"),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(70_000)), "414", "uri_too_long"),
        ("nonsense\r\n\r\n".to_owned(), "400", "malformed_request"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400", "malformed_request"),
        ("GET / HTTP/1.1\r\nhost : x\r\n\r\n".to_owned(), "400", "malformed_request"),
        ("GET /a b HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "400", "malformed_request"),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n".to_owned(), "400", "malformed_request"),
    ] {
        let close = request.replacen("host: x\r\n", "host: x\r\nconnection: close\r\n", 1);
        let answer = server.say(&close).await;
        let shown = request.get(..60).unwrap_or(&request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        assert!(answer.contains(problem::MEDIA_TYPE), "{shown:?}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{shown:?}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_receives_the_rejection() {
    let server = start(limits(), Duration::ZERO, Router::new()).await;
    let length = 2_000_000;
    let head = |line: &str| format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    for (line, status) in [("POST /nothing", "404"), ("POST /peer", "405")] {
        let answer = server.say(&(head(line) + &"x".repeat(length))).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
    }
}

#[tokio::test]
async fn connections_of_one_address_are_limited_with_a_response() {
    let server =
        start(Config { max_connections_per_address: Some(2), ..limits() }, Duration::ZERO, Router::new())
            .await;
    let held = [server.connect().await, server.connect().await];
    let request =
        "POST /peer HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n".to_owned() + &"x".repeat(100_000);
    let answer = server.say(&request).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("too_many_connections") && answer.contains("retry-after: 5"), "{answer}");
    let stream = TokioIo::new(server.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/peer", server.address)).body(Body::empty()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 429);
    drop((held, sender));
    // The permits are released as soon as the server has seen the connections end.
    loop {
        let answer = server.say("GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        if answer.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn trusted_proxies_are_exempt_from_the_connection_limit_of_an_address() {
    let limits = Config {
        max_connections_per_address: Some(1),
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..limits()
    };
    let server = start(limits, Duration::ZERO, Router::new()).await;
    let _held = [server.connect().await, server.connect().await];
    let answer = server.say("GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Returns a route whose response exceeds the buffers of any socket.
fn endless() -> Router {
    let chunk = || Ok::<_, Infallible>(bytes::Bytes::from_static(&[b'x'; 64 * 1024]));
    let body = move || async move { Body::from_stream(futures_util::stream::repeat_with(chunk)) };
    Router::new().route("/endless", get(body))
}

#[tokio::test]
async fn clients_that_do_not_read_are_disconnected() {
    let server =
        start(Config { write_timeout: Duration::from_millis(300), ..limits() }, Duration::ZERO, endless())
            .await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Writing fails when the server has closed the connection. The client reads nothing before.
    let gone = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the server closes the connection");

    // Over HTTP/2, the connection stays active while one stream is stalled.
    let stream = server.connect().await;
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = || Request::get(format!("http://{}/endless", server.address)).body(()).unwrap();
    let (answer, _) = sender.send_request(request(), true).unwrap();
    let _untouched = answer.await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), connection).await;
    let _ = ended.expect("the server closes the connection").unwrap();
    assert!(
        server
            .say("GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_too_slowly_are_disconnected() {
    // The client reads at 50 KB/s.
    let limits = Config { slow_client_grace: Duration::from_millis(300), min_read_rate: 4 << 20, ..limits() };
    let server = start(limits, Duration::ZERO, endless()).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // The client can still read the kernel's buffers after the server has closed the connection.
    let closed = async {
        while stream.write_all(b"x").await.is_ok() {
            let mut space = [0; 1024];
            let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut space)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.expect("the server closes the connection");

    // Over HTTP/2, the client opens the window of the stream in small steps.
    let (mut sender, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/endless", server.address)).body(()).unwrap();
    let mut body = sender.send_request(request, true).unwrap().0.await.unwrap().into_body();
    let sipping = async {
        while body.flow_control().release_capacity(1_024).is_ok() || !connection.is_finished() {
            let _ = tokio::time::timeout(Duration::from_millis(20), body.data()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            if connection.is_finished() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), sipping).await.expect("the server closes the connection");
}

#[tokio::test]
async fn connection_with_an_incomplete_frame_is_closed() {
    let server = start(short(), Duration::ZERO, Router::new()).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // An incomplete frame header, an incomplete payload, a header block without its last frame.
    for unfinished in [&[0, 0][..], &[0, 0, 9, 1, 4, 0, 0, 0, 1, 7, 7], &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]] {
        let mut stream = server.connect().await;
        stream.write_all(socket::PREFACE).await.unwrap();
        stream.write_all(&settings).await.unwrap();
        stream.write_all(unfinished).await.unwrap();
        let mut bytes = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
        assert!(closed.is_ok(), "{unfinished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_responses_share_one_memory_limit() {
    let length = 5 << 20;
    let routes = Router::new().route("/large", get(move || async move { vec![b'x'; length] }));
    let limits = Config { response_buffer_limit: 8 << 20, ..limits() };
    let server = start(limits, Duration::ZERO, routes).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut deaf = socket.connect(server.address).await.unwrap();
    deaf.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut byte = [0; 1];
    deaf.read_exact(&mut byte).await.unwrap();
    let request = "GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = server.say(request).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("overloaded"), "{answer:.200}");
    assert!(answer.contains("retry-after: 1"), "{answer:.200}");
    let (mut sender, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    tokio::spawn(connection);
    let over_http2 = Request::get(format!("http://{}/large", server.address)).body(()).unwrap();
    assert_eq!(sender.send_request(over_http2, true).unwrap().0.await.unwrap().status(), 503);
    // Small responses still fit, and the drop of the connection releases its reservation.
    let small = "GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(server.say(small).await.starts_with("HTTP/1.1 200"));
    drop(deaf);
    while !server.say(request).await.starts_with("HTTP/1.1 200") {}
}

#[tokio::test]
async fn rapid_resets_close_the_connection() {
    let stuck = get(std::future::pending::<()>);
    let server = start(limits(), Duration::ZERO, Router::new().route("/stuck", stuck)).await;
    // Many requests at once, and one at a time, so that the server starts each of them.
    for at_once in [50, 1] {
        let stream = server.connect().await;
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut asked = 0;
        let flood = async {
            loop {
                let mut streams = Vec::new();
                for _ in 0..at_once {
                    asked += 1;
                    sender = match sender.ready().await {
                        Ok(sender) => sender,
                        Err(error) => return error,
                    };
                    let request = Request::get(format!("http://{}/stuck", server.address)).body(()).unwrap();
                    streams.extend(sender.send_request(request, true));
                }
                // A request that is reset before it is sent is not sent at all.
                tokio::time::sleep(Duration::from_millis(1)).await;
                for (_, mut stream) in streams {
                    stream.send_reset(h2::Reason::CANCEL);
                }
            }
        };
        let error = tokio::time::timeout(Duration::from_secs(20), flood).await.expect("the flood ends");
        assert!(error.is_go_away() || error.is_io(), "{error:?}");
        assert!(asked < 5_000, "{asked} were taken");
        let _ = connection.await.unwrap();
    }
    assert!(
        server
            .say("GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

impl Running {
    /// Returns a connection that has received one response and is kept open.
    async fn keep_alive(&self) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(b"GET /empty HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).await.unwrap();
            answer.extend(byte);
        }
        stream
    }
}

/// Returns a route that signals when it is entered, and responds when the gate opens.
fn gated(gate: &CancellationToken, entered: &CancellationToken) -> axum::routing::MethodRouter {
    let (opened, arrived) = (gate.clone(), entered.clone());
    get(move || async move {
        arrived.cancel();
        opened.cancelled().await;
    })
}

#[tokio::test]
async fn full_server_closes_the_connection_that_was_idle_longest() {
    let (gate, entered) = (CancellationToken::new(), CancellationToken::new());
    let slow = gated(&gate, &entered);
    let routes = Router::new().route("/slow", slow).route("/empty", get(|| async { StatusCode::NO_CONTENT }));
    let limits = Config { max_connections: 3, max_connections_per_address: Some(9), ..limits() };
    let server = start(limits, Duration::ZERO, routes).await;
    let mut busy = server.keep_alive().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    entered.cancelled().await;
    let mut first = server.keep_alive().await;
    let mut second = server.keep_alive().await;
    let third = server.keep_alive().await;
    assert_eq!(until_closed(&mut first).await, "");
    let request = b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    second.write_all(request).await.unwrap();
    assert!(until_closed(&mut second).await.starts_with("HTTP/1.1 200"), "the younger one stays open");
    gate.cancel();
    assert!(
        until_closed(&mut busy).await.starts_with("HTTP/1.1 200"),
        "an open request keeps its connection"
    );
    drop(third);
}

#[tokio::test]
async fn new_connections_wait_while_a_full_server_has_no_idle_one() {
    let (gate, entered) = (CancellationToken::new(), CancellationToken::new());
    let slow = gated(&gate, &entered);
    let limits = Config { max_connections: 1, max_connections_per_address: Some(9), ..limits() };
    let server = start(limits, Duration::ZERO, Router::new().route("/slow", slow)).await;
    let mut first = server.connect().await;
    first.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    entered.cancelled().await;
    let mut second = server.connect().await;
    second.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut byte = [0; 1];
    let waits = tokio::time::timeout(LOOK, second.read_exact(&mut byte)).await;
    assert!(waits.is_err(), "there is one slot");
    gate.cancel();
    assert!(until_closed(&mut first).await.starts_with("HTTP/1.1 200"));
    assert!(until_closed(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn listeners_share_the_connection_limits() {
    let limits = Config { max_connections_per_address: Some(1), ..limits() };
    let connections = Connections::new(&limits);
    let mut addresses = Vec::new();
    let refuse = |headers: &HeaderMap, problem: Problem| {
        let detail = format!("{}, {:?}, {:?}", problem.code(), problem.wait(), headers[ACCEPT]);
        (StatusCode::OK, detail).into_response()
    };
    let other =
        Port { only_http2: true, responder: Responder { refuse, ..Port::HTTP.responder }, ..Port::HTTP };
    for port in [Port::HTTP, other] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let routes = Router::new();
        tokio::spawn(serve(
            listener,
            routes,
            port,
            connections.clone(),
            CancellationToken::new(),
            Duration::ZERO,
        ));
    }
    let held = TcpStream::connect(addresses[0]).await.unwrap();
    let stream = TokioIo::new(TcpStream::connect(addresses[1]).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{}/x", addresses[1])).header(ACCEPT, "x/y");
    let answer = sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = axum::body::to_bytes(Body::new(answer.into_body()), 1_000).await.unwrap();
    assert_eq!(body, "too_many_connections, Some(5s), \"x/y\"", "each port refuses in its own form");
    drop(held);
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_closed_and_one_with_a_stream_is_not() {
    let silent = get(|| async {
        Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, Infallible>>())
    });
    let limits = Config { idle_timeout: Duration::from_millis(300), ..short() };
    let server = start(limits, Duration::ZERO, Router::new().route("/stream", silent)).await;
    let open = async || {
        let (sender, connection) = h2::client::handshake(server.connect().await).await.unwrap();
        // It answers pings.
        (sender, tokio::spawn(connection))
    };
    let (mut streaming, connected) = open().await;
    let request = |path: &str| Request::get(format!("http://{}{path}", server.address)).body(()).unwrap();
    let stream = streaming.send_request(request("/stream"), true).unwrap().0.await.unwrap();
    let (_never_asked, idle) = open().await;
    let (mut asked_once, idle_later) = open().await;
    let answer = asked_once.send_request(request("/peer"), true).unwrap().0.await.unwrap();
    drop(answer);
    for ended in [idle, idle_later] {
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        let _ = ended.expect("the server closes the connection").unwrap();
    }
    assert!(!connected.is_finished(), "a stream without news is not idle");
    drop(stream);
}

#[tokio::test]
async fn shutdown_finishes_open_requests_and_closes_idle_connections() {
    let gate = CancellationToken::new();
    let entered = CancellationToken::new();
    let (opened, arrived) = (gate.clone(), entered.clone());
    let slow = get(move || async move {
        arrived.cancel();
        opened.cancelled().await;
        "done"
    });
    let server = start(limits(), Duration::from_secs(30), Router::new().route("/slow", slow)).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut byte = [0; 1];
    idle.read_exact(&mut byte).await.unwrap();
    entered.cancelled().await;

    server.shutdown.cancel();
    until_closed(&mut idle).await;
    assert!(!server.task.is_finished());
    gate.cancel();
    assert!(until_closed(&mut busy).await.ends_with("done"));
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn connections_are_closed_after_the_shutdown_timeout() {
    let entered = CancellationToken::new();
    let arrived = entered.clone();
    let stuck = get(move || async move {
        arrived.cancel();
        std::future::pending::<()>().await;
    });
    let server = start(limits(), Duration::from_millis(50), Router::new().route("/stuck", stuck)).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    entered.cancelled().await;
    server.shutdown.cancel();
    assert_eq!(until_closed(&mut busy).await, "");
    server.task.await.unwrap();
}

#[tokio::test]
async fn http2_without_tls_is_served() {
    let server = start(limits(), Duration::ZERO, Router::new()).await;
    let stream = TokioIo::new(server.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/peer", server.address)).body(Body::empty()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
}

#[test]
fn the_limits_are_documented() {
    limits_page::row(
        "HTTP/2: resets beyond the number of responses (rapid reset)",
        &format!("{}, or {RESETS} that were not started", http2_watch::MAX_ABANDONED),
    );
    let grace = limits_page::time(EXPIRY_GRACE);
    limits_page::row("connection after the end of its client certificate", &grace);
}
