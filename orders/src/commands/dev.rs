//! `orders dev`: a gateway, a processor and, if it is set up, e-mail in one process.
//!
//! They use gRPC over loopback, as on separate machines. Only the queue and the bus are in memory, unless Redis is
//! configured.

use std::convert::Infallible;
use std::sync::Arc;

use broker::{Bus, Queue, memory};
use domain::LeasePrefix;
use domain::transition::Rules;
use gateway::Store;
use gateway::access::Key;
use gateway::service::Setting;
use gateway::store::{Dialect, Error as StoreError};
use processor::OrderHandler;
use secrecy::SecretString;
use subscriber_email::EmailHandler;
use tls::{ALPN_GRPC, ClientTls};
use tokio_util::sync::CancellationToken;

use super::task::task_result;
use crate::banner::Banner;
use crate::cli::{DevArgs, Switch};
use crate::console;
use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::startup::PreparedGateway;
use crate::values::connect_address;

/// Runs until a signal comes. The processor and e-mail end first, so that their last calls find the gateway.
pub(super) async fn run(args: DevArgs, shown: Arc<[Setting]>) -> Result<(), Error> {
    let DevArgs { gateway: settings, work, email, shutdown_delay, process } = args;
    if settings.grpc_tls.grpc_client_ca.is_some() {
        let problem = "`orders dev` does not support --grpc-client-ca (ORDERS_GRPC_CLIENT_CA)";
        return Err(Error::usage(problem)
            .hint("its processor has no certificate: use `orders gateway` and `orders processor`"));
    }
    let mut config = settings.config(&shutdown_delay, &process)?;
    config.service.settings = shown;
    let local_worker = config.access.is_required().then(Key::generate);
    config.access.local_worker.clone_from(&local_worker);
    // A load test usually runs on the same machine.
    config.http.exempt_loopback = true;
    let mut secret_files = SecretFiles::default();
    let handler = work.order_handler(&mut secret_files)?;
    let email_handler = email.handler(&mut secret_files)?;
    if email_handler.is_some() && settings.store.events == Switch::Off {
        return Err(Error::usage("--smtp-url (ORDERS_SMTP_URL) is set, and --events (ORDERS_EVENTS) is off")
            .hint("e-mail is sent for the events of the event log: turn it on"));
    }
    let redis = settings.redis.client()?;
    if let Some(redis) = &redis {
        settings.redis.add_files(redis, &mut secret_files)?;
    }
    let Some(mut prepared) = PreparedGateway::new(&settings, config, secret_files).await? else {
        return Ok(());
    };
    let (queue, bus): (Arc<dyn Queue>, Arc<dyn Bus>) = match &redis {
        Some(redis) => prepared.connect_redis(redis, &settings).await?,
        None => {
            prepared.store.release_all_unstarted().await.map_err(|error| Error::failed(error.to_string()))?;
            (Arc::new(memory::MemoryQueue::new()), Arc::new(memory::MemoryBus::new()))
        }
    };

    let (store, shutdown) = (prepared.store.clone(), prepared.shutdown.clone());
    // The banner shows the real addresses; the processor connects over loopback.
    let (http_addr, grpc_addr, admin_addr) = (prepared.http_addr, prepared.grpc_addr, prepared.admin_addr);
    let access = prepared.config.access.clone();
    let gateway_addr = connect_address(grpc_addr);
    if handler.is_some() {
        prepared.config.service.lease_prefix = end_own_leases(&store, prepared.config.service.rules).await?;
    }
    let ports = prepared.config.tls.clone();
    let parts = prepared.into_parts(queue, bus).await;
    let gateway_shutdown = CancellationToken::new();
    let mut gateway = tokio::spawn(gateway::serve(parts, gateway_shutdown.clone().cancelled_owned()));
    let own_grpc =
        ports.grpc.clone().map(|port| ClientTls::trusting(port, "gateway_client", ALPN_GRPC)).transpose();
    let own_grpc = own_grpc.map_err(|error| Error::failed(error.to_string()))?;
    let scheme = if own_grpc.is_some() { "https" } else { "http" };
    let mut config = work.processor_config(vec![format!("{scheme}://{gateway_addr}")], &process);
    config.gateway_tls = own_grpc.map(Arc::new);
    config.token = local_worker.map(|key| SecretString::from(key.expose()));
    let subscriber = email_handler.map(|handler| {
        let mut of_email = email.config(&handler, config.gateway_urls.clone(), &process);
        (of_email.gateway_tls, of_email.token) = (config.gateway_tls.clone(), config.token.clone());
        (of_email, handler)
    });
    let email_task = tokio::spawn(send_email(subscriber, shutdown.clone()));
    let mut processor = tokio::spawn(process_orders(config, handler, shutdown.clone()));

    let banner = Banner {
        http: http_addr,
        grpc: grpc_addr,
        admin: admin_addr,
        needs_credential: access.is_required(),
        developer_tools: access.developer_tools,
        tls: [ports.http.is_some(), ports.grpc.is_some()],
        database: settings.database.url().to_string(),
        redis: settings.redis.url().map(ToString::to_string),
        handler: work.describe_handler(),
        email: email.server().map(ToString::to_string),
    };
    console::print(&banner.to_string())?;

    let result = tokio::select! {
        outcome = &mut processor => {
            shutdown.cancel();
            let email = task_result("e-mail", email_task.await);
            gateway_shutdown.cancel();
            let gateway = task_result("gateway", gateway.await);
            task_result("processor", outcome).and(email).and(gateway)
        }
        outcome = &mut gateway => {
            shutdown.cancel();
            let processor = task_result("processor", processor.await);
            let email = task_result("e-mail", email_task.await);
            task_result("gateway", outcome).and(processor).and(email)
        }
    };
    store.close().await;
    result
}

/// Processes orders until `shutdown`. Without a handler, other workers process them.
async fn process_orders(
    config: processor::Config,
    handler: Option<Arc<dyn OrderHandler>>,
    shutdown: CancellationToken,
) -> Result<(), processor::Error> {
    match handler {
        Some(handler) => processor::run(config, None, handler, shutdown.cancelled_owned()).await,
        None => {
            shutdown.cancelled().await;
            Ok(())
        }
    }
}

/// Sends e-mail until `shutdown`, if it is set up. Its failure does not end the program: orders are processed without it.
async fn send_email(
    email: Option<(subscriber::Config, Arc<EmailHandler>)>,
    shutdown: CancellationToken,
) -> Result<(), Infallible> {
    if let Some((config, handler)) = email
        && let Err(error) = subscriber::run(config, handler, shutdown.cancelled_owned()).await
    {
        tracing::error!(%error, "e-mail has ended, restart the program after its cause is removed");
    }
    Ok(())
}

/// Ends the attempts that were running when this program was killed, instead of waiting for the end of their leases.
/// Attempts of other workers have not ended with it, so it is not called without a handler.
///
/// Returns the prefix of the tokens that the gateway of this process draws. An SQLite file belongs to one process, so
/// this gateway is the only one with the prefix; a database server can have several.
async fn end_own_leases(store: &Store, rules: Rules) -> Result<Option<LeasePrefix>, Error> {
    if store.dialect() != Dialect::Sqlite {
        return Ok(None);
    }
    let ended = async {
        let prefix = store.installation().await?.lease_prefix();
        Ok::<_, StoreError>((prefix, store.end_leases(prefix, rules).await?))
    };
    let (prefix, orders) = ended.await.map_err(|error| Error::failed(error.to_string()))?;
    if orders > 0 {
        tracing::warn!(orders, "the program ended while it processed orders; they are retried or failed");
    }
    Ok(Some(prefix))
}
