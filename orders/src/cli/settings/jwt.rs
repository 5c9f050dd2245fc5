//! The tokens that a gateway accepts, and where the keys of their issuer are.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgAction, Args};
use gateway::access::{Algorithm, Claim, JwtConfig, KeyLocation, check_key_file};
use tls::{ClientFiles, ClientTls};
use tokio::sync::watch;
use url::Url;

use crate::error::Error;
use crate::values::{self, AuthMode};

/// The only protocol of the requests to an issuer.
const ALPN: &[&[u8]] = &[b"http/1.1"];

/// The tokens that a gateway accepts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct JwtArgs {
    /// Issuer of the tokens for --auth jwt, as their claim iss has it. Without --jwt-jwks-url and --jwt-jwks-file it is
    /// an https URL, and its /.well-known/openid-configuration names the keys
    #[arg(long, env = "ORDERS_JWT_ISSUER", hide_env_values = true, value_name = "ISSUER", value_parser = values::issuer)]
    pub(crate) jwt_issuer: Option<String>,
    /// Accepted audience: a token needs it in its claim aud; repeat the flag or separate several with commas
    #[arg(
        long,
        env = "ORDERS_JWT_AUDIENCE",
        hide_env_values = true,
        value_name = "AUDIENCE",
        value_delimiter = ',',
        value_parser = values::audience
    )]
    pub(crate) jwt_audience: Vec<String>,
    /// URL of the issuer's keys (JWK set): https, or http on a loopback address
    #[arg(long, env = "ORDERS_JWT_JWKS_URL", hide_env_values = true, value_name = "URL", value_parser = values::key_url)]
    pub(crate) jwt_jwks_url: Option<Url>,
    /// File with the issuer's keys (JWK set). Read again on change and on SIGHUP
    #[arg(long, env = "ORDERS_JWT_JWKS_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) jwt_jwks_file: Option<PathBuf>,
    /// File with the certificate authorities of the issuer (PEM), in place of those of the system. Read again with
    /// the keys [default: those of the system, or of SSL_CERT_FILE]
    #[arg(long, env = "ORDERS_JWT_CA", hide_env_values = true, value_name = "FILE")]
    pub(crate) jwt_ca: Option<PathBuf>,
    /// Accepted algorithms of signatures, some of RS256, ES256 and EdDSA; separate several with commas
    #[arg(
        long,
        env = "ORDERS_JWT_ALGORITHMS",
        hide_env_values = true,
        value_name = "ALGORITHMS",
        value_delimiter = ',',
        value_parser = values::algorithm,
        default_value = "RS256,ES256,EdDSA"
    )]
    pub(crate) jwt_algorithms: Vec<Algorithm>,
    /// Claim with the id of the tenant: a name, or a JSON pointer such as /app/tenant
    #[arg(
        long,
        env = "ORDERS_JWT_TENANT_CLAIM",
        hide_env_values = true,
        value_name = "CLAIM",
        value_parser = values::claim,
        default_value = "tenant"
    )]
    pub(crate) jwt_tenant_claim: Claim,
    /// Claim with the scopes and roles, a string or an array: a name, or a JSON pointer such as /realm_access/roles
    #[arg(
        long,
        env = "ORDERS_JWT_SCOPE_CLAIM",
        hide_env_values = true,
        value_name = "CLAIM",
        value_parser = values::claim,
        default_value = "scope"
    )]
    pub(crate) jwt_scope_claim: Claim,
    /// Let a token whose tenant is * act for all tenants: on or off
    #[arg(
        long,
        env = "ORDERS_JWT_ALLOW_ALL_TENANTS",
        hide_env_values = true,
        value_name = "SWITCH",
        value_parser = values::switch(),
        action = ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "on",
        default_value = "off"
    )]
    pub(crate) jwt_allow_all_tenants: bool,
}

