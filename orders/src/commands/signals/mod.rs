//! What the system does at present and did before: statistics, workers, and a screen of both.

mod stats;
mod top;
mod workers;

pub(super) use stats::run as stats;
pub(super) use top::run as top;
pub(super) use workers::run as workers;
