//! The database, Redis, and the secret that gateways share.

use std::num::NonZeroU8;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::redis::{BusKey, MAX_EVENT_CHANNELS, MAX_QUEUE_LISTS, Redis, RedisCertificates};
use broker::{Bus, Queue};
use clap::{Args, ValueEnum};
use gateway::Store;
use tokio::runtime::Handle;

use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::values::{self, BusSecrets, DatabaseUrl, InFile, RedisUrl};

/// The default folder of the SQLite file.
pub(crate) const DEFAULT_DATA_DIR: &str = "./data";
/// The name of the SQLite file in the data folder.
const SQLITE_FILE: &str = "orders.db";

/// The database.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct DatabaseArgs {
    /// mysql://user:password@host:3306/database (MySQL 8, MariaDB 10.11 or newer; several hosts with commas, of which
    /// the primary is used) or sqlite:path/of/file.db
    /// [default: the SQLite file orders.db in the data folder]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database_url: Option<DatabaseUrl>,
    /// File with the URL of the database, in place of --database-url. A gateway reads it again on change and on SIGHUP
    #[arg(
        long,
        env = "ORDERS_DATABASE_URL_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = values::in_file(str::parse::<DatabaseUrl>),
        conflicts_with = "database_url"
    )]
    pub(crate) database_url_file: Option<InFile<DatabaseUrl>>,
    /// Folder of the SQLite file, created if it does not exist; ignored with --database-url
    #[arg(
        long,
        env = "ORDERS_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER",
        default_value = DEFAULT_DATA_DIR
    )]
    pub(crate) data_dir: PathBuf,
}

impl DatabaseArgs {
    /// Returns the URL of the database, or the file in the data folder.
    pub(crate) fn url(&self) -> DatabaseUrl {
        let given = self.database_url.as_ref().or(self.database_url_file.as_ref().map(|file| &file.value));
        given.cloned().unwrap_or_else(|| DatabaseUrl::Sqlite(sqlite_file(&self.data_dir)))
    }

    /// Reads the file with the URL again. What cannot be used changes nothing.
    pub(crate) fn read_file_again(&mut self) {
        if let Some(file) = &mut self.database_url_file
            && let Ok(Some(changed)) = file.read_again()
        {
            *file = changed;
        }
    }

    /// Adds the file with the URL of this database to `files`, if there is one.
    pub(crate) fn add_file(&self, store: &Store, files: &mut SecretFiles) {
        if let Some(file) = &self.database_url_file {
            let store = store.clone();
            files.add("--database-url-file (ORDERS_DATABASE_URL_FILE)", file.clone(), move |url| {
                Handle::current().block_on(store.replace_url(&url.expose_secret()))
            });
        }
    }

    /// Returns whether the URL of the database is set.
    pub(crate) fn has_url(&self) -> bool {
        self.database_url.is_some() || self.database_url_file.is_some()
    }
}

/// Returns the path of the SQLite file that is used without a database URL.
pub(crate) fn sqlite_file(data_dir: &Path) -> PathBuf {
    data_dir.join(SQLITE_FILE)
}

/// Whether a gateway migrates the database at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MigrateMode {
    /// Migrates when the schema is missing or older than the program.
    Auto,
    /// Never migrates; an older schema is an error.
    Off,
    /// Never migrates; waits until another process has migrated.
    Wait,
}

/// Whether a gateway does something optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// How a gateway uses the database.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StoreArgs {
    /// Action at start when the schema is missing or older than the program: auto migrates, off refuses to start,
    /// wait waits for `orders migrate`
    #[arg(long, env = "ORDERS_MIGRATE", hide_env_values = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) migrate: MigrateMode,
    /// Connections in each of the two MySQL pools, one for reads and one for writes; searches use two more: 1 to
    /// 1000
    #[arg(
        long,
        env = "ORDERS_DATABASE_POOL_SIZE",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<u32>(1..=1_000),
        default_value = "8"
    )]
    pub(crate) database_pool_size: u32,
    /// mysql://user:password@host:3306/database of a replica, for searches, counts, groups of dead letters and exports,
    /// which may then be older than a response; several hosts with commas. While it is unreachable, the primary is read
    /// [default: none]
    #[arg(
        long,
        env = "ORDERS_DATABASE_READ_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = values::replica_url
    )]
    pub(crate) database_read_url: Option<DatabaseUrl>,
    /// File with the URL of the replica, in place of --database-read-url. Read again on change and on SIGHUP
    #[arg(
        long,
        env = "ORDERS_DATABASE_READ_URL_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = values::in_file(values::replica_url),
        conflicts_with = "database_read_url"
    )]
    pub(crate) database_read_url_file: Option<InFile<DatabaseUrl>>,
    /// Whether events are written to the event log, which GET /events reads; all gateways of one database need the same
    /// value
    #[arg(long, env = "ORDERS_EVENTS", hide_env_values = true, value_name = "SWITCH", default_value = "on")]
    pub(crate) events: Switch,
}

