//! Shells allow few open files; a server needs one for each connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Process, base_url, bound};

/// What the shell of this test allows.
const SOFT_LIMIT: usize = 64;

#[tokio::test]
async fn a_low_soft_limit_is_raised() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = bound("sh");
    let script = format!(r#"ulimit -Sn {SOFT_LIMIT} && exec "$0" "$@""#);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_orders")]).current_dir(folder.path());
    command.args(["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"]);
    let mut dev = Process::start(command, "orders dev");
    let base = base_url(&mut dev).await;
    let addr = base.trim_start_matches("http://");
    let mut open = Vec::new();
    for _ in 0..2 * SOFT_LIMIT {
        let mut stream = TcpStream::connect(addr).await.expect("a connection");
        let request = format!("GET /livez HTTP/1.1\r\nHost: {addr}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut answer = [0; 12];
        crate::harness::within("an answer", stream.read_exact(&mut answer)).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        open.push(stream);
    }
    drop(open);
    dev.terminate();
    dev.ended_well().await;
}
