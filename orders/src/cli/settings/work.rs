//! The work of a processor: its concurrency and its handler.

use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use domain::{Kinds, MAX_WORKER_NAME};
use processor::OrderHandler;
use processor::handlers::{Secret, Simulate, Webhook};

use super::process::ProcessArgs;
use crate::error::Error;
use crate::secret_files::SecretFiles;
use crate::values::{self, InFile, ServerUrl, show_duration};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The handlers of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Handler {
    /// Waits a random time and completes the order; for demonstrations.
    Simulate,
    /// Posts the order as JSON to a URL.
    Webhook,
    /// Only with `orders dev`: no handler, so that other workers process the orders.
    None,
}

/// How a processor works.
/// Where a processor gets its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JobSource {
    /// The gateways assign them.
    Gateway,
    /// It takes them from the queue in Redis. The next version removes this.
    Queue,
}

/// Where a processor gets its jobs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Work")]
pub(crate) struct JobArgs {
    /// Where the processor gets its jobs: the gateways assign them, or it takes them from the queue in Redis. `queue` needs
    /// --redis-url, and is removed in the next version
    #[arg(
        long,
        env = "ORDERS_JOB_SOURCE",
        hide_env_values = true,
        value_name = "SOURCE",
        default_value = "gateway"
    )]
    pub(crate) job_source: JobSource,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Work")]
pub(crate) struct WorkArgs {
    /// Maximum number of handlers that run concurrently in this processor: 1 to 10000
    #[arg(
        long,
        env = "ORDERS_CONCURRENCY",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=10_000),
        default_value = "64"
    )]
    pub(crate) concurrency: usize,
    /// Kinds of orders that gateways assign to this processor, separated by commas: default is the kind of orders without
    /// one, and * is every kind. A processor with --job-source queue takes orders of the kind default only
    #[arg(
        long,
        env = "ORDERS_KINDS",
        hide_env_values = true,
        value_name = "KINDS",
        value_parser = values::kinds,
        default_value = "default"
    )]
    pub(crate) kinds: Kinds,
    /// Name of this worker in logs and metrics [default: host name and process id]
    #[arg(long, env = "ORDERS_WORKER_ID", hide_env_values = true, value_name = "NAME", value_parser = values::worker_id)]
    pub(crate) worker_id: Option<String>,
    /// Timeout of an attempt; an attempt that exceeds it is cancelled and counts as failed: 100ms to 1d
    #[arg(
        long,
        env = "ORDERS_ATTEMPT_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(MS * 100, DAY),
        default_value = "5m"
    )]
    pub(crate) attempt_timeout: Duration,
    /// Handler that processes the orders
    #[arg(
        long,
        env = "ORDERS_HANDLER",
        hide_env_values = true,
        value_name = "HANDLER",
        default_value = "simulate"
    )]
    pub(crate) handler: Handler,
    /// simulate: minimum processing time; a minimum and maximum of 0 complete orders at once: 0 to 1h
    #[arg(
        long,
        env = "ORDERS_SIMULATE_MIN_DELAY",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, HOUR),
        default_value = "500ms"
    )]
    pub(crate) simulate_min_delay: Duration,
    /// simulate: maximum processing time: 0 to 1h
    #[arg(
        long,
        env = "ORDERS_SIMULATE_MAX_DELAY",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, HOUR),
        default_value = "2s"
    )]
    pub(crate) simulate_max_delay: Duration,
    /// simulate: share of the attempts that fail and are retried: 0 to 1
    #[arg(
        long,
        env = "ORDERS_SIMULATE_FAILURE_RATE",
        hide_env_values = true,
        value_name = "SHARE",
        value_parser = values::share,
        default_value = "0"
    )]
    pub(crate) simulate_failure_rate: f64,
    /// webhook: URL that receives the orders; required with --handler webhook
    #[arg(long, env = "ORDERS_WEBHOOK_URL", hide_env_values = true, value_name = "URL", value_parser = ServerUrl::http)]
    pub(crate) webhook_url: Option<ServerUrl>,
    /// File with the URL of the webhook, in place of --webhook-url. Read again on change and on SIGHUP
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_URL_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = values::in_file(ServerUrl::http),
        conflicts_with = "webhook_url"
    )]
    pub(crate) webhook_url_file: Option<InFile<ServerUrl>>,
    /// webhook: key that signs the requests, `whsec_` and base64; without it they are not signed. Prefer the variable:
    /// other users of the machine can read flags
    #[arg(long, env = "ORDERS_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET", value_parser = values::webhook_secret)]
    pub(crate) webhook_secret: Option<Secret>,
    /// File with the secret of the webhook, in place of --webhook-secret; during a rotation up to three, one in each
    /// line, all of which sign. Read again on change and on SIGHUP
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_SECRET_FILE",
        hide_env_values = true,
        value_name = "FILE",
        value_parser = values::in_file(values::webhook_secrets),
        conflicts_with = "webhook_secret"
    )]
    pub(crate) webhook_secret_file: Option<InFile<Vec<Secret>>>,
    /// webhook: timeout of a request: 100ms to 1h
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(MS * 100, HOUR),
        default_value = "30s"
    )]
    pub(crate) webhook_timeout: Duration,
    /// webhook: maximum `Retry-After` of the endpoint; a longer one is shortened to it: 0 to 7d
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_MAX_RETRY_AFTER",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY * 7),
        default_value = "1d"
    )]
    pub(crate) webhook_max_retry_after: Duration,
    /// webhook: include the response body of the endpoint in the reason of a failed order, which every client can
    /// read: on or off. The log contains it in both cases
    #[arg(
        long,
        env = "ORDERS_WEBHOOK_SHOW_RESPONSES",
        hide_env_values = true,
        value_name = "SWITCH",
        value_parser = values::switch(),
        action = ArgAction::Set,
        default_value = "off"
    )]
    pub(crate) webhook_show_responses: bool,
}

