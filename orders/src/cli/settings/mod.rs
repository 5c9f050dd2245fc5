//! The settings, in the groups that the commands are composed of. The comment above a field is its `--help`.
//!
//! Each group also applies its settings to a configuration. A new setting changes two files: its group here, and the
//! configuration that it sets.

mod access;
mod addresses;
mod email;
mod jwt;
mod limits;
mod orders;
mod process;
mod storage;
mod tls;
mod token;
mod webhooks;
mod work;

use clap::Args;

use crate::error::Error;

pub(crate) use access::AccessArgs;
pub(crate) use addresses::{
    AdminArgs, DEFAULT_METRICS_ADDR, GatewayUrlArgs, GrpcArgs, HttpArgs, MetricsArgs,
};
pub(crate) use email::EmailArgs;
pub(crate) use jwt::JwtArgs;
pub(crate) use limits::LimitArgs;
pub(crate) use orders::RuleArgs;
pub(crate) use process::{LogArgs, ProcessArgs, ShutdownDelayArgs};
pub(crate) use storage::{
    BusArgs, DEFAULT_DATA_DIR, DatabaseArgs, MigrateMode, RedisArgs, StoreArgs, Switch, sqlite_file,
};
pub(crate) use tls::{CaArgs, GatewayTlsArgs, GrpcTlsArgs, HttpTlsArgs};
pub(crate) use token::{TOKEN_VARIABLE, TokenArgs, read_token_file};
pub(crate) use webhooks::WebhookArgs;
pub(crate) use work::{JobArgs, JobSource, WorkArgs};

/// The settings of a gateway, without its process.
#[derive(Debug, Args)]
pub(crate) struct GatewaySettings {
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    #[command(flatten)]
    pub(crate) grpc: GrpcArgs,
    #[command(flatten)]
    pub(crate) http_tls: HttpTlsArgs,
    #[command(flatten)]
    pub(crate) grpc_tls: GrpcTlsArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) jwt: JwtArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) redis: RedisArgs,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    #[command(flatten)]
    pub(crate) webhooks: WebhookArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

impl GatewaySettings {
    /// Returns the configuration of a gateway. Reads the certificates, the keys of the token issuer, and the
    /// file of trusted documents, if they are set.
    pub(crate) fn config(
        &self,
        delay: &ShutdownDelayArgs,
        process: &ProcessArgs,
    ) -> Result<gateway::Config, Error> {
        let mut config = gateway::Config {
            tls: tls::load(&self.http_tls, &self.grpc_tls)?,
            shutdown_delay: delay.shutdown_delay,
            shutdown_timeout: process.shutdown_timeout,
            ..gateway::Config::default()
        };
        config.service.host = work::host_name();
        self.rules.apply_to(&mut config)?;
        self.limits.apply_to(&mut config)?;
        self.grpc.apply_to(&mut config);
        self.access.apply_to(&mut config);
        self.webhooks.apply_to(&mut config, self.access.developer_tools());
        config.access.jwt = self.jwt.load(self.access.auth)?;
        config.graphql.introspection =
            self.limits.graphql_introspection.unwrap_or_else(|| self.access.developer_tools());
        Ok(config)
    }
}
