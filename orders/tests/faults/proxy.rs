//! A TCP proxy that can be told to spoil its connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest piece that is forwarded in one go, in bytes.
const PIECE: usize = 16 * 1024;
/// What a slow connection adds to each piece, in each direction. With the length of a piece it also
/// bounds the bytes per second.
const DELAY: Duration = Duration::from_millis(50);
/// The same of a narrow connection: 80 KiB a second.
const NARROW_DELAY: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Forwards everything.
    Pass,
    /// Ends all connections, and new ones at once.
    Cut,
    /// Connections can be made and stay open, but nothing comes through.
    Stall,
    /// Forwards everything late.
    Slow,
    /// Forwards so little that a batch of large orders takes longer than a lease.
    Narrow,
}

/// Ends with the test.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    mode: watch::Sender<Mode>,
    target: Arc<AtomicU16>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// In front of a port of this machine.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let mut accepting = JoinSet::new();
        let target = Arc::new(AtomicU16::new(target));
        accepting.spawn(accept(listener, target.clone(), modes));
        Self { port, mode, target, _accepting: accepting }
    }

    /// Sends new connections to another port. Those that are there stay.
    pub(crate) fn lead_to(&self, target: u16) {
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
    tokio::try_join!(pump(from_client, to_server, modes.clone()), pump(from_server, to_client, modes))?;
    Ok(())
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        // What was read when a stall began is held back, the end of the connection too.
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
        to.write_all(&piece[..length]).await?;
    }
}
