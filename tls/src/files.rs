//! Reads certificates and keys in PEM form.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// The maximum size of a file. The authorities of a system are a fifth of it.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The maximum number of certificates in a chain. Clients refuse longer ones.
pub(crate) const MAX_CHAIN: usize = 10;

/// The hash of the content of several files, which shows a change.
pub(crate) type Fingerprint = [u8; 32];

/// The files of one configuration, and the hash of everything that was read of them.
#[derive(Default)]
pub(crate) struct Reader(Sha256);

impl Reader {
    fn read(&mut self, file: &Path) -> Result<Vec<u8>, Error> {
        let content = read(file)?;
        self.0.update(content.len().to_be_bytes());
        self.0.update(&content);
        Ok(content)
    }

    /// Reads the chain of a certificate, that of the holder first.
    pub(crate) fn chain(&mut self, file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
        let chain = certificates(file, &self.read(file)?)?;
        if chain.len() > MAX_CHAIN {
            return Err(Error::content(file, format!("has more than {MAX_CHAIN} certificates")));
        }
        Ok(chain)
    }

    /// Reads a private key.
    pub(crate) fn key(&mut self, file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(&self.read(file)?).map_err(|_| {
            Error::content(
                file,
                "has no private key in PEM form (-----BEGIN PRIVATE KEY-----); an encrypted key must be decrypted \
                 first, with `openssl pkey -in FILE -out FILE`",
            )
        })
    }

    /// Reads the certificates of authorities.
    pub(crate) fn authorities(&mut self, file: &Path) -> Result<RootCertStore, Error> {
        trusted(file, &self.read(file)?)
    }

    pub(crate) fn fingerprint(self) -> Fingerprint {
        self.0.finalize().into()
    }
}

/// Reads a file of certificate authorities, checks it, and returns its content.
///
/// # Errors
/// If the file cannot be read, or has no usable certificate.
pub fn read_authorities(file: &Path) -> Result<Vec<u8>, Error> {
    let content = read(file)?;
    trusted(file, &content)?;
    Ok(content)
}

/// Reads the certificate and the key of a client, checks that they belong together, and returns their contents.
///
/// # Errors
/// If a file cannot be used, or the key is not that of the certificate.
pub fn read_certificate_and_key(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut reader = Reader::default();
    let (chain, key_der) = (reader.chain(certificate)?, reader.key(key)?);
    CertifiedKey::from_der(chain, key_der, &ring::default_provider()).map_err(|error| {
        let problem =
            format!("is not the key of the certificate {}, or not usable: {error}", certificate.display());
        Error::content(key, problem)
    })?;
    Ok((read(certificate)?, read(key)?))
}

fn trusted(file: &Path, content: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, content)? {
        let added = roots.add(certificate);
        added.map_err(|error| Error::content(file, format!("has an unusable certificate: {error}")))?;
    }
    Ok(roots)
}

fn certificates(file: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let found = found.map_err(|_| Error::content(file, "is not valid PEM"))?;
    if found.is_empty() {
        return Err(Error::content(file, "has no certificate in PEM form (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { file: file.display().to_string(), source };
    let mut content = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(Error::content(file, format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use test_certificates::Authority;

    use super::*;

    #[test]
    fn unusable_files_are_named_with_the_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file.pem");
        let chain = |content: &str| {
            std::fs::write(&file, content).unwrap();
            Reader::default().chain(&file).unwrap_err().to_string()
        };
        assert!(Reader::default().chain(&file).unwrap_err().to_string().contains("cannot be read"));
        assert!(chain("").contains("no certificate"));
        assert!(
            chain("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").contains("not valid PEM")
        );
        assert!(chain(&"x".repeat(1024 * 1024 + 1)).contains("larger than"));
        let authority = Authority::new("ca");
        assert!(chain(&authority.pem().repeat(MAX_CHAIN + 1)).contains("more than 10"));
        std::fs::write(&file, authority.pem()).unwrap();
        let error = Reader::default().key(&file).unwrap_err().to_string();
        assert!(error.contains("no private key") && error.contains("openssl pkey"), "{error}");
        assert_eq!(read_authorities(&file).unwrap(), authority.pem().into_bytes());
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(read_authorities(&file).unwrap_err().to_string().contains("unusable certificate"));
    }

    #[test]
    fn limits_are_documented() {
        limits_page::row(
            "file of certificates or of a key",
            &format!("{}; {MAX_CHAIN} certificates in a chain", limits_page::bytes(MAX_FILE_BYTES as usize)),
        );
    }
}
