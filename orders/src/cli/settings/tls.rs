//! Certificates of the ports, and the authorities that clients trust.

use std::path::PathBuf;

use clap::Args;
use tls::{ALPN_GRPC, ALPN_HTTP, ClientFiles, ClientTls, ServerFiles, ServerTls};
use url::Url;

use crate::error::Error;

/// The certificate of the HTTP port.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct HttpTlsArgs {
    /// File with a certificate and its chain (PEM) for both ports: the HTTP port serves HTTPS, and the gRPC port
    /// requires TLS. Read again on change and on SIGHUP [default: no TLS]
    #[arg(long, env = "ORDERS_TLS_CERT", hide_env_values = true, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// File with the private key of --tls-cert (PEM)
    #[arg(long, env = "ORDERS_TLS_KEY", hide_env_values = true, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// The certificate of the gRPC port.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct GrpcTlsArgs {
    /// File with another certificate for the gRPC port (PEM) [default: that of --tls-cert]
    #[arg(long, env = "ORDERS_GRPC_TLS_CERT", hide_env_values = true, value_name = "FILE")]
    pub(crate) grpc_tls_cert: Option<PathBuf>,
    /// File with the private key of --grpc-tls-cert (PEM)
    #[arg(long, env = "ORDERS_GRPC_TLS_KEY", hide_env_values = true, value_name = "FILE")]
    pub(crate) grpc_tls_key: Option<PathBuf>,
    /// File with certificate authorities (PEM). The gRPC port accepts only clients with a certificate of one of them;
    /// it needs a certificate itself, and `orders dev` does not support it [default: none]
    #[arg(long, env = "ORDERS_GRPC_CLIENT_CA", hide_env_values = true, value_name = "FILE")]
    pub(crate) grpc_client_ca: Option<PathBuf>,
}

/// The files of both ports; a port without files has no TLS.
#[derive(Debug, PartialEq, Eq)]
struct PortFiles {
    http: Option<ServerFiles>,
    grpc: Option<ServerFiles>,
}

const HTTP_SETTINGS: &str = "--tls-cert (ORDERS_TLS_CERT) and --tls-key (ORDERS_TLS_KEY)";
const GRPC_SETTINGS: &str = "--grpc-tls-cert (ORDERS_GRPC_TLS_CERT) and --grpc-tls-key (ORDERS_GRPC_TLS_KEY)";

impl HttpTlsArgs {
    /// Checks whether the HTTP port serves HTTPS.
    pub(crate) fn is_on(&self) -> bool {
        self.tls_cert.is_some()
    }
}

/// Reads the certificates of both ports.
pub(super) fn load(http: &HttpTlsArgs, grpc: &GrpcTlsArgs) -> Result<gateway::PortCertificates, Error> {
    let files = port_files(http, grpc)?;
    let load = |name, files: Option<ServerFiles>, protocols, settings: &str| {
        let loaded = files.map(|files| ServerTls::load(name, files, protocols)).transpose();
        let loaded = loaded.map_err(|error| {
            Error::usage(error.to_string()).hint(format!("the files are those of {settings}"))
        })?;
        Ok::<_, Error>(loaded.map(Into::into))
    };
    let grpc_settings = if grpc.grpc_tls_cert.is_some() { GRPC_SETTINGS } else { HTTP_SETTINGS };
    let grpc_settings = format!("{grpc_settings}, and --grpc-client-ca (ORDERS_GRPC_CLIENT_CA)");
    Ok(gateway::PortCertificates {
        http: load("http", files.http, ALPN_HTTP, HTTP_SETTINGS)?,
        grpc: load("grpc", files.grpc, ALPN_GRPC, &grpc_settings)?,
    })
}

fn port_files(http: &HttpTlsArgs, grpc: &GrpcTlsArgs) -> Result<PortFiles, Error> {
    let pair = |certificate: &Option<PathBuf>, key: &Option<PathBuf>, settings: &str| match (
        certificate.clone(),
        key.clone(),
    ) {
        (Some(certificate), Some(key)) => Ok(Some(ServerFiles { certificate, key, client_ca: None })),
        (None, None) => Ok(None),
        _ => Err(Error::usage(format!("one of {settings} is not set")).hint("set both, or none")),
    };
    let http = pair(&http.tls_cert, &http.tls_key, HTTP_SETTINGS)?;
    let own = pair(&grpc.grpc_tls_cert, &grpc.grpc_tls_key, GRPC_SETTINGS)?;
    let files = own.or_else(|| http.clone());
    let grpc = match (files, &grpc.grpc_client_ca) {
        (None, Some(_)) => {
            let problem =
                "--grpc-client-ca (ORDERS_GRPC_CLIENT_CA) is set, and the gRPC port has no certificate";
            return Err(Error::usage(problem).hint(format!("set {HTTP_SETTINGS}, or {GRPC_SETTINGS}")));
        }
        (files, client_ca) => files.map(|files| ServerFiles { client_ca: client_ca.clone(), ..files }),
    };
    Ok(PortFiles { http, grpc })
}

