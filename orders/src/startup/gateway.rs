//! The start of a gateway, which `orders gateway` and `orders dev` share.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use broker::redis::{BusKey, Redis};
use broker::{Bus, Queue};
use gateway::store::Dialect;
use gateway::{Parts, Starting, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::bootstrap::create_first_keys;
use super::certificates::keep_ports_current;
use super::database::wait_for_database;
use super::listeners::{bind, local_address, raise_connection_limit};
use super::redis::check_redis;
use super::secret_keys;
use crate::cli::GatewaySettings;
use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::signal;
use crate::values::{BusSecrets, DatabaseUrl, InFile};

/// The setting of the admin server, for errors.
const ADMIN_ADDR: &str = "--admin-addr (ORDERS_ADMIN_ADDR)";

/// A gateway with its ports and its database, before it serves.
pub(crate) struct PreparedGateway {
    pub(crate) config: gateway::Config,
    pub(crate) store: Store,
    pub(crate) http_addr: SocketAddr,
    pub(crate) grpc_addr: SocketAddr,
    pub(crate) admin_addr: Option<SocketAddr>,
    /// Is cancelled by the first signal.
    pub(crate) shutdown: CancellationToken,
    bus_secrets: Option<InFile<BusSecrets>>,
    secret_files: SecretFiles,
    /// The requests to read `secret_files` again.
    requests: Option<watch::Receiver<()>>,
    http: TcpListener,
    grpc: TcpListener,
    admin: Option<TcpListener>,
    starting: Vec<Starting>,
}

impl PreparedGateway {
    /// Starts the metrics, takes the ports, and opens the database. `None` if a signal comes first.
    /// From [`Self::into_parts`] on, `secret_files` are kept current, and so are the files of `settings`.
    ///
    /// The HTTP port and the admin server respond from their bind on: probes must distinguish a process that waits for its
    /// database from one that does not respond.
    pub(crate) async fn new(
        settings: &GatewaySettings,
        mut config: gateway::Config,
        mut secret_files: SecretFiles,
    ) -> Result<Option<Self>, Error> {
        gateway::metrics::install();
        settings.bus.check_mode();
        config.http.max_connections = raise_connection_limit(config.http.max_connections);
        let signals = signal::listen()?;
        keep_ports_current(&config.tls, &signals);
        if let Some(jwt) = &mut config.access.jwt {
            jwt.reload = signals.reload_requests();
        }
        // A SIGHUP from now on is a request, which waits until the gateway serves.
        let bus_secrets = settings.bus.bus_secret_file.clone();
        let reads_again = settings.database.database_url_file.is_some()
            || settings.store.database_read_url_file.is_some()
            || bus_secrets.is_some()
            || settings.webhooks.secret_key_file.is_some()
            || !secret_files.is_empty();
        let requests = reads_again.then(|| signals.reload_requests());
        let shutdown = signals.shutdown;

        let http = bind(&settings.http.http_addr, "--http-addr (ORDERS_HTTP_ADDR)").await?;
        let grpc = bind(&settings.grpc.grpc_addr, "--grpc-addr (ORDERS_GRPC_ADDR)").await?;
        let admin = match &settings.admin.admin_addr {
            Some(addr) => Some(bind(addr, ADMIN_ADDR).await?),
            None => None,
        };
        let (http_addr, grpc_addr) = (local_address(&http)?, local_address(&grpc)?);
        let admin_addr = admin.as_ref().map(local_address).transpose()?;
        let listeners = [
            ("--http-addr (ORDERS_HTTP_ADDR)", Some(http_addr)),
            ("--grpc-addr (ORDERS_GRPC_ADDR)", Some(grpc_addr)),
            (ADMIN_ADDR, admin_addr),
        ];
        let bound = listeners.into_iter().filter_map(|(setting, addr)| Some((setting, addr?)));
        settings.access.check_exposure(bound)?;
        let public = Starting::serve(&http, &config.http, config.tls.http.clone());
        let operators =
            admin.as_ref().map(|admin| Starting::serve_admin(admin, &config.http, config.tls.http.clone()));
        let starting = std::iter::once(public).chain(operators).collect::<Result<Vec<_>, _>>();
        let starting = starting
            .map_err(|error| Error::failed(format!("cannot serve the HTTP ports during startup: {error}")))?;
        let store = wait_for_database(&settings.database, &settings.store, &shutdown).await?;
        if let Some(store) = &store {
            create_first_keys(&settings.access, store).await?;
            settings.database.add_file(store, &mut secret_files);
            settings.store.use_replica(store, &mut secret_files).await?;
            if store.dialect() == Dialect::Sqlite {
                // The file belongs to one process, so the one that held webhook endpoints has ended.
                let ended = store.end_webhook_leases().await;
                ended.map_err(|error| Error::failed(error.to_string()))?;
            }
            let keys = match (&settings.webhooks.secret_key_file, settings.database.url()) {
                (Some(file), _) => Some(file.clone()),
                (None, DatabaseUrl::Sqlite(file)) => Some(secret_keys::read_or_create(&file)?),
                (None, DatabaseUrl::MySql(_)) => None,
            };
            if let Some(keys) = keys {
                let used = config.webhooks.secret_keys.clone();
                used.replace_with(&keys.value);
                secret_files.add("--secret-key-file (ORDERS_SECRET_KEY_FILE)", keys, move |changed| {
                    used.replace_with(changed);
                    Ok::<_, Infallible>(())
                });
            }
        }
        Ok(store.map(|store| Self {
            config,
            store,
            http_addr,
            grpc_addr,
            admin_addr,
            shutdown,
            bus_secrets,
            secret_files,
            requests,
            http,
            grpc,
            admin,
            starting,
        }))
    }

    /// Returns the queue and the bus over Redis.
    pub(crate) async fn connect_redis(
        &mut self,
        redis: &Redis,
        settings: &GatewaySettings,
    ) -> Result<(Arc<dyn Queue>, Arc<dyn Bus>), Error> {
        check_redis(redis, "orders are accepted and processed later", &self.shutdown).await?;
        let key = self.bus_key().await?;
        Ok((settings.redis.queue(redis), settings.bus.bus(redis, &key)))
    }

    /// Returns the key that authenticates messages between gateways. Its secret is the configured one or that of the
    /// database.
    async fn bus_key(&mut self) -> Result<BusKey, Error> {
        let installation = self.store.installation().await.map_err(|error| {
            Error::failed(format!("the installation's id cannot be read from the database: {error}"))
        })?;
        let key = BusKey::new(installation.id, &installation.secret);
        if let Some(file) = self.bus_secrets.take() {
            file.value.apply_to(&key);
            let key = key.clone();
            let setting = "--bus-secret-file (ORDERS_BUS_SECRET_FILE)";
            self.secret_files.add(setting, file, move |secrets| {
                secrets.apply_to(&key);
                Ok::<_, Infallible>(())
            });
        }
        Ok(key)
    }

    /// Ends the responses during startup, keeps the files with secrets current, and returns the parts of the gateway.
    pub(crate) async fn into_parts(self, queue: Arc<dyn Queue>, bus: Arc<dyn Bus>) -> Parts {
        for starting in self.starting {
            starting.end().await;
        }
        if let Some(requests) = self.requests {
            self.secret_files.keep_current(requests);
        }
        let Self { config, store, http, grpc, admin, .. } = self;
        Parts { config, store, queue, bus, http, grpc, admin }
    }
}
