//! A low limit of open files, of which each connection needs one.

use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Api, Process, base_url, eventually, grpc_addr, killed_with_test, within};

/// The limit of a test's shell.
const SOFT_LIMIT: usize = 64;

/// Starts `orders dev` in a shell with this limit of open files.
async fn start_dev(limit: &str) -> (TempDir, Process, Api) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = killed_with_test("sh");
    let script = format!(r#"ulimit {limit} && exec "$0" "$@""#);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_orders")]).current_dir(folder.path());
    command.args(["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"]);
    let mut dev = Process::start(command, "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    (folder, dev, api)
}

async fn connect(addr: &str) -> TcpStream {
    within("a connection", TcpStream::connect(addr)).await.expect("a connection")
}

/// Requests /livez and keeps the connection open.
async fn request_livez(stream: &mut TcpStream) {
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("the request is sent");
    let mut response = [0; 12];
    within("a response", stream.read_exact(&mut response)).await.expect("a response");
    assert_eq!(&response, b"HTTP/1.1 200");
}

#[tokio::test]
async fn low_soft_limit_is_raised() {
    let (_folder, mut dev, api) = start_dev(&format!("-Sn {SOFT_LIMIT}")).await;
    let mut open = Vec::new();
    for _ in 0..2 * SOFT_LIMIT {
        let mut stream = connect(api.addr()).await;
        request_livez(&mut stream).await;
        open.push(stream);
    }
    drop(open);
    dev.terminate();
    dev.wait_for_success().await;
}

/// Clients that connect to the gRPC port and send nothing leave files for HTTP and the database, and are closed after the
/// timeout of a request head.
#[tokio::test]
async fn silent_sockets_leave_files_for_other_uses() {
    let (_folder, mut dev, api) = start_dev("-n 600").await;
    let grpc = grpc_addr(&mut dev).await;
    let mut silent = Vec::new();
    for _ in 0..700 {
        silent.push(connect(&grpc).await);
    }
    for _ in 0..10 {
        let id = api.create_id().await;
        api.wait_for_status(&id, "completed").await;
        assert_eq!(api.try_get("/livez").await, Some(200));
    }
    for mut stream in silent {
        let mut bytes = Vec::new();
        // A reset is a close as well.
        let closed = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await;
        assert!(closed.is_ok(), "a silent socket is closed");
    }
    assert_eq!(dev.count_logged("Too many open files"), 0);
    assert_eq!(dev.count_logged("unable to open"), 0);
    dev.terminate();
    dev.wait_for_success().await;
}

/// Idle connections are closed for new ones.
#[tokio::test]
async fn idle_connections_are_closed_for_new_ones() {
    let (_folder, mut dev, api) = start_dev("-n 256").await;
    let mut idle = Vec::new();
    for n in 0..400 {
        let mut stream = connect(api.addr()).await;
        if n % 2 == 0 {
            request_livez(&mut stream).await;
        }
        idle.push(stream);
        if n % 40 == 0 {
            request_livez(&mut connect(api.addr()).await).await;
        }
    }
    eventually("an order to be created", || async { api.try_create().await }).await;
    assert_eq!(dev.count_logged("Too many open files"), 0);
    drop(idle);
    dev.terminate();
    dev.wait_for_success().await;
}
