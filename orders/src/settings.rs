//! From settings to the configurations of the parts, and the checks that need more than one setting.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::redis::{BusKey, MIN_SECRET_BYTES, Redis};
use gateway::Store;
use gateway::config::HttpLimits;
use gateway::graphql::{self, TrustedDocuments};
use gateway::store::Retention;
use processor::OrderHandler;
use processor::handlers::{Simulate, Webhook};
use secrecy::ExposeSecret;

use crate::cli::{BusArgs, DatabaseArgs, Handler, LimitArgs, ProcessArgs, RedisArgs, RuleArgs, WorkArgs};
use crate::error::Error;
use crate::values::{DatabaseUrl, show_duration};

/// The name of the SQLite file in the data folder.
const SQLITE_FILE: &str = "orders.db";
/// More of the file of a secret is not read.
const LONGEST_SECRET: u64 = 4_096;

/// What a gateway needs to know. Reads and checks the file of trusted documents, if there is one.
pub(crate) fn gateway(
    rules: &RuleArgs,
    limits: &LimitArgs,
    process: &ProcessArgs,
) -> Result<gateway::Config, Error> {
    let mut config = gateway::Config {
        service: gateway::service::Config {
            default_currency: rules.default_currency,
            visibility_timeout: rules.visibility_timeout,
            max_queue_depth: rules.max_queue_depth,
            idempotency_ttl: rules.idempotency_ttl,
            retention: Retention {
                finished: retention(
                    "--retain-completed (ORDERS_RETAIN_COMPLETED)",
                    rules.retain_completed,
                    rules.idempotency_ttl,
                )?,
                failed: retention(
                    "--retain-failed (ORDERS_RETAIN_FAILED)",
                    rules.retain_failed,
                    rules.idempotency_ttl,
                )?,
            },
            ..gateway::service::Config::default()
        },
        shutdown_timeout: process.shutdown_timeout,
        ..gateway::Config::default()
    };
    config.service.rules.lease = rules.lease;
    config.http = HttpLimits {
        body_bytes: limits.max_body_size,
        bulk_body_bytes: limits.max_bulk_body_size,
        response_bytes: limits.max_response_size,
        header_read_timeout: limits.request_read_timeout,
        connections: limits.max_connections,
        connections_per_address: limits.max_connections_per_address,
        streams: limits.max_streams,
        streams_per_address: limits.max_streams_per_address,
        inflight_body_bytes: limits.request_buffer_limit,
        inflight_response_bytes: limits.response_buffer_limit,
        trusted_proxies: limits.trusted_proxies.clone().map(|networks| networks.0).unwrap_or_default(),
        hosts: limits.allowed_hosts.clone().unwrap_or_default(),
        cors_origins: limits.cors_origins.clone().unwrap_or_default(),
        ..config.http
    };
    config.graphql = graphql::Config {
        max_document_size: limits.graphql_max_document_size,
        max_tokens: limits.graphql_max_tokens,
        max_depth: limits.graphql_max_depth,
        max_aliases: limits.graphql_max_aliases,
        max_complexity: limits.graphql_max_complexity,
        introspection: limits.graphql_introspection,
        max_batch_size: limits.graphql_max_batch_size,
        max_persisted_queries: limits.graphql_max_persisted_queries,
        ..config.graphql
    };
    if let Some(file) = &limits.graphql_trusted_documents {
        let trusted = trusted_documents(file, &config.graphql)?;
        config.graphql_hooks.trusted_documents = Some(Arc::new(trusted));
    }
    Ok(config)
}

fn trusted_documents(file: &Path, limits: &graphql::Config) -> Result<TrustedDocuments, Error> {
    let setting = "--graphql-trusted-documents (ORDERS_GRAPHQL_TRUSTED_DOCUMENTS)";
    let wrong = |problem: String| {
        Error::usage(format!("{setting} is {:?}: {problem}", file.display().to_string()))
            .hint("give a JSON file of names and documents, as GraphQL Code Generator writes it")
    };
    let json = std::fs::read_to_string(file).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    TrustedDocuments::read(&json, limits).map_err(wrong)
}

/// The retention of orders, `None` to keep them forever. It must cover the lifetime of idempotency keys: a client that
/// repeats a create after its order was removed would create a second one.
fn retention(
    setting: &str,
    retention: Duration,
    idempotency_ttl: Duration,
) -> Result<Option<Duration>, Error> {
    if retention.is_zero() {
        return Ok(None);
    }
    if retention < idempotency_ttl {
        let (kept, ttl) = (show_duration(retention), show_duration(idempotency_ttl));
        return Err(Error::usage(format!(
            "{setting} is {kept}, shorter than --idempotency-ttl (ORDERS_IDEMPOTENCY_TTL) with {ttl}"
        ))
        .hint(format!("keep orders for at least {ttl}, or lower --idempotency-ttl to at most {kept}")));
    }
    Ok(Some(retention))
}

/// What the gateways of an installation believe each other by: the configured secret or that of the database.
pub(crate) async fn bus_key(secret: Option<&[u8]>, store: &Store) -> Result<BusKey, Error> {
    let unreadable = |error: gateway::store::Error| {
        Error::failed(format!("the installation's id cannot be read from the database: {error}"))
    };
    let installation = store.installation().await.map_err(unreadable)?;
    Ok(BusKey::new(installation.id, secret.unwrap_or(&installation.secret)))
}

