//! Handlers that need no code: a simulation and a webhook.

mod simulate;
mod webhook;

pub use self::simulate::Simulate;
pub use self::webhook::{MAX_SECRETS, Secret, Webhook};
