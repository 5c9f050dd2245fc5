//! Handlers that need no code: a simulation and a webhook.

mod simulate;
mod webhook;

pub use simulate::Simulate;
pub use webhook::{MAX_SECRETS, Webhook, sign};