/// The content of the file, if one is named, without the line break at its end.
pub(crate) fn bus_secret(args: &BusArgs) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = &args.bus_secret_file else { return Ok(None) };
    let wrong = |problem: String| {
        let setting = "--bus-secret-file (ORDERS_BUS_SECRET_FILE)";
        Error::usage(format!("{setting} is {:?}: {problem}", file.display().to_string()))
            .hint("write one with: (umask 077; head -c 32 /dev/urandom | base64 > FILE)")
    };
    let read = || {
        let mut content = Vec::new();
        let opened = std::fs::File::open(file)?;
        let mode = opened.metadata()?.permissions().mode();
        opened.take(LONGEST_SECRET).read_to_end(&mut content)?;
        Ok::<_, std::io::Error>((content, mode))
    };
    let (mut secret, mode) = read().map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    secret.truncate(secret.trim_ascii_end().len());
    if secret.len() < MIN_SECRET_BYTES {
        let problem = format!("the secret has {} bytes, and needs at least {MIN_SECRET_BYTES}", secret.len());
        return Err(wrong(problem));
    }
    if secret.iter().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        return Err(wrong("the secret has blanks, line breaks or control characters".to_owned()));
    }
    if mode & 0o077 != 0 {
        tracing::warn!(file = %file.display(), "the bus secret file is accessible by other users: chmod 600");
    }
    Ok(Some(secret))
}

/// What a processor needs to know.
pub(crate) fn processor(
    work: &WorkArgs,
    gateway_urls: Vec<String>,
    process: &ProcessArgs,
) -> processor::Config {
    processor::Config {
        worker_id: work.worker_id.clone().unwrap_or_else(worker_id),
        gateway_urls,
        concurrency: work.concurrency,
        attempt_timeout: work.attempt_timeout,
        shutdown_timeout: process.shutdown_timeout,
        ..processor::Config::default()
    }
}

/// What a processor does with an order.
pub(crate) fn handler(work: &WorkArgs) -> Result<Arc<dyn OrderHandler>, Error> {
    match work.handler {
        Handler::Simulate => {
            let (min, max) = (work.simulate_min_delay, work.simulate_max_delay);
            if min > max {
                return Err(Error::usage(format!(
                    "--simulate-min-delay (ORDERS_SIMULATE_MIN_DELAY) is {}, longer than --simulate-max-delay \
                     (ORDERS_SIMULATE_MAX_DELAY) with {}",
                    show_duration(min),
                    show_duration(max)
                ))
                .hint("set a minimum that is not longer than the maximum"));
            }
            Ok(Arc::new(Simulate { min, max, failure_rate: work.simulate_failure_rate }))
        }
        Handler::Webhook => {
            let url = work.webhook_url.as_ref().ok_or_else(|| {
                Error::usage("--webhook-url (ORDERS_WEBHOOK_URL) is not set, and --handler (ORDERS_HANDLER) is webhook")
                    .hint("give the URL that orders are posted to")
            })?;
            let secret = work.webhook_secret.as_ref().map(|secret| secret.expose_secret().to_owned());
            let timeout = work.webhook_timeout;
            let webhook = Webhook::new(url.expose_secret().as_str(), secret, timeout).map_err(|error| {
                Error::usage(format!("--webhook-url (ORDERS_WEBHOOK_URL) cannot be used: {error}"))
            })?;
            let longest_wait = work.webhook_max_retry_after;
            let webhook = webhook.show_responses_in_reasons(work.webhook_show_responses);
            Ok(Arc::new(webhook.max_retry_after(longest_wait)))
        }
    }
}

/// Redis, if one is configured. Nothing is connected yet.
pub(crate) fn redis(args: &RedisArgs) -> Result<Option<Redis>, Error> {
    let Some(url) = &args.redis_url else { return Ok(None) };
    let redis = Redis::new(url.expose_secret().as_str(), &args.redis_prefix)
        .map_err(|error| Error::usage(format!("--redis-url (REDIS_URL) cannot be used: {error}")))?;
    Ok(Some(redis))
}

/// Redis, for a process that is of no use without it.
pub(crate) fn redis_required(args: &RedisArgs) -> Result<Redis, Error> {
    redis(args)?.ok_or_else(|| {
        Error::usage("--redis-url (REDIS_URL) is not set").hint(
            "separate gateways and processors communicate over Redis: set \
             REDIS_URL=redis://host:6379, or run everything in one process with `orders dev`",
        )
    })
}

/// The database that is meant: the configured one, or the file in the data folder.
pub(crate) fn database(args: &DatabaseArgs) -> DatabaseUrl {
    args.database_url.clone().unwrap_or_else(|| DatabaseUrl::Sqlite(sqlite_file(&args.data_dir)))
}

/// The file that orders are kept in when no database is configured.
pub(crate) fn sqlite_file(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join(SQLITE_FILE)
}

/// Tells the workers of one installation apart: the host and the process.
pub(crate) fn worker_id() -> String {
    let from_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = from_kernel().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let host = if host.trim().is_empty() { "processor" } else { host.trim() };
    format!("{host}-{}", std::process::id())
}
