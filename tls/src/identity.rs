//! The name in a verified client certificate.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::x509;

/// The maximum length of a name, in bytes.
const MAX_NAME: usize = 200;

/// The verified identity of a client: the name in its certificate.
///
/// The name is the first URI of the subject alternative name, else its first DNS name, else the common name. Cloning is
/// cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    name: Arc<str>,
    not_after: i64,
}

/// The reason why a verified certificate identifies no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// It has none of the names.
    #[error("the client certificate has no URI, no DNS name and no common name")]
    Missing,
    /// The name cannot be shown in logs.
    #[error("the name in the client certificate is not 1 to {MAX_NAME} printable ASCII characters")]
    Unprintable,
}

impl ClientIdentity {
    /// Reads the identity of the holder of a verified chain.
    ///
    /// # Errors
    /// If the certificate has no usable name.
    pub fn of(chain: &[CertificateDer<'_>]) -> Result<Self, InvalidIdentity> {
        let facts = chain.first().and_then(|own| x509::read(own)).ok_or(InvalidIdentity::Missing)?;
        let name = facts.uri.or(facts.dns_name).or(facts.common_name).ok_or(InvalidIdentity::Missing)?;
        let printable = name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if name.trim().is_empty() || name.len() > MAX_NAME || !printable {
            return Err(InvalidIdentity::Unprintable);
        }
        Ok(Self { name: name.into(), not_after: facts.not_after })
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the end of the certificate's validity, in seconds since 1970.
    ///
    /// A connection can stay open beyond it: the certificate is verified during the handshake only.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

#[cfg(test)]
mod tests {
    use test_certificates::{Authority, Leaf};

    use super::*;

    fn identity(leaf: &Leaf) -> Result<ClientIdentity, InvalidIdentity> {
        let issued = Authority::new("ca").issue(leaf);
        ClientIdentity::of(&[CertificateDer::from(issued.der().to_vec())])
    }

    #[test]
    fn the_name_is_the_most_specific_one() {
        let leaf = Leaf::client("worker");
        assert_eq!(identity(&leaf).unwrap().name(), "worker");
        let leaf = leaf.dns_name("worker.example");
        assert_eq!(identity(&leaf).unwrap().name(), "worker.example");
        let leaf = leaf.uri("spiffe://example/worker").valid_until("2031-05-06T07:08:09Z");
        let identity = identity(&leaf).unwrap();
        assert_eq!((identity.name(), identity.not_after()), ("spiffe://example/worker", 1_935_817_689));
    }

    #[test]
    fn certificates_without_a_usable_name_identify_no_client() {
        assert_eq!(identity(&Leaf::client("")), Err(InvalidIdentity::Missing));
        for name in [" ", "a\nb", "wörker", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(identity(&Leaf::client(name)), Err(InvalidIdentity::Unprintable), "{name:?}");
        }
        assert_eq!(ClientIdentity::of(&[]), Err(InvalidIdentity::Missing));
    }
}
