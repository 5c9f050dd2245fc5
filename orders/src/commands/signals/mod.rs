//! What the system does at present and did before: statistics, workers, and a screen of both; and its parts.

mod stats;
mod system;
mod top;
mod workers;

pub(super) use stats::run as stats;
pub(super) use system::run as system;
pub(super) use top::run as top;
pub(super) use workers::run as workers;