impl StoreArgs {
    /// Lets the store read from the replica, if there is one, and adds the file with its URL to `files`.
    pub(crate) async fn use_replica(&self, store: &Store, files: &mut SecretFiles) -> Result<(), Error> {
        let file = self.database_read_url_file.as_ref();
        let Some(url) = self.database_read_url.as_ref().or(file.map(|file| &file.value)) else {
            return Ok(());
        };
        store.use_replica(&url.expose_secret()).await.map_err(|error| {
            Error::usage(format!("--database-read-url (ORDERS_DATABASE_READ_URL) cannot be used: {error}"))
                .hint("only a database of MySQL or MariaDB has a replica: remove the setting, or correct it")
        })?;
        if let Some(file) = file {
            let store = store.clone();
            files.add("--database-read-url-file (ORDERS_DATABASE_READ_URL_FILE)", file.clone(), move |url| {
                Handle::current().block_on(store.use_replica(&url.expose_secret()))
            });
        }
        Ok(())
    }
}

/// Redis.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct RedisArgs {
    /// redis://host:6379, rediss://… for TLS, redis+sentinel://host,host/primary-name or redis+cluster://host,host (Redis 7
    /// or newer, Valkey). Transports the queue and the events between processes; required unless one process runs
    /// everything [default: in memory]
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL", value_parser = RedisUrl::parse)]
    pub(crate) redis_url: Option<RedisUrl>,
    /// File with the URL of Redis, in place of --redis-url. Read again on change and on SIGHUP
    #[arg(
        long,
        env = "ORDERS_REDIS_URL_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = values::in_file(RedisUrl::parse),
        conflicts_with = "redis_url"
    )]
    pub(crate) redis_url_file: Option<InFile<RedisUrl>>,
    /// Prefix of every key in Redis; the queue is the list PREFIX:queue
    #[arg(
        long,
        env = "ORDERS_REDIS_PREFIX",
        hide_env_values = true,
        value_name = "PREFIX",
        value_parser = values::key_prefix,
        default_value = broker::redis::DEFAULT_PREFIX
    )]
    pub(crate) redis_prefix: String,
    /// Number of lists into which the queue of each kind is divided, 1 to 16: in a cluster of Redis, each can be on another
    /// node. All gateways, and processors with --job-source queue, need the same number
    #[arg(
        long,
        env = "ORDERS_REDIS_QUEUE_LISTS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<u8>(1..=MAX_QUEUE_LISTS.into()),
        default_value = "1"
    )]
    pub(crate) redis_queue_lists: u8,
    /// File with the certificate authorities of a rediss:// server (PEM), in place of those of the system. Read again on
    /// change and on SIGHUP [default: those of the system, or of SSL_CERT_FILE]
    #[arg(long, env = "ORDERS_REDIS_CA", hide_env_values = true, value_name = "FILE")]
    pub(crate) redis_ca: Option<PathBuf>,
    /// File with the client certificate for a rediss:// server (PEM). Read again on change and on SIGHUP [default: none]
    #[arg(long, env = "ORDERS_REDIS_CLIENT_CERT", hide_env_values = true, value_name = "FILE")]
    pub(crate) redis_client_cert: Option<PathBuf>,
    /// File with the private key of --redis-client-cert (PEM)
    #[arg(long, env = "ORDERS_REDIS_CLIENT_KEY", hide_env_values = true, value_name = "FILE")]
    pub(crate) redis_client_key: Option<PathBuf>,
}

impl RedisArgs {
    /// Returns the URL; `None` without one.
    pub(crate) fn url(&self) -> Option<&RedisUrl> {
        self.redis_url.as_ref().or(self.redis_url_file.as_ref().map(|file| &file.value))
    }

    /// Creates a client, without a connection; `None` without a URL.
    pub(crate) fn client(&self) -> Result<Option<Redis>, Error> {
        let Some(url) = self.url() else { return Ok(None) };
        let certificates = self.certificates()?;
        let redis = Redis::with_certificates(url.expose_secret(), &self.redis_prefix, certificates)
            .map_err(|error| Error::usage(format!("--redis-url (REDIS_URL) cannot be used: {error}")))?;
        Ok(Some(redis))
    }

