//! The log and the shutdown of a process.

use std::time::Duration;

use clap::Args;

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
}
