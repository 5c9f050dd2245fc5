//! The authorities that a client trusts, and its certificate.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;
use crate::files::Reader;
use crate::reload::{Current, Loaded, own_certificate};
use crate::server::ServerTls;
use crate::trust_port::TrustPort;

/// The files of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// The trusted authorities, in PEM form. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate and the key of the client, in PEM form.
    pub certificate_and_key: Option<(PathBuf, PathBuf)>,
}

/// The trust and the certificate of a client, which can be replaced.
#[derive(Debug)]
pub struct ClientTls {
    /// `None` if there is nothing to read again.
    files: Option<ClientFiles>,
    protocols: &'static [&'static [u8]],
    current: Current<ClientConfig>,
}

impl ClientTls {
    /// Reads the files. `name` names them in logs and metrics, and `protocols` are those of ALPN.
    ///
    /// # Errors
    /// If a file is unusable, the key is not that of the certificate, or the system has no authorities.
    pub fn load(
        name: &'static str,
        files: ClientFiles,
        protocols: &'static [&'static [u8]],
    ) -> Result<Self, Error> {
        let loaded = read(&files, protocols)?;
        Ok(Self { files: Some(files), protocols, current: Current::new(name, loaded) })
    }

    /// Creates a client that trusts the certificate of one port of this process, with any name.
    pub fn trusting(
        port: Arc<ServerTls>,
        name: &'static str,
        protocols: &'static [&'static [u8]],
    ) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|_| Error::NoAuthorities)?;
        let verifier = Arc::new(TrustPort::new(port, &provider));
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let loaded = Loaded { config: Arc::new(config), certificate: None, fingerprint: [0; 32] };
        Ok(Self { files: None, protocols, current: Current::new(name, loaded) })
    }

    /// Returns the configuration for a new connection.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.current.config()
    }

    /// Reads the files again. The loaded ones stay in use if they are unusable.
    pub fn reload(&self) {
        if let Some(files) = &self.files {
            self.current.replace(read(files, self.protocols));
        }
    }
}

/// Creates the configuration of a client that trusts the authorities of the system. It is not replaced.
///
/// # Errors
/// If the system has no authorities.
pub fn trusting_system(protocols: &[&[u8]]) -> Result<ClientConfig, Error> {
    let loaded = read(&ClientFiles::default(), protocols)?;
    Ok(Arc::unwrap_or_clone(loaded.config))
}

/// Creates the configuration of a client that connects without TLS. Every handshake fails.
pub fn without_authorities() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn read(files: &ClientFiles, protocols: &[&[u8]]) -> Result<Loaded<ClientConfig>, Error> {
    let mut reader = Reader::default();
    let roots = match &files.ca {
        Some(file) => reader.authorities(file)?,
        None => system_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|_| Error::NoAuthorities)?
        .with_root_certificates(roots);
    let (mut config, certificate) = match &files.certificate_and_key {
        None => (builder.with_no_client_auth(), None),
        Some((certificate, key)) => {
            let (chain, key_der) = (reader.chain(certificate)?, reader.key(key)?);
            let own = own_certificate(certificate, chain.first().map(AsRef::as_ref))?;
            let config = builder.with_client_auth_cert(chain, key_der).map_err(|error| {
                let certificate = certificate.display();
                let problem =
                    format!("is not the key of the certificate {certificate}, or not usable: {error}");
                Error::content(key, problem)
            })?;
            (config, Some(own))
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Loaded { config: Arc::new(config), certificate, fingerprint: reader.fingerprint() })
}

fn system_authorities() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(Error::NoAuthorities) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use test_certificates::{Authority, Leaf};

    use super::*;

    #[test]
    fn changed_client_certificate_is_used_by_the_next_connection() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("ca");
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, authority.pem()).unwrap();
        let pair = authority.issue(&Leaf::client("w")).write(folder.path(), "worker");
        let files = ClientFiles { ca: Some(ca), certificate_and_key: Some(pair) };
        let tls = ClientTls::load("gateway_client", files, &[b"h2"]).unwrap();
        let before = tls.config();
        std::fs::write(folder.path().join("worker.key"), "").unwrap();
        tls.reload();
        assert!(Arc::ptr_eq(&before, &tls.config()));
        authority.issue(&Leaf::client("w")).write(folder.path(), "worker");
        tls.reload();
        assert!(!Arc::ptr_eq(&before, &tls.config()));
    }
}
