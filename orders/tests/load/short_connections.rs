//! Clients that connect, send a request or nothing, and disconnect.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::ALONE;
use crate::harness::{Api, Process, base_url, command, grpc_addr, within};

const MIB: u64 = 1024 * 1024;
const CONNECTS: usize = 100_000;
/// After these connects, every kind of client was served and memory has its usual size.
const WARM_UP: usize = 10_000;
/// Concurrent clients.
const CLIENTS: usize = 64;

/// Opens a connection that is reset when it is dropped, so that its port is free at once.
async fn connect(addr: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_zero_linger().expect("the option is set");
    within("a connection", socket.connect(addr.parse().expect("an address"))).await.expect("a connection")
}

/// Connects as the n-th client, and disconnects.
async fn connect_and_leave(n: usize, http: &str, grpc: &str) {
    let mut stream = connect(if n % 8 == 7 { grpc } else { http }).await;
    let said = match n % 4 {
        0 => &b""[..],
        1 => b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        2 => b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    };
    stream.write_all(said).await.expect("it is sent");
    if n % 4 == 1 {
        let mut answer = [0; 12];
        within("a response", stream.read_exact(&mut answer)).await.expect("a response");
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_connects() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let grpc = grpc_addr(&mut dev).await;
    let next = AtomicUsize::new(0);
    let until = async |end: usize| {
        let clients = (0..CLIENTS).map(|_| async {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= end {
                    break;
                }
                connect_and_leave(n, api.addr(), &grpc).await;
            }
        });
        join_all(clients).await
    };
    until(WARM_UP).await;
    let before = dev.memory("VmRSS");
    until(CONNECTS).await;
    let after = dev.memory("VmRSS");
    println!("{} KiB before, {} KiB after", before / 1024, after / 1024);
    assert!(after < before + 16 * MIB, "{} MiB before, {} MiB after", before / MIB, after / MIB);
    api.create_id().await;
    dev.terminate();
    dev.wait_for_success().await;
}
