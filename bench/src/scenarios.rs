//! What can be measured: one file for each scenario, one variant in `main` to choose it.

pub(crate) mod overload;
pub(crate) mod subscriptions;