    /// Returns the queue.
    pub(crate) fn queue(&self, redis: &Redis) -> Arc<dyn Queue> {
        redis.queue_lists(NonZeroU8::new(self.redis_queue_lists).unwrap_or(NonZeroU8::MIN))
    }

    /// Adds the files of this client to `files`: the one with the URL, and those for TLS.
    pub(crate) fn add_files(&self, redis: &Redis, files: &mut SecretFiles) -> Result<(), Error> {
        let present = self.certificates()?;
        if present != RedisCertificates::default() {
            let (args, redis) = (self.clone(), redis.clone());
            files.add_together(
                "--redis-ca, --redis-client-cert, --redis-client-key",
                present,
                move || args.certificates(),
                move |certificates| {
                    Handle::current().block_on(redis.replace_certificates(certificates.clone()))
                },
            );
        }
        if let Some(file) = &self.redis_url_file {
            let redis = redis.clone();
            files.add("--redis-url-file (ORDERS_REDIS_URL_FILE)", file.clone(), move |url| {
                Handle::current().block_on(redis.replace_url(url.expose_secret()))
            });
        }
        Ok(())
    }

    /// Reads the files for `rediss://`.
    fn certificates(&self) -> Result<RedisCertificates, Error> {
        const SETTINGS: &str = "--redis-client-cert (ORDERS_REDIS_CLIENT_CERT) and --redis-client-key \
                                (ORDERS_REDIS_CLIENT_KEY)";
        let unusable = |error: tls::Error, settings: &str| {
            Error::usage(error.to_string()).hint(format!("the file is that of {settings}"))
        };
        let authorities = self.redis_ca.as_deref().map(tls::read_authorities).transpose();
        let certificate_and_key = match (&self.redis_client_cert, &self.redis_client_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let files = tls::read_certificate_and_key(certificate, key);
                Some(files.map_err(|error| unusable(error, SETTINGS))?)
            }
            _ => return Err(Error::usage(format!("one of {SETTINGS} is not set")).hint("set both, or none")),
        };
        let authorities = authorities.map_err(|error| unusable(error, "--redis-ca (ORDERS_REDIS_CA)"))?;
        Ok(RedisCertificates { authorities, certificate_and_key })
    }

    /// Creates a client for a process that requires Redis.
    pub(crate) fn required_client(&self) -> Result<Redis, Error> {
        self.client()?.ok_or_else(|| {
            Error::usage("--redis-url (REDIS_URL) is not set").hint(
                "separate gateways and processors communicate over Redis: set \
                 REDIS_URL=redis://host:6379, or run everything in one process with `orders dev`",
            )
        })
    }
}

/// How gateways authenticate each other's messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(crate) struct BusArgs {
    /// File with a secret of at least 16 bytes, the same for all gateways, that signs the messages between them
    /// over Redis; a second line is another secret that is accepted. Read again on change and on SIGHUP
    /// [default: a secret in the database]
    #[arg(
        long,
        env = "ORDERS_BUS_SECRET_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = values::in_file(values::bus_secrets)
    )]
    pub(crate) bus_secret_file: Option<InFile<BusSecrets>>,
    /// Number of channels of Redis over which events are published, 1 to 64, by the shards of the orders: in a cluster, each
    /// can be on another node. All gateways need the same number
    #[arg(
        long,
        env = "ORDERS_REDIS_EVENT_CHANNELS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<u8>(1..=MAX_EVENT_CHANNELS.into()),
        default_value = "1"
    )]
    pub(crate) redis_event_channels: u8,
}

impl BusArgs {
    /// Returns the bus.
    pub(crate) fn bus(&self, redis: &Redis, key: &BusKey) -> Arc<dyn Bus> {
        redis.bus_channels(key, NonZeroU8::new(self.redis_event_channels).unwrap_or(NonZeroU8::MIN))
    }

    /// Logs a warning if other users of the machine have access to the file. Its group may read it: Kubernetes mounts
    /// secrets for the group of the process.
    pub(crate) fn check_mode(&self) {
        let Some(file) = &self.bus_secret_file else { return };
        let mode = file.path().metadata().map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o037 != 0) {
            tracing::warn!(
                file = %file.path().display(),
                "the bus secret file is accessible by other users: chmod 640"
            );
        }
    }
}
