use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Decides which clients may open a websocket, by the payload of `connection_init`. The default admits
/// all clients.
#[derive(Clone)]
pub struct ConnectionInitHook(Arc<HookFn>);

type HookFn = dyn Fn(&Value) -> Result<(), String> + Send + Sync;

impl ConnectionInitHook {
    /// `check` gets the payload, an object or null, and returns the reason of a rejection, which the client
    /// receives.
    pub fn new(check: impl Fn(&Value) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Returns the reason of a rejection.
    pub(crate) fn check(&self, payload: &Value) -> Result<(), String> {
        (self.0)(payload)
    }
}

impl Default for ConnectionInitHook {
    fn default() -> Self {
        Self::new(|_| Ok(()))
    }
}

impl fmt::Debug for ConnectionInitHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionInitHook")
    }
}
