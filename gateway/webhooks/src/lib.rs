//! Webhook endpoints: their management, and the delivery of events to them.
//!
//! | to see | read |
//! |---|---|
//! | what users can do with endpoints | `manage`, `input`, `recover` |
//! | which gateway delivers to an endpoint | `holder` |
//! | how events are delivered in the order of each order | `delivery` |
//! | when an endpoint counts as failing, and when a message does | `delivery/health` |
//! | the bodies of messages | `body` |
//! | how secrets are encrypted | `secrets` |

mod body;
mod delivery;
mod error;
mod holder;
mod housekeeping;
mod input;
mod limits;
mod manage;
mod messages;
mod principal;
mod recover;
mod secrets;
mod send;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use gateway_service::event_log::EventLog;
use gateway_store::Store;
use tokio::sync::Notify;
use webhook::Client;

pub use self::error::WebhookError;
pub use self::input::{EndpointInput, InvalidInput};
pub use self::limits::{
    DEFAULT_CONCURRENCY, MAX_CONCURRENCY, MAX_DESCRIPTION, MAX_OVERLAP, MAX_RATE, OVERLAP,
};
pub use self::manage::{CreatedEndpoint, EndpointStatus, RotateSecret};
pub use self::recover::{Recovery, RecoveryRange};
pub use self::secrets::{InvalidSecretKeys, SecretKeys};
pub use self::settings::{EndpointChanges, NewEndpoint};
pub use webhook::{AllowedNetworks, Secret};

/// The settings of webhooks.
#[derive(Debug, Clone)]
pub struct Config {
    /// Networks that endpoints may be in although they are not public.
    pub allowed_networks: AllowedNetworks,
    /// The keys that encrypt the secrets of endpoints.
    pub secret_keys: SecretKeys,
    /// Maximum time of a request. The lease of an endpoint follows from it.
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allowed_networks: AllowedNetworks::default(),
            secret_keys: SecretKeys::default(),
            request_timeout: Duration::from_secs(15),
        }
    }
}

/// The name of this program in requests.
const USER_AGENT: &str = concat!("orders/", env!("CARGO_PKG_VERSION"));

/// The use cases of webhook endpoints. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    store: Store,
    event_log: EventLog,
    client: Client,
    config: Config,
    /// Wakes the task that delivers, after a change of an endpoint.
    changed: Notify,
}

impl Webhooks {
    /// Creates the use cases. [`Self::run`] delivers.
    ///
    /// # Errors
    /// If the HTTP client cannot be built.
    pub fn new(store: Store, event_log: EventLog, config: Config) -> Result<Self, webhook::Error> {
        let client = Client::new(config.allowed_networks.clone(), USER_AGENT)?;
        Ok(Self::with_client(store, event_log, config, client))
    }

    /// Creates the use cases with another HTTP client.
    pub fn with_client(store: Store, event_log: EventLog, config: Config, client: Client) -> Self {
        Self(Arc::new(Inner { store, event_log, client, config, changed: Notify::new() }))
    }
}
