//! The TLS handshake of an accepted connection.
//!
//! The first byte decides: a TLS handshake, or a client that speaks HTTP without TLS and gets a response that says so. A
//! silent connection takes no turn of the handshakes.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use telemetry::LogThrottle;
use tls::{ClientIdentity, ServerTls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::server::TlsStream;

use super::handshake_limits::HandshakeLimits;

/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Maximum time and number of bytes that a client may send after a failed handshake.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_BYTES: usize = 64 * 1024;

/// A connection after its handshake.
pub(super) enum Accepted {
    /// A TLS connection, and the verified client if the port requires certificates.
    Tls(Box<TlsStream<TcpStream>>, Option<ClientIdentity>),
    /// The client speaks another protocol; nothing was read.
    WithoutTls(TcpStream),
}

/// The state that all handshakes of a process share.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    limits: Arc<HandshakeLimits>,
    log: LogThrottle,
}

impl Handshakes {
    /// Runs a handshake. Counts and logs a failure, and returns `None`. `address` is that of the separate limit.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        tls: &ServerTls,
        address: Option<IpAddr>,
        timeout: Duration,
    ) -> Option<Accepted> {
        let peer = stream.peer_addr().ok();
        let accepting = tokio::time::timeout(timeout, self.try_accept(stream, tls, address));
        let failure = match accepting.await {
            Ok(Ok(accepted)) => return Some(accepted),
            Ok(Err(failure)) => failure,
            Err(_) => Failure { reason: "timeout", cause: format!("not complete within {timeout:?}") },
        };
        counter!("orders_tls_handshake_errors_total", "reason" => failure.reason).increment(1);
        // A client that leaves before its first byte is a port check or a browser's spare connection.
        if failure.reason != "closed"
            && let Some(more) = self.log.allow()
        {
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            tracing::warn!(
                peer,
                reason = failure.reason,
                error = failure.cause,
                more,
                "TLS handshake failed"
            );
        }
        None
    }

    async fn try_accept(
        &self,
        stream: TcpStream,
        tls: &ServerTls,
        address: Option<IpAddr>,
    ) -> Result<Accepted, Failure> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1) if first[0] == HANDSHAKE_RECORD => {}
            Ok(1) => {
                counter!("orders_tls_handshake_errors_total", "reason" => "without_tls").increment(1);
                return Ok(Accepted::WithoutTls(stream));
            }
            Ok(_) => return Err(Failure { reason: "closed", cause: "the client left".to_owned() }),
            Err(error) => return Err(error.into()),
        }
        let turn = self.limits.turn(address).await;
        let handshake = TlsAcceptor::from(tls.config()).accept(stream).into_fallible().await;
        drop(turn);
        let stream = match handshake {
            Ok(stream) => stream,
            Err((error, stream)) => {
                drain(stream).await;
                return Err(error.into());
            }
        };
        let identity = match stream.get_ref().1.peer_certificates() {
            None => None,
            Some(chain) => Some(
                ClientIdentity::of(chain)
                    .map_err(|error| Failure { reason: "client_certificate", cause: error.to_string() })?,
            ),
        };
        Ok(Accepted::Tls(Box::new(stream), identity))
    }
}

/// Lets the client read why the handshake failed: a socket that is closed with unread bytes loses what was sent.
async fn drain(mut stream: TcpStream) {
    let until_closed = async {
        let mut space = [0; 1024];
        let mut left = DRAIN_BYTES;
        stream.shutdown().await?;
        while left > 0 {
            match stream.read(&mut space).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok::<_, io::Error>(())
    };
    // The connection ends with any outcome.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, until_closed).await;
}

/// The reason for which a handshake failed.
struct Failure {
    /// The label of the metric.
    reason: &'static str,
    cause: String,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        let reason = match tls {
            None => "closed",
            Some(TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented) => "client_certificate",
            // The client does not trust the certificate, or does not accept its name.
            Some(TlsError::AlertReceived(_)) => "refused_by_client",
            Some(_) => "protocol",
        };
        Self { reason, cause: error.to_string() }
    }
}
