use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Accepts or rejects a websocket by the payload of `connection_init`. The default accepts all clients.
#[derive(Clone)]
pub struct ConnectionInitHook(Arc<HookFn>);

type HookFn = dyn Fn(&Value) -> Result<(), String> + Send + Sync;

impl ConnectionInitHook {
    /// Creates a hook from a function.
    ///
    /// `check` receives the payload, an object or null, and returns the reason of a rejection. The client receives the
    /// reason.
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