impl JwtArgs {
    /// Returns which tokens a gateway accepts, and reads the files once. `None` if it accepts none.
    pub(super) fn load(&self, auth: AuthMode) -> Result<Option<JwtConfig>, Error> {
        if !auth.jwt {
            return match self.first_set() {
                Some(setting) => {
                    Err(Error::usage(format!("{setting} is set, and --auth (ORDERS_AUTH) is {auth}"))
                        .hint("add jwt, as in --auth keys,jwt, or remove the setting"))
                }
                None => Ok(None),
            };
        }
        let Some(issuer) = self.jwt_issuer.clone() else {
            return Err(Error::usage(format!(
                "--auth (ORDERS_AUTH) is {auth}, and --jwt-issuer (ORDERS_JWT_ISSUER) is not set"
            ))
            .hint("set it to the claim iss of the tokens, such as https://issuer.example"));
        };
        if self.jwt_audience.is_empty() {
            return Err(Error::usage(format!("--auth (ORDERS_AUTH) is {auth}, and --jwt-audience (ORDERS_JWT_AUDIENCE) is not set"))
                .hint("set it to the claim aud of tokens for this gateway: the issuer signs tokens for other programs as well"));
        }
        let keys = self.keys(&issuer)?;
        Ok(Some(JwtConfig {
            issuer,
            audiences: self.jwt_audience.clone(),
            algorithms: self.jwt_algorithms.clone(),
            tenant_claim: self.jwt_tenant_claim.clone(),
            scope_claim: self.jwt_scope_claim.clone(),
            all_tenants: self.jwt_allow_all_tenants,
            tls: self.tls(&keys)?.map(Arc::new),
            keys,
            reload: watch::channel(()).1,
        }))
    }

    /// Returns the first setting that only tokens need.
    fn first_set(&self) -> Option<&'static str> {
        [
            (self.jwt_issuer.is_some(), "--jwt-issuer (ORDERS_JWT_ISSUER)"),
            (!self.jwt_audience.is_empty(), "--jwt-audience (ORDERS_JWT_AUDIENCE)"),
            (self.jwt_jwks_url.is_some(), URL_SETTING),
            (self.jwt_jwks_file.is_some(), FILE_SETTING),
            (self.jwt_ca.is_some(), CA_SETTING),
            (self.jwt_allow_all_tenants, "--jwt-allow-all-tenants (ORDERS_JWT_ALLOW_ALL_TENANTS)"),
        ]
        .into_iter()
        .find_map(|(is_set, setting)| is_set.then_some(setting))
    }

    fn keys(&self, issuer: &str) -> Result<KeyLocation, Error> {
        match (&self.jwt_jwks_url, &self.jwt_jwks_file) {
            (Some(_), Some(_)) => Err(Error::usage(format!("{URL_SETTING} and {FILE_SETTING} are both set"))
                .hint("remove one of them")),
            (Some(url), None) => Ok(KeyLocation::Url(url.clone())),
            (None, Some(file)) => match check_key_file(file, &self.jwt_algorithms) {
                Ok(()) => Ok(KeyLocation::File(file.clone())),
                Err(problem) => Err(Error::usage(format!(
                    "{FILE_SETTING} is {:?}: {problem}",
                    file.display().to_string()
                ))
                .hint("give a file with the public keys of the issuer: {\"keys\": […]}")),
            },
            (None, None) => KeyLocation::discovery(issuer).map_err(|error| {
                Error::usage(format!(
                    "--jwt-issuer (ORDERS_JWT_ISSUER) does not lead to the keys of the issuer: {error}"
                ))
                .hint(format!("set {URL_SETTING} or {FILE_SETTING}"))
            }),
        }
    }

    fn tls(&self, keys: &KeyLocation) -> Result<Option<ClientTls>, Error> {
        if !keys.uses_tls() {
            return match &self.jwt_ca {
                Some(_) => Err(Error::usage(format!(
                    "{CA_SETTING} is set, and the keys of the issuer have no https URL"
                ))
                .hint("remove the setting")),
                None => Ok(None),
            };
        }
        let files = ClientFiles { ca: self.jwt_ca.clone(), certificate_and_key: None };
        ClientTls::load("jwt_issuer", files, ALPN)
            .map(Some)
            .map_err(|error| Error::usage(error.to_string()).hint(format!("the setting is {CA_SETTING}")))
    }
}

const URL_SETTING: &str = "--jwt-jwks-url (ORDERS_JWT_JWKS_URL)";
const FILE_SETTING: &str = "--jwt-jwks-file (ORDERS_JWT_JWKS_FILE)";
const CA_SETTING: &str = "--jwt-ca (ORDERS_JWT_CA)";
