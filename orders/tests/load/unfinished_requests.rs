//! Bodies and messages that clients do not send completely.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::SendRequest;
use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ALONE;
use crate::harness::{Api, Process, base_url, command, eventually, grpc_addr, within};

const MIB: u64 = 1024 * 1024;
/// `--request-buffer-limit`.
const BUDGET: u64 = 64 * MIB;
/// Maximum memory of other buffers and of the rest of the program.
const OTHER_MEMORY: u64 = 100 * MIB;
/// The length of a body, of which [`SENT`] bytes are sent.
const ANNOUNCED: usize = 4 * 1024 * 1024;
const SENT: usize = ANNOUNCED - 10;
/// The number of bodies within the limit, of which an eighth is for small bodies.
const MAX_LARGE_BODIES: usize = (BUDGET as usize - BUDGET as usize / 8) / SENT;

struct Server {
    process: Process,
    api: Api,
    _folder: TempDir,
}

impl Server {
    async fn start(read_timeout: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let budget = BUDGET.to_string();
        let arguments = [
            "dev",
            "--http-addr",
            "127.0.0.1:0",
            "--grpc-addr",
            "127.0.0.1:0",
            "--request-buffer-limit",
            &budget,
            "--request-read-timeout",
            read_timeout,
        ];
        let mut process = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
        let api = Api::new(base_url(&mut process).await);
        Self { process, api, _folder: folder }
    }

    /// Checks that large bodies are rejected and small ones are served while the buffer is full. `more` starts another body:
    /// of concurrent ones, more than necessary can have been rejected.
    async fn assert_only_small_bodies(&self, mut more: impl AsyncFnMut()) {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        let ask = async || {
            let request = client.post(format!("{}/orders/bulk", self.api.base));
            let request = request.header("content-type", "application/json").body(vec![b' '; SENT]);
            within("a response", request.send()).await.expect("a response")
        };
        let mut refused = ask().await;
        for _ in 0..MAX_LARGE_BODIES {
            // The body was read, and is not a valid order.
            if refused.status() == 400 {
                more().await;
                refused = ask().await;
            }
        }
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(refused.json::<Value>().await.expect("a problem")["code"], "overloaded");
        for created in join_all((0..10).map(|_| self.api.create_id())).await {
            assert_eq!(self.api.get(&format!("/orders/{created}")).await.0, 200);
        }
        let order = json!({"item": "Laptop", "quantity": 1, "price": 1});
        assert_eq!(self.api.post("/orders/bulk", &json!([order])).await.0, 201, "a small bulk create");
    }

    /// Checks that the buffer is free: a large body is read again, and is not a valid order.
    async fn assert_large_bodies(&self) {
        eventually("the budget to be free", || async {
            (self.api.post("/orders/bulk", &json!("x".repeat(SENT - 2))).await.0 == 400).then_some(())
        })
        .await;
    }

    fn check_memory(&self, before: u64) {
        let peak = self.process.memory("VmHWM");
        println!("{} KiB before, {} KiB at most", before / 1024, peak / 1024);
        assert!(
            peak <= before + BUDGET + OTHER_MEMORY,
            "{} MiB before, {} MiB at most",
            before / MIB,
            peak / MIB
        );
    }
}

