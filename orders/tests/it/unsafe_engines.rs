//! Servers that speak the protocol of MySQL and take other locks. A small server in their place states their versions.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::run;

/// The status of every response: autocommit.
const STATUS: [u8; 2] = [2, 0];
const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
const END_OF_ROWS: [u8; 5] = [0xfe, 0, 0, 2, 0];
/// Commands of the protocol.
const QUIT: u8 = 1;
const QUERY: u8 = 3;

/// Starts a server with this version, which accepts every user and statement.
async fn start_server(version: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move { _ = serve(socket, version).await });
        }
    });
    port
}

async fn serve(mut socket: TcpStream, version: &str) -> std::io::Result<()> {
    let mut greeting = vec![10];
    greeting.extend_from_slice(version.as_bytes());
    greeting.extend_from_slice(&[0, 1, 0, 0, 0]);
    greeting.extend_from_slice(b"saltsalt\0");
    // Long password, database, protocol 4.1, transactions, secure connection; then plugin authentication.
    greeting.extend_from_slice(&[0x09, 0xa2, 45]);
    greeting.extend_from_slice(&STATUS);
    greeting.extend_from_slice(&[0x08, 0, 21]);
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(b"saltsaltsalt\0mysql_native_password\0");
    send(&mut socket, &[&greeting], 0).await?;
    receive(&mut socket).await?;
    send(&mut socket, &[&OK], 2).await?;
    loop {
        let request = receive(&mut socket).await?;
        match request.first() {
            None | Some(&QUIT) => return Ok(()),
            Some(&QUERY) if String::from_utf8_lossy(&request).contains("VERSION()") => {
                let mut column = Vec::new();
                for text in ["def", "", "", "", "version", ""] {
                    column.push(text.len() as u8);
                    column.extend_from_slice(text.as_bytes());
                }
                // The character set utf8mb4, the length, the type of a string, flags and decimals.
                column.extend_from_slice(&[12, 45, 0, 0, 1, 0, 0, 0xfd, 0, 0, 0, 0, 0]);
                let row = [&[version.len() as u8], version.as_bytes()].concat();
                send(&mut socket, &[&[1], &column, &END_OF_ROWS, &row, &END_OF_ROWS], 1).await?;
            }
            Some(_) => send(&mut socket, &[&OK], 1).await?,
        }
    }
}

/// Sends packets with ascending numbers.
async fn send(socket: &mut TcpStream, packets: &[&[u8]], first: u8) -> std::io::Result<()> {
    for (number, packet) in (first..).zip(packets) {
        let [low, middle, high, _] = (packet.len() as u32).to_le_bytes();
        socket.write_all(&[&[low, middle, high, number], *packet].concat()).await?;
    }
    Ok(())
}

async fn receive(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 4];
    socket.read_exact(&mut head).await?;
    let mut packet = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    socket.read_exact(&mut packet).await?;
    Ok(packet)
}

/// Every command states the name and the reason at once: waiting does not change it.
#[tokio::test]
async fn unsafe_engines_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (version, name, reason) in [
        ("8.0.11-TiDB-v8.5.6", "the database is TiDB", "SKIP LOCKED"),
        ("5.7.25-OceanBase_CE-v4.3.5.0", "the database is OceanBase", "shared locks"),
    ] {
        let url = format!("mysql://orders:hush@127.0.0.1:{}/orders", start_server(version).await);
        let variables = [("DATABASE_URL", url.as_str()), ("REDIS_URL", "redis://127.0.0.1:1")];
        let gateway = ["gateway", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
        for arguments in [&gateway[..], &["migrate"], &["keys", "list"], &["doctor"]] {
            let output = run(folder.path(), arguments, &variables).await;
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?} {stderr}");
            for part in [name, reason, "hint: use MySQL 8 or MariaDB 10.11"] {
                assert!(stderr.contains(part), "{arguments:?} {stderr}");
            }
            assert!(!stderr.contains("hush"), "{stderr}");
        }
    }
}
