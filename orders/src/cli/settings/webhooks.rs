use std::time::Duration;

use clap::Args;
use gateway::webhooks::{AllowedNetworks, SecretKeys};

use crate::values::{self, InFile};

/// The settings of webhook endpoints.
#[derive(Debug, Args)]
#[command(next_help_heading = "Webhooks")]
pub(crate) struct WebhookArgs {
    /// File with the keys that encrypt the secrets of webhook endpoints, the same for all gateways: lines of 32 random bytes
    /// in base64. The first encrypts, all decrypt. Read again on change and on SIGHUP [default: with SQLite a file beside the
    /// database, which is created; otherwise none, and no endpoint can be created]
    #[arg(
        long,
        env = "ORDERS_SECRET_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = values::in_file(values::secret_keys)
    )]
    pub(crate) secret_key_file: Option<InFile<SecretKeys>>,
    /// Networks that webhook endpoints may be in although they are not public, such as 10.0.0.0/8, separated by commas. They
    /// permit http:// as well [default: none; with --developer-tools 127.0.0.0/8 and ::1]
    #[arg(long, env = "ORDERS_WEBHOOK_ALLOW_NETWORKS", value_name = "NETWORKS")]
    pub(crate) webhook_allow_networks: Option<AllowedNetworks>,
    /// Maximum time of a request to a webhook endpoint. Another gateway delivers 10s and twice this time after a gateway that
    /// delivered was killed
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_REQUEST_TIMEOUT",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = values::duration(Duration::from_secs(1), Duration::from_secs(30)),
    )]
    pub(crate) webhook_request_timeout: Duration,
}

/// The networks of a developer's receivers.
const LOOPBACK: &str = "127.0.0.0/8,::1";

impl WebhookArgs {
    pub(crate) fn apply_to(&self, config: &mut gateway::Config, developer_tools: bool) {
        let config = &mut config.webhooks;
        if let Some(file) = &self.secret_key_file {
            config.secret_keys = file.value.clone();
        }
        let default = || {
            if developer_tools { LOOPBACK.parse().unwrap_or_default() } else { AllowedNetworks::default() }
        };
        config.request_timeout = self.webhook_request_timeout;
        config.allowed_networks = self.webhook_allow_networks.clone().unwrap_or_else(default);
    }
}
