//! The commands that show what the system does.

use std::time::Duration;

use clap::Args;

use super::{ApiArgs, FormatArgs};
use crate::values;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The settings of `orders stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Time before now: 1m to 6h
    #[arg(long, value_name = "DURATION", value_parser = values::duration(MINUTE, 6 * HOUR), default_value = "1h")]
    pub(crate) since: Duration,
    /// Length of a step, a multiple of 10s: 10s to 6h [default: a sixtieth of the time]
    #[arg(long, value_name = "DURATION", value_parser = values::duration(Duration::from_secs(10), 6 * HOUR))]
    pub(crate) step: Option<Duration>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders workers`.
#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    /// Name of a worker to print with its orders [default: all workers of the last hour]
    #[arg(value_name = "NAME", value_parser = values::worker_id)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders system`.
#[derive(Debug, Args)]
pub(crate) struct SystemArgs {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// The settings of `orders top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print one screen, as without a terminal, in place of a new one each second
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}
