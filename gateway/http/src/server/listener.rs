//! A listener, and the certificate of its port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tls::ServerTls;
use tokio::net::TcpListener;

/// A bound port. With a certificate every connection starts with a TLS handshake.
#[derive(Debug)]
pub struct Listener {
    pub(super) tcp: TcpListener,
    pub(super) tls: Option<Arc<ServerTls>>,
}

impl Listener {
    /// Adds the certificate of the port; `None` is a port without TLS.
    pub fn new(tcp: TcpListener, tls: Option<Arc<ServerTls>>) -> Self {
        Self { tcp, tls }
    }

    /// Returns the address of the port.
    ///
    /// # Errors
    /// If the system does not return it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self::new(tcp, None)
    }
}