impl WorkArgs {
    /// Returns the configuration of a processor.
    pub(crate) fn processor_config(
        &self,
        gateway_urls: Vec<String>,
        process: &ProcessArgs,
    ) -> processor::Config {
        processor::Config {
            worker_id: self.worker_id.clone().unwrap_or_else(default_worker_id),
            host: host_name(),
            gateway_urls,
            concurrency: self.concurrency,
            kinds: self.kinds.clone(),
            attempt_timeout: self.attempt_timeout,
            shutdown_timeout: process.shutdown_timeout,
            ..processor::Config::default()
        }
    }

    /// Creates the handler, and adds the files with its secrets to `files`. `None` with --handler none.
    pub(crate) fn order_handler(
        &self,
        files: &mut SecretFiles,
    ) -> Result<Option<Arc<dyn OrderHandler>>, Error> {
        match self.handler {
            Handler::None => Ok(None),
            Handler::Simulate => Ok(Some(Arc::new(self.simulate()?))),
            Handler::Webhook => {
                let webhook = Arc::new(self.webhook()?);
                self.add_files(&webhook, files);
                Ok(Some(webhook))
            }
        }
    }

    fn add_files(&self, webhook: &Arc<Webhook>, files: &mut SecretFiles) {
        if let Some(file) = &self.webhook_url_file {
            let webhook = webhook.clone();
            files.add("--webhook-url-file (ORDERS_WEBHOOK_URL_FILE)", file.clone(), move |url| {
                webhook.replace_url(url.expose_secret().as_str())
            });
        }
        if let Some(file) = &self.webhook_secret_file {
            let webhook = webhook.clone();
            files.add("--webhook-secret-file (ORDERS_WEBHOOK_SECRET_FILE)", file.clone(), move |secrets| {
                webhook.replace_secrets(secrets.iter().cloned())
            });
        }
    }

    fn simulate(&self) -> Result<Simulate, Error> {
        let (min, max) = (self.simulate_min_delay, self.simulate_max_delay);
        if min > max {
            return Err(Error::usage(format!(
                "--simulate-min-delay (ORDERS_SIMULATE_MIN_DELAY) is {}, longer than --simulate-max-delay \
                 (ORDERS_SIMULATE_MAX_DELAY) with {}",
                show_duration(min),
                show_duration(max)
            ))
            .hint("set a minimum that is not longer than the maximum"));
        }
        Ok(Simulate { min, max, failure_rate: self.simulate_failure_rate })
    }

    fn webhook_url(&self) -> Option<&ServerUrl> {
        self.webhook_url.as_ref().or(self.webhook_url_file.as_ref().map(|file| &file.value))
    }

    fn webhook(&self) -> Result<Webhook, Error> {
        let url = self.webhook_url().ok_or_else(|| {
            Error::usage(
                "--webhook-url (ORDERS_WEBHOOK_URL) is not set, and --handler (ORDERS_HANDLER) is webhook",
            )
            .hint("give the URL that orders are posted to")
        })?;
        let in_file = self.webhook_secret_file.iter().flat_map(|file| &file.value);
        let secrets = self.webhook_secret.iter().chain(in_file).cloned();
        let webhook =
            Webhook::new(url.expose_secret().as_str(), secrets, self.webhook_timeout).map_err(|error| {
                Error::usage(format!("--webhook-url (ORDERS_WEBHOOK_URL) cannot be used: {error}"))
            })?;
        Ok(webhook
            .show_responses_in_reasons(self.webhook_show_responses)
            .max_retry_after(self.webhook_max_retry_after))
    }

    /// Describes the handler for readers.
    pub(crate) fn describe_handler(&self) -> String {
        match (self.handler, self.webhook_url()) {
            (Handler::Webhook, Some(url)) => format!("webhook: posts each order to {url}"),
            (Handler::Webhook, None) => "webhook".to_owned(),
            (Handler::None, _) => "none: orders wait for other workers".to_owned(),
            (Handler::Simulate, _) => {
                let min = show_duration(self.simulate_min_delay);
                let max = show_duration(self.simulate_max_delay);
                format!("simulate: completes each order after {min} to {max}")
            }
        }
    }
}

/// Returns a name that is unique among the workers of an installation: the host and the process id.
fn default_worker_id() -> String {
    let host = host_name();
    let host = if host.is_empty() { "processor" } else { &host };
    let process = format!("-{}", std::process::id());
    let host: String = host.chars().take(MAX_WORKER_NAME - process.len()).collect();
    host + &process
}

/// Returns the name of this host; empty if it is unknown.
pub(super) fn host_name() -> String {
    let from_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = from_kernel().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    host.trim().to_owned()
}
