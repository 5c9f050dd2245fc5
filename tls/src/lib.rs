//! TLS with certificates from files, which are replaced while the program runs.
//!
//! [`ServerTls`] contains the certificate of a port, [`ClientTls`] the trusted authorities of a client and its
//! certificate. Each connection uses the files that were read last: a reload replaces the whole configuration at once, and
//! an unusable file changes nothing. [`keep_current`] reads the files again at intervals and on request.
//!
//! Only this crate creates configurations of rustls. The connections belong to the callers.

mod client;
mod error;
mod files;
mod identity;
mod reload;
mod server;
mod trust_port;
mod x509;

pub use self::client::{ClientFiles, ClientTls, trusting_system, without_authorities};
pub use self::error::Error;
pub use self::files::{read_authorities, read_certificate_and_key};
pub use self::identity::{ClientIdentity, InvalidIdentity};
pub use self::reload::{RELOAD_INTERVAL, keep_current};
pub use self::server::{ServerFiles, ServerTls};

/// The protocols of the HTTP port, by preference.
pub const ALPN_HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];
/// The protocol of gRPC.
pub const ALPN_GRPC: &[&[u8]] = &[b"h2"];
