//! The HTTP client of the commands that send requests to a process of this program.

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;
use rustls::Error as TlsError;

use crate::cli::CaArgs;
use crate::error::Error;

const ALPN: &[&[u8]] = &[b"http/1.1"];
/// The hint for a certificate that is not accepted.
pub(super) const TRUST_HINT: &str = "name the file of its authority with --ca (ORDERS_CA), and use a URL with a name of \
                                     the certificate";

/// When a request fails.
pub(super) enum Timeout {
    /// After this time.
    Total(Duration),
    /// After this time without a byte: a stream has no end.
    Silence(Duration),
}

/// The authorities that a client trusts.
pub(super) enum Trust {
    /// The authorities of the system.
    System,
    /// Those of a file.
    Authorities(Authorities),
    /// Any certificate: the process is on this machine, and the request has no secret.
    ThisMachine,
}

impl From<&CaArgs> for Trust {
    fn from(args: &CaArgs) -> Self {
        let of_flag = |file| Authorities { file, source: "--ca (ORDERS_CA)".to_owned() };
        args.ca.clone().map(of_flag).map_or(Self::System, Self::Authorities)
    }
}

/// A file with authorities.
pub(super) struct Authorities {
    pub(super) file: PathBuf,
    /// The setting that names the file, for errors.
    pub(super) source: String,
}

/// Creates a client without a proxy: gateways and processors are on the same network, and the environment's proxy is
/// for other hosts. It follows no redirect, which could lead a key to another host. `main` has installed the TLS
/// provider.
pub(super) fn http_client(timeout: Timeout, trust: &Trust) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
    let builder = match timeout {
        Timeout::Total(time) => builder.timeout(time),
        Timeout::Silence(time) => builder.connect_timeout(time).read_timeout(time),
    };
    let builder = builder.redirect(Policy::none());
    let builder = match trust {
        // reqwest's default configuration fails on systems without authorities, and `http` needs none.
        Trust::System => builder.tls_backend_preconfigured(
            tls::trusting_system(ALPN).unwrap_or_else(|_| tls::without_authorities()),
        ),
        Trust::ThisMachine => builder.tls_danger_accept_invalid_certs(true),
        Trust::Authorities(Authorities { file, source }) => {
            let invalid = |problem: String| Error::usage(format!("{source}: {problem}"));
            let content = tls::read_authorities(file).map_err(|error| invalid(error.to_string()))?;
            let authorities =
                Certificate::from_pem_bundle(&content).map_err(|error| invalid(error.to_string()))?;
            builder.tls_certs_only(authorities)
        }
    };
    builder.build().map_err(|error| Error::failed(format!("cannot create an HTTP client: {error}")))
}

/// Returns why the certificate of the server was not accepted, if this is the cause of an error.
pub(super) fn certificate_problem(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(TlsError::InvalidCertificate(problem)) = error.downcast_ref() {
            return Some(problem.to_string());
        }
        // The source of an I/O error is that of the error that it contains.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(contained) => Some(contained),
            None => error.source(),
        };
    }
    None
}
