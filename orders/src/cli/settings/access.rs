//! The settings of access control.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::error::Error;
use crate::values::{self, AuthMode};

/// The settings of access control.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Credentials that callers need: off accepts every request, and is refused on an address that other machines can
    /// reach; keys requires API keys of `orders keys create`, jwt tokens of --jwt-issuer, and keys,jwt one of both
    #[arg(
        long,
        env = "ORDERS_AUTH",
        hide_env_values = true,
        value_name = "MODE",
        value_parser = values::auth_mode,
        default_value = "off"
    )]
    pub(crate) auth: AuthMode,
    /// Accept every request also on an address that other machines can reach: on or off
    #[arg(
        long,
        env = "ORDERS_INSECURE_ALLOW_ANONYMOUS",
        hide_env_values = true,
        value_name = "SWITCH",
        value_parser = values::switch(),
        action = ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "on",
        default_value = "off"
    )]
    pub(crate) insecure_allow_anonymous: bool,
    /// Serve the REST reference, GraphiQL, Playground, introspection and gRPC reflection without a credential: on or
    /// off [default: on with --auth off, otherwise off]
    #[arg(
        long,
        env = "ORDERS_DEVELOPER_TOOLS",
        hide_env_values = true,
        value_name = "SWITCH",
        value_parser = values::switch(),
        num_args = 0..=1,
        default_missing_value = "on"
    )]
    pub(crate) developer_tools: Option<bool>,
    /// File with the first admin key, used only while no key exists; it is created if it does not exist
    #[arg(long, env = "ORDERS_BOOTSTRAP_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) bootstrap_key_file: Option<PathBuf>,
    /// File with the first key of processors, as --bootstrap-key-file
    #[arg(long, env = "ORDERS_BOOTSTRAP_WORKER_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) bootstrap_worker_key_file: Option<PathBuf>,
}

impl AccessArgs {
    /// Applies the settings to the configuration of a gateway.
    pub(super) fn apply_to(&self, config: &mut gateway::Config) {
        config.access.keys = self.auth.keys;
        config.access.developer_tools = self.developer_tools();
    }

    /// Returns whether the tools for developers are served.
    pub(super) fn developer_tools(&self) -> bool {
        self.developer_tools.unwrap_or(self.auth == AuthMode::OFF)
    }

    /// Refuses to serve other machines without authentication.
    pub(crate) fn check_exposure<'a>(
        &self,
        listeners: impl IntoIterator<Item = (&'a str, SocketAddr)>,
    ) -> Result<(), Error> {
        if self.auth != AuthMode::OFF || self.insecure_allow_anonymous {
            return Ok(());
        }
        let exposed = listeners.into_iter().find(|(_, addr)| !addr.ip().to_canonical().is_loopback());
        let Some((setting, addr)) = exposed else { return Ok(()) };
        Err(Error::usage(format!(
            "{setting} is {addr}, which other machines can reach, and --auth (ORDERS_AUTH) is off: create a key with \
             `orders keys create` and start with --auth keys, accept tokens of an issuer with --auth jwt, or accept every \
             request with --insecure-allow-anonymous (ORDERS_INSECURE_ALLOW_ANONYMOUS)"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_open_without_authentication() {
        let access = |auth, insecure_allow_anonymous| AccessArgs {
            auth,
            insecure_allow_anonymous,
            developer_tools: None,
            bootstrap_key_file: None,
            bootstrap_worker_key_file: None,
        };
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        let local = ("--http-addr (ORDERS_HTTP_ADDR)", addr("127.0.0.1:3000"));
        for exposed in ["0.0.0.0:50051", "[::]:50051", "192.0.2.7:50051", "[::ffff:192.0.2.7]:50051"] {
            let listeners = [local, ("--grpc-addr (ORDERS_GRPC_ADDR)", addr(exposed))];
            let error = access(AuthMode::OFF, false).check_exposure(listeners).unwrap_err().to_string();
            assert!(
                error.contains("--grpc-addr (ORDERS_GRPC_ADDR) is ") && error.contains(exposed),
                "{error}"
            );
            assert!(access(AuthMode { keys: true, jwt: false }, false).check_exposure(listeners).is_ok());
            assert!(access(AuthMode::OFF, true).check_exposure(listeners).is_ok());
        }
        assert!(
            access(AuthMode { keys: false, jwt: true }, false)
                .check_exposure([local, ("x", addr("0.0.0.0:1"))])
                .is_ok()
        );
        for loopback in ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(access(AuthMode::OFF, false).check_exposure([local, ("x", addr(loopback))]).is_ok());
        }
    }
}
