//! `orders gateway`: one of any number of gateways on one database and one Redis.

use std::sync::Arc;

use gateway::service::Setting;

use crate::cli::GatewayArgs;
use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::startup::PreparedGateway;

/// Runs until a signal comes.
pub(super) async fn run(args: GatewayArgs, shown: Arc<[Setting]>) -> Result<(), Error> {
    let GatewayArgs { gateway: settings, shutdown_delay, process } = args;
    let mut config = settings.config(&shutdown_delay, &process)?;
    config.service.settings = shown;
    let redis = settings.redis.required_client()?;
    let mut secret_files = SecretFiles::default();
    settings.redis.add_files(&redis, &mut secret_files)?;
    let Some(mut prepared) = PreparedGateway::new(&settings, config, secret_files).await? else {
        return Ok(());
    };
    let (queue, bus) = prepared.connect_redis(&redis, &settings).await?;
    let (store, shutdown) = (prepared.store.clone(), prepared.shutdown.clone());
    let (http_addr, grpc_addr) = (prepared.http_addr, prepared.grpc_addr);
    let (https, grpc_tls) = (prepared.config.tls.http.is_some(), prepared.config.tls.grpc.is_some());
    let parts = prepared.into_parts(queue, bus).await;
    tracing::info!(
        http = %http_addr,
        grpc = %grpc_addr,
        https,
        grpc_tls,
        database = %settings.database.url(),
        "the gateway is ready"
    );
    let result = gateway::serve(parts, shutdown.cancelled_owned()).await;
    store.close().await;
    result.map_err(|error| Error::failed(format!("the gateway ended: {error}")))
}