/// Sends a part of a body over HTTP/1.
async fn start_body(addr: &str) -> TcpStream {
    let mut socket = within("a connection", TcpStream::connect(addr)).await.expect("a connection");
    let head = format!(
        "POST /orders/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {ANNOUNCED}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("the head is sent");
    // The gateway can reject the body before all bytes are sent.
    let _ = within("the body to be taken", socket.write_all(&[b' '; SENT])).await;
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_http1_bodies_stay_within_the_limit() {
    let _alone = ALONE.lock().await;
    // The timeout is longer than the test.
    let mut server = Server::start("60s").await;
    let before = server.process.memory("VmRSS");
    for _ in 0..2 {
        let mut sockets = join_all((0..150).map(|_| start_body(server.api.addr()))).await;
        let mut more = Vec::new();
        server.assert_only_small_bodies(async || more.push(start_body(server.api.addr()).await)).await;
        // All bodies beyond the limit are rejected. A client that is still sending can miss the rejection.
        let mut refused = 0;
        eventually("the others to be refused", || {
            sockets.retain_mut(|socket| {
                let mut answer = [0; 12];
                match socket.try_read(&mut answer) {
                    Ok(length) => assert_eq!(&answer[..length], &b"HTTP/1.1 503"[..length]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
                    Err(_) => {}
                }
                refused += 1;
                false
            });
            std::future::ready((refused >= 150 - MAX_LARGE_BODIES).then_some(()))
        })
        .await;
        assert!(!sockets.is_empty(), "bodies within the limit stay open");
        drop((sockets, more));
        server.assert_large_bodies().await;
        server.check_memory(before);
    }
    server.process.terminate();
    server.process.wait_for_success().await;
}

async fn http2(addr: &str) -> SendRequest<Bytes> {
    let stream = within("a connection", TcpStream::connect(addr)).await.expect("a connection");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    sender
}

/// Sends a part of a body over HTTP/2, and returns the status of the response: the status of gRPC, if there is one.
async fn send_unfinished(sender: SendRequest<Bytes>, path: &str, kind: &str, part: Bytes) -> Option<String> {
    let request = Request::post(format!("http://localhost{path}"))
        .header("content-type", kind)
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let mut sender = sender.ready().await.ok()?;
    let (response, mut stream) = sender.send_request(request, false).ok()?;
    let send = async {
        let mut rest = part;
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let Some(Ok(capacity)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
            if stream.send_data(rest.split_to(capacity.min(rest.len())), false).is_err() {
                break;
            }
        }
        // The body does not end.
        std::future::pending::<()>().await;
    };
    let answer = async {
        let (head, mut body) = response.await.ok()?.into_parts();
        if let Some(status) = head.headers.get("grpc-status") {
            return Some(status.to_str().ok()?.to_owned());
        }
        if kind == "application/json" {
            return Some(head.status.as_str().to_owned());
        }
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).ok()?;
        }
        let trailers = body.trailers().await.ok()??;
        Some(trailers.get("grpc-status")?.to_str().ok()?.to_owned())
    };
    tokio::select! {
        answer = answer => answer,
        () = send => unreachable!("it waits for ever"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_http2_bodies_stay_within_the_limit() {
    let _alone = ALONE.lock().await;
    let mut server = Server::start("60s").await;
    let before = server.process.memory("VmRSS");
    let part = Bytes::from(vec![b' '; SENT]);
    for _ in 0..2 {
        let sender = http2(server.api.addr()).await;
        let mut answers = tokio::task::JoinSet::new();
        let start_request = |answers: &mut tokio::task::JoinSet<_>| {
            answers.spawn(send_unfinished(sender.clone(), "/orders/bulk", "application/json", part.clone()));
        };
        for _ in 0..95 {
            start_request(&mut answers);
        }
        for _ in 0..95 - MAX_LARGE_BODIES {
            let answer = within("a refusal", answers.join_next()).await.expect("more are open");
            assert_eq!(answer.expect("no panic").as_deref(), Some("503"));
        }
        server.assert_only_small_bodies(async || start_request(&mut answers)).await;
        assert!(!answers.is_empty(), "bodies within the limit stay open");
        drop((answers, sender));
        server.assert_large_bodies().await;
        server.check_memory(before);
    }
    server.process.terminate();
    server.process.wait_for_success().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_grpc_messages_time_out() {
    let _alone = ALONE.lock().await;
    // The timeout of a message is 2 s for each 64 KiB, and 12 s in total.
    let mut server = Server::start("2s").await;
    let grpc = grpc_addr(&mut server.process).await;
    let before = server.process.memory("VmRSS");
    let length = 4_194_240_u32;
    let sent = usize::try_from(length).expect("it fits") - 16;
    let part = Bytes::from([&[0][..], &length.to_be_bytes(), &vec![0; sent]].concat());
    for method in ["Work", "UpdateStatus"] {
        let path = format!("/orders.v1.OrderService/{method}");
        let sender = http2(&grpc).await;
        let calls =
            (0..150).map(|_| send_unfinished(sender.clone(), &path, "application/grpc", part.clone()));
        // The limit is 15 s, and the same again for a busy machine.
        let ends = tokio::time::timeout(Duration::from_secs(30), join_all(calls)).await;
        for end in ends.expect("every call ends in time") {
            let end = end.expect("a status");
            // DEADLINE_EXCEEDED; UNAVAILABLE beyond the limit; RESOURCE_EXHAUSTED for a message that is too long.
            let expected: &[&str] = if method == "Work" { &["4", "14"] } else { &["8"] };
            assert!(expected.contains(&end.as_str()), "{method}: {end}");
        }
        let id = server.api.create_id().await;
        server.api.wait_for_status(&id, "completed").await;
    }
    // The maximum size of the call, without the last byte.
    let part = Bytes::from([&[0, 0, 0, 0xff, 0xff][..], &[0; 0xfffe]].concat());
    let sender = http2(&grpc).await;
    let path = "/orders.v1.OrderService/UpdateStatus";
    let calls = (0..150).map(|_| send_unfinished(sender.clone(), path, "application/grpc", part.clone()));
    let ends = tokio::time::timeout(Duration::from_secs(30), join_all(calls)).await;
    for end in ends.expect("every call ends in time") {
        assert_eq!(end.as_deref(), Some("4"));
    }
    server.check_memory(before);
    server.process.terminate();
    server.process.wait_for_success().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_body_times_out() {
    let _alone = ALONE.lock().await;
    let mut server = Server::start("1s").await;
    let mut socket = TcpStream::connect(server.api.addr()).await.expect("a connection");
    let head = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n";
    socket.write_all(head).await.expect("the head is sent");
    let mut answer = [0; 12];
    let read = async {
        loop {
            let _ = socket.write_all(b" ").await;
            let read = tokio::time::timeout(Duration::from_millis(100), socket.read_exact(&mut answer)).await;
            if read.is_ok() {
                break;
            }
        }
    };
    within("a response", read).await;
    assert_eq!(&answer, b"HTTP/1.1 408");
    server.process.terminate();
    server.process.wait_for_success().await;
}
