//! The scenarios: one file for each, and one variant of `cli::Scenario`.

pub(crate) mod accept;
pub(crate) mod backlog;
pub(crate) mod compare;
pub(crate) mod events;
pub(crate) mod everyday;
pub(crate) mod fan_out;
pub(crate) mod limits;
pub(crate) mod listing;
pub(crate) mod mixed;
pub(crate) mod overload;
pub(crate) mod pipeline;
pub(crate) mod push;
pub(crate) mod scale;
pub(crate) mod subscriptions;
