//! The log and the shutdown of a process.

use std::time::Duration;

use clap::Args;
use telemetry::trace::TraceConfig;
use url::Url;

use crate::log::LogFormat;
use crate::values;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The log of a process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct LogArgs {
    /// Format of the log on stderr
    #[arg(
        long,
        env = "ORDERS_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// The start of a gateway's shutdown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ShutdownDelayArgs {
    /// Time after SIGTERM in which the gateway still serves requests while /readyz reports 503, so that load
    /// balancers stop sending traffic: 0 to 1h
    #[arg(
        long,
        env = "ORDERS_SHUTDOWN_DELAY",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, HOUR),
        default_value = "0"
    )]
    pub(crate) shutdown_delay: Duration,
}

/// The log and the shutdown of every process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessArgs {
    /// Time for running work and open connections to finish at shutdown (SIGTERM, Ctrl-C): 0 to 1h
    #[arg(
        long,
        env = "ORDERS_SHUTDOWN_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, HOUR),
        default_value = "10s"
    )]
    pub(crate) shutdown_timeout: Duration,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
}

/// The export of traces.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub(crate) struct TraceArgs {
    /// Receiver of traces, OTLP over gRPC, such as http://localhost:4317 (default: no traces). The other variables of
    /// OpenTelemetry exporters apply as well, such as OTEL_EXPORTER_OTLP_HEADERS
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        value_parser = otlp_endpoint
    )]
    pub(crate) otlp_endpoint: Option<String>,
    /// Share of requests whose trace is recorded: 0 to 1. A caller with a traceparent decides itself
    #[arg(
        long,
        env = "ORDERS_TRACE_RATIO",
        hide_env_values = true,
        value_name = "RATIO",
        value_parser = ratio,
        default_value = "0"
    )]
    pub(crate) trace_ratio: f64,
}

impl TraceArgs {
    /// Returns the settings of the export, if there is one.
    pub(crate) fn config(&self, service: &'static str) -> Option<TraceConfig> {
        let endpoint = self.otlp_endpoint.clone()?;
        Some(TraceConfig { endpoint, ratio: self.trace_ratio, service })
    }
}

fn otlp_endpoint(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(text.to_owned()),
        _ => Err("must be a URL such as http://localhost:4317".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("must be a number from 0 to 1, such as 0.01 for one request in a hundred".to_owned()),
    }
}
