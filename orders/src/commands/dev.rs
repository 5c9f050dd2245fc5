//! `orders dev`: a gateway and a processor in one process. They talk gRPC over loopback as they
//! would between machines; only the queue and the bus are in memory, unless Redis is configured.

use std::sync::Arc;

use broker::{Bus, Queue, memory};
use domain::LeasePrefix;
use domain::transition::Rules;
use gateway::store::{Dialect, Error as StoreError};
use gateway::{Parts, Store};
use tokio_util::sync::CancellationToken;

use super::task::task_result;
use crate::banner::Banner;
use crate::cli::{DevArgs, Handler, WorkArgs};
use crate::error::Error;
use crate::values::{connect_address, show_duration};
use crate::{console, log, settings, signal, start};

/// Runs until a signal comes. The processor ends first, so that its last reports find the gateway.
pub(super) async fn run(args: DevArgs) -> Result<(), Error> {
    let mut config = settings::gateway(&args.rules, &args.limits, &args.process)?;
    let handler = settings::handler(&args.work)?;
    let redis = settings::redis(&args.redis)?;
    log::install(args.process.log.log_format)?;
    gateway::metrics::install();
    let bus_secret = settings::bus_secret(&args.bus)?;
    config.http.connections = start::connections(config.http.connections);
    // A load test usually runs on the same machine.
    config.http.exempt_loopback = true;
    config.grpc.tokenless_reports = args.grpc.allow_tokenless_reports;
    config.shutdown_delay = args.leave.shutdown_delay;
    let shutdown = signal::shutdown()?;

    let http = start::bind(&args.http.http_addr, "--http-addr (ORDERS_HTTP_ADDR)").await?;
    let grpc = start::bind(&args.grpc.grpc_addr, "--grpc-addr (ORDERS_GRPC_ADDR)").await?;
    let (http_addr, grpc_addr) = (start::address(&http)?, start::address(&grpc)?);
    let starting = start::answer(&http, &config.http)?;
    let Some(store) = start::database(&args.database, &args.store, &shutdown).await? else { return Ok(()) };
    let (queue, bus): (Arc<dyn Queue>, Arc<dyn Bus>) = match &redis {
        Some(redis) => {
            start::redis(redis, "orders are accepted and processed later", &shutdown).await?;
            let key = settings::bus_key(bus_secret.as_deref(), &store).await?;
            (Arc::new(redis.queue()), Arc::new(redis.bus(key)))
        }
        None => {
            store.drop_guards().await.map_err(|error| Error::failed(error.to_string()))?;
            (Arc::new(memory::MemoryQueue::new()), Arc::new(memory::MemoryBus::new()))
        }
    };

    let lease_prefix = end_own_leases(&store, config.service.rules).await?;
    starting.end().await;
    let parts = Parts { config, store: store.clone(), queue: queue.clone(), bus, http, grpc };
    let gateway_shutdown = CancellationToken::new();
    let mut gateway = tokio::spawn(gateway::serve(parts, gateway_shutdown.clone().cancelled_owned()));
    let gateway_url = format!("http://{}", connect_address(grpc_addr));
    let mut config = settings::processor(&args.work, vec![gateway_url], &args.process);
    config.lease_prefix = lease_prefix;
    let mut processor =
        tokio::spawn(processor::run(config, queue, handler, shutdown.clone().cancelled_owned()));

    let banner = Banner {
        http: connect_address(http_addr),
        grpc: connect_address(grpc_addr),
        database: settings::database(&args.database).to_string(),
        redis: args.redis.redis_url.as_ref().map(ToString::to_string),
        handler: describe(&args.work),
    };
    console::print(&banner.to_string())?;

    let result = tokio::select! {
        outcome = &mut processor => {
            gateway_shutdown.cancel();
            let gateway = task_result("gateway", gateway.await);
            task_result("processor", outcome).and(gateway)
        }
        outcome = &mut gateway => {
            shutdown.cancel();
            let processor = task_result("processor", processor.await);
            task_result("gateway", outcome).and(processor)
        }
    };
    store.close().await;
    result
}

/// Ends the attempts that this program was at when it was killed, instead of waiting for the end of their leases. A file
/// belongs to one process, so its processor is the only one that draws tokens with the prefix, which it returns; a server may
/// have several. Leases of other workers, over gRPC, have no mark and stay.
async fn end_own_leases(store: &Store, rules: Rules) -> Result<Option<LeasePrefix>, Error> {
    if store.dialect() != Dialect::Sqlite {
        return Ok(None);
    }
    let ended = async {
        let mark = store.installation().await?.lease_prefix();
        Ok::<_, StoreError>((mark, store.end_leases(mark, rules).await?))
    };
    let (mark, orders) = ended.await.map_err(|error| Error::failed(error.to_string()))?;
    if orders > 0 {
        tracing::warn!(orders, "the program ended while it processed orders; they are retried or failed");
    }
    Ok(Some(mark))
}

fn describe(work: &WorkArgs) -> String {
    match (work.handler, &work.webhook_url) {
        (Handler::Webhook, Some(url)) => format!("webhook: posts each order to {url}"),
        (Handler::Webhook, None) => "webhook".to_owned(),
        (Handler::Simulate, _) => {
            let (min, max) = (show_duration(work.simulate_min_delay), show_duration(work.simulate_max_delay));
            format!("simulate: completes each order after {min} to {max}")
        }
    }
}
