//! The certificate of a port.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};

use crate::error::Error;
use crate::files::Reader;
use crate::reload::{Current, Loaded, own_certificate};

/// The files of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate and its chain, in PEM form.
    pub certificate: PathBuf,
    /// The private key, in PEM form.
    pub key: PathBuf,
    /// The authorities of client certificates. With them each client needs a certificate.
    pub client_ca: Option<PathBuf>,
}

/// The certificate of a port, which can be replaced.
#[derive(Debug)]
pub struct ServerTls {
    files: ServerFiles,
    protocols: &'static [&'static [u8]],
    current: Current<ServerConfig>,
}

impl ServerTls {
    /// Reads the files. `name` names them in logs and metrics, and `protocols` are those of ALPN, the preferred one first.
    ///
    /// # Errors
    /// If a file is unusable, or the key is not that of the certificate.
    pub fn load(
        name: &'static str,
        files: ServerFiles,
        protocols: &'static [&'static [u8]],
    ) -> Result<Self, Error> {
        let loaded = read(&files, protocols)?;
        Ok(Self { files, protocols, current: Current::new(name, loaded) })
    }

    /// Returns the configuration for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.config()
    }

    /// Reads the files again. The loaded ones stay in use if they are unusable.
    pub fn reload(&self) {
        self.current.replace(read(&self.files, self.protocols));
    }

    /// Checks whether this is the certificate for new connections.
    pub(crate) fn presents(&self, certificate: &[u8]) -> bool {
        self.current.certificate().is_some_and(|own| *own == *certificate)
    }
}

fn read(files: &ServerFiles, protocols: &[&[u8]]) -> Result<Loaded<ServerConfig>, Error> {
    let mut reader = Reader::default();
    let (chain, key) = (reader.chain(&files.certificate)?, reader.key(&files.key)?);
    let certificate = own_certificate(&files.certificate, chain.first().map(AsRef::as_ref))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Error::content(&files.certificate, error.to_string()))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(reader.authorities(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| Error::content(file, format!("is not usable: {error}")))?,
            )
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| key_error(files, &error))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    if files.client_ca.is_some() {
        // A resumed session would skip the verification of the client's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(Loaded { config: Arc::new(config), certificate: Some(certificate), fingerprint: reader.fingerprint() })
}

fn key_error(files: &ServerFiles, error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            let certificate = files.certificate.display();
            Error::content(&files.key, format!("is not the key of the certificate {certificate}"))
        }
        _ => Error::content(&files.key, format!("or {} is not usable: {error}", files.certificate.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use test_certificates::{Authority, Leaf};

    use super::*;

    fn files(folder: &Path) -> ServerFiles {
        ServerFiles { certificate: folder.join("port.crt"), key: folder.join("port.key"), client_ca: None }
    }

    #[test]
    fn changed_files_replace_the_certificate_and_broken_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("ca");
        let (first, second) = (authority.issue(&Leaf::server()), authority.issue(&Leaf::server()));
        first.write(folder.path(), "port");
        let tls = ServerTls::load("http", files(folder.path()), &[b"h2"]).unwrap();
        let before = tls.config();
        tls.reload();
        assert!(Arc::ptr_eq(&before, &tls.config()), "unchanged files replace nothing");
        // Between the writes of both files the key does not belong to the certificate.
        std::fs::write(folder.path().join("port.crt"), second.pem()).unwrap();
        tls.reload();
        assert!(tls.presents(first.der()) && Arc::ptr_eq(&before, &tls.config()));
        second.write(folder.path(), "port");
        tls.reload();
        assert!(tls.presents(second.der()) && !Arc::ptr_eq(&before, &tls.config()));
        std::fs::remove_file(folder.path().join("port.key")).unwrap();
        tls.reload();
        assert!(tls.presents(second.der()));
    }

    #[test]
    fn key_of_another_certificate_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("ca");
        authority.issue(&Leaf::server()).write(folder.path(), "port");
        std::fs::write(folder.path().join("port.key"), authority.issue(&Leaf::server()).key_pem()).unwrap();
        let error = ServerTls::load("http", files(folder.path()), &[b"h2"]).unwrap_err().to_string();
        assert!(error.contains("port.key is not the key of the certificate"), "{error}");
    }

    #[test]
    fn outcomes_and_the_end_of_validity_are_metrics() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("ca");
        authority.issue(&Leaf::server().valid_until("2031-05-06T07:08:09Z")).write(folder.path(), "port");
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let tls = ServerTls::load("http", files(folder.path()), &[b"h2"]).unwrap();
            authority.issue(&Leaf::server().valid_until("2032-05-06T07:08:09Z")).write(folder.path(), "port");
            tls.reload();
            std::fs::write(folder.path().join("port.crt"), "").unwrap();
            tls.reload();
        });
        let rendered = recorder.handle().render();
        for line in [
            r#"orders_tls_certificate_expiry_timestamp_seconds{certificate="http"} 1967440089"#,
            r#"orders_tls_reloads_total{certificate="http",outcome="success"} 1"#,
            r#"orders_tls_reloads_total{certificate="http",outcome="failure"} 1"#,
        ] {
            assert!(rendered.contains(line), "{line} is missing in {rendered}");
        }
    }
}
