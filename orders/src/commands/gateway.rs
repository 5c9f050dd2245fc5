//! `orders gateway`: one of any number of gateways on one database and one Redis.

use std::sync::Arc;

use gateway::Parts;

use crate::cli::GatewayArgs;
use crate::error::Error;
use crate::{log, settings, signal, start};

/// Runs until a signal comes.
pub(super) async fn run(args: GatewayArgs) -> Result<(), Error> {
    let mut config = settings::gateway(&args.rules, &args.limits, &args.process)?;
    let redis = settings::redis_required(&args.redis)?;
    log::install(args.process.log.log_format)?;
    gateway::metrics::install();
    let bus_secret = settings::bus_secret(&args.bus)?;
    config.http.connections = start::connections(config.http.connections);
    config.grpc.tokenless_reports = args.grpc.allow_tokenless_reports;
    config.shutdown_delay = args.leave.shutdown_delay;
    let shutdown = signal::shutdown()?;

    let http = start::bind(&args.http.http_addr, "--http-addr (ORDERS_HTTP_ADDR)").await?;
    let grpc = start::bind(&args.grpc.grpc_addr, "--grpc-addr (ORDERS_GRPC_ADDR)").await?;
    let (http_addr, grpc_addr) = (start::address(&http)?, start::address(&grpc)?);
    let starting = start::answer(&http, &config.http)?;
    let Some(store) = start::database(&args.database, &args.store, &shutdown).await? else { return Ok(()) };
    start::redis(&redis, "orders are accepted and processed later", &shutdown).await?;

    let key = settings::bus_key(bus_secret.as_deref(), &store).await?;
    let (queue, bus) = (Arc::new(redis.queue()), Arc::new(redis.bus(key)));
    starting.end().await;
    tracing::info!(
        http = %http_addr,
        grpc = %grpc_addr,
        database = %settings::database(&args.database),
        "the gateway is ready"
    );
    let parts = Parts { config, store: store.clone(), queue, bus, http, grpc };
    let result = gateway::serve(parts, shutdown.cancelled_owned()).await;
    store.close().await;
    result.map_err(|error| Error::failed(format!("the gateway ended: {error}")))
}
