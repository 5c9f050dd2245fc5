//! Certificates for tests: an authority that exists in memory, and the certificates that it issues.

#![allow(clippy::unwrap_used, reason = "a test fails without its certificates")]

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A private certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    /// Creates an authority with this name.
    ///
    /// # Panics
    /// If no key can be generated.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Returns its certificate in PEM form.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Issues a certificate with a new key.
    ///
    /// # Panics
    /// If a name of the leaf is invalid.
    pub fn issue(&self, leaf: &Leaf) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.0.clone().signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key }
    }
}

/// The content of a certificate of a server or a client.
#[derive(Clone)]
pub struct Leaf(CertificateParams);

impl Leaf {
    /// A server with the names `localhost` and `127.0.0.1`.
    ///
    /// # Panics
    /// Never.
    pub fn server() -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        Self(params)
    }

    /// A client with this common name; none if it is empty.
    pub fn client(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        Self(params)
    }

    /// Makes it usable for a client as well.
    #[must_use]
    pub fn also_client(mut self) -> Self {
        self.0.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        self
    }

    /// Adds a DNS name.
    ///
    /// # Panics
    /// If it is not ASCII.
    #[must_use]
    pub fn dns_name(mut self, name: &str) -> Self {
        self.0.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
        self
    }

    /// Adds a URI.
    ///
    /// # Panics
    /// If it is not ASCII.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        self.0.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        self
    }

    /// Lets the validity end after this number of seconds.
    #[must_use]
    pub fn valid_for(mut self, seconds: i64) -> Self {
        self.0.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        self
    }

    /// Sets the end of validity (RFC 3339).
    ///
    /// # Panics
    /// If it is not a time.
    #[must_use]
    pub fn valid_until(mut self, time: &str) -> Self {
        self.0.not_after = OffsetDateTime::parse(time, &Rfc3339).unwrap();
        self
    }
}

/// A certificate with its key.
pub struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

impl Issued {
    /// Returns the certificate in DER form.
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// Returns the certificate in PEM form.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Returns the key in PEM form.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes `NAME.crt` and `NAME.key` into a folder, and returns their paths.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, self.pem()).unwrap();
        std::fs::write(&key, self.key_pem()).unwrap();
        (certificate, key)
    }
}
