//! A TCP proxy that causes faults on its connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Maximum number of bytes that are forwarded at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Delay of each chunk on a slow connection, in each direction. With the size of a chunk it also limits the bandwidth.
const DELAY: Duration = Duration::from_millis(50);
/// Delay of each chunk on a narrow connection: 80 KiB per second.
const NARROW_DELAY: Duration = Duration::from_millis(200);

/// The state of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Forwards all bytes.
    Pass,
    /// Closes all connections, and new ones at once.
    Cut,
    /// Accepts connections and keeps them open, but forwards nothing.
    Stall,
    /// Forwards all bytes with a delay.
    Slow,
    /// Forwards so slowly that a batch of large orders takes longer than a lease.
    Narrow,
}

/// A proxy, which ends with the test.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: watch::Sender<Mode>,
    target: Arc<AtomicU16>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy for a port of this machine.
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let mut accepting = JoinSet::new();
        let target = Arc::new(AtomicU16::new(target));
        accepting.spawn(accept(listener, target.clone(), modes));
        Self { port, mode, target, _accepting: accepting }
    }

    /// Forwards new connections to another port. Open connections do not change.
    pub(crate) fn redirect_to(&self, target: u16) {
        self.target.store(target, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn accept(listener: TcpListener, target: Arc<AtomicU16>, modes: watch::Receiver<Mode>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        let (mut cut, modes) = (modes.clone(), modes.clone());
        let target = target.load(Ordering::Relaxed);
        connections.spawn(async move {
            tokio::select! {
                _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
                _ = forward(client, target, modes) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(mut client: TcpStream, target: u16, mut modes: watch::Receiver<Mode>) -> io::Result<()> {
    let stalled = modes.wait_for(|mode| *mode != Mode::Stall).await.is_err();
    if stalled {
        return Ok(());
    }
    let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        forward_one_way(from_client, to_server, modes.clone()),
        forward_one_way(from_server, to_client, modes)
    )?;
    Ok(())
}

async fn forward_one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = from.read(&mut chunk).await?;
        // A stall also delays the bytes that were read before it, and the end of the connection.
        let Ok(mode) = modes.wait_for(|mode| *mode != Mode::Stall).await.map(|mode| *mode) else {
            return Ok(());
        };
        match mode {
            Mode::Slow => tokio::time::sleep(DELAY).await,
            Mode::Narrow => tokio::time::sleep(NARROW_DELAY).await,
            Mode::Pass | Mode::Cut | Mode::Stall => {}
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}