/// The authorities that a processor trusts, and its certificate.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct GatewayTlsArgs {
    /// File with the certificate authorities of https gateways (PEM), in place of those of the system. Read again on
    /// change and on SIGHUP [default: those of the system, or of SSL_CERT_FILE]
    #[arg(long, env = "ORDERS_GATEWAY_CA", hide_env_values = true, value_name = "FILE")]
    pub(crate) gateway_ca: Option<PathBuf>,
    /// File with the client certificate for https gateways (PEM). Read again on change and on SIGHUP [default: none]
    #[arg(long, env = "ORDERS_GATEWAY_CLIENT_CERT", hide_env_values = true, value_name = "FILE")]
    pub(crate) gateway_client_cert: Option<PathBuf>,
    /// File with the private key of --gateway-client-cert (PEM)
    #[arg(long, env = "ORDERS_GATEWAY_CLIENT_KEY", hide_env_values = true, value_name = "FILE")]
    pub(crate) gateway_client_key: Option<PathBuf>,
}

impl GatewayTlsArgs {
    /// Reads the files of a processor; `None` if none of its gateways has an https URL.
    pub(crate) fn load(&self, urls: &[Url]) -> Result<Option<ClientTls>, Error> {
        const SETTINGS: &str = "--gateway-client-cert (ORDERS_GATEWAY_CLIENT_CERT) and --gateway-client-key \
                                (ORDERS_GATEWAY_CLIENT_KEY)";
        let certificate_and_key = match (self.gateway_client_cert.clone(), self.gateway_client_key.clone()) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err(Error::usage(format!("one of {SETTINGS} is not set")).hint("set both, or none")),
        };
        if !urls.iter().any(|url| url.scheme() == "https") {
            let is_set = self.gateway_ca.is_some() || certificate_and_key.is_some();
            let problem = "--gateway-ca or --gateway-client-cert is set, and no gateway has an https URL";
            return if is_set {
                Err(Error::usage(problem).hint("write https:// in --gateway-url (ORDERS_GATEWAY_URL)"))
            } else {
                Ok(None)
            };
        }
        let files = ClientFiles { ca: self.gateway_ca.clone(), certificate_and_key };
        let loaded = ClientTls::load("gateway_client", files, ALPN_GRPC);
        loaded.map(Some).map_err(|error| {
            let hint = format!("the files are those of --gateway-ca (ORDERS_GATEWAY_CA), {SETTINGS}");
            Error::usage(error.to_string()).hint(hint)
        })
    }
}

/// The authorities that a command trusts.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct CaArgs {
    /// File with the certificate authorities of an https gateway (PEM), in place of those of the system
    #[arg(long, env = "ORDERS_CA", hide_env_values = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(http: [&str; 2], grpc: [&str; 3]) -> Result<PortFiles, Error> {
        let path = |name: &str| (!name.is_empty()).then(|| PathBuf::from(name));
        let [tls_cert, tls_key] = http.map(path);
        let [grpc_tls_cert, grpc_tls_key, grpc_client_ca] = grpc.map(path);
        let grpc = GrpcTlsArgs { grpc_tls_cert, grpc_tls_key, grpc_client_ca };
        port_files(&HttpTlsArgs { tls_cert, tls_key }, &grpc)
    }

    fn port(certificate: &str, key: &str, ca: &str) -> Option<ServerFiles> {
        let client_ca = (!ca.is_empty()).then(|| ca.into());
        Some(ServerFiles { certificate: certificate.into(), key: key.into(), client_ca })
    }

    #[test]
    fn grpc_port_has_the_certificate_of_both_unless_it_has_another_one() {
        for (http, grpc, expected) in [
            (["", ""], ["", "", ""], [None, None]),
            (["a", "b"], ["", "", ""], [port("a", "b", ""), port("a", "b", "")]),
            (["a", "b"], ["c", "d", "e"], [port("a", "b", ""), port("c", "d", "e")]),
            (["", ""], ["c", "d", ""], [None, port("c", "d", "")]),
        ] {
            let [http_files, grpc_files] = expected;
            assert_eq!(files(http, grpc).unwrap(), PortFiles { http: http_files, grpc: grpc_files });
        }
    }

    #[test]
    fn incomplete_settings_are_errors() {
        for (http, grpc, named) in [
            (["a", ""], ["", "", ""], "--tls-key"),
            (["", "b"], ["", "", ""], "--tls-cert"),
            (["a", "b"], ["c", "", ""], "--grpc-tls-key"),
            (["", ""], ["", "", "e"], "--grpc-client-ca"),
        ] {
            assert!(files(http, grpc).unwrap_err().to_string().contains(named), "{http:?} {grpc:?}");
        }
    }
}
