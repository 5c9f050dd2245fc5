//! Handlers that need no code of your own.

mod simulate;
mod webhook;

pub use simulate::Simulate;
pub use webhook::{Webhook, sign};
