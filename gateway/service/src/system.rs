//! The parts of the system: gateways, database, queue and settings, for operators.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{GatewayInfo, Queue};
use domain::{Principal, Scope};
use gateway_store::Store;

use crate::config::Setting;
use crate::error::Error;
use crate::presence::Presence;

/// Maximum time of a question to the database or the queue.
const DEADLINE: Duration = Duration::from_secs(1);

/// A server that the gateways use.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Its name and version; `None` if it did not answer in time.
    pub version: Option<String>,
    /// The time of its answer.
    pub latency: Option<Duration>,
}

/// The parts of the system.
#[derive(Debug, Clone)]
pub struct SystemReport {
    /// The running gateways, each with the time since it announced itself; the oldest first.
    pub gateways: Vec<(GatewayInfo, Duration)>,
    /// The database.
    pub database: Server,
    /// Redis; `None` if the queue is in the process of the gateway.
    pub redis: Option<Server>,
    /// The settings of this gateway.
    pub settings: Arc<[Setting]>,
}

/// Reports the parts of the system. Cheap to clone.
#[derive(Clone)]
pub struct System {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) presence: Presence,
    pub(crate) settings: Arc<[Setting]>,
}

impl System {
    /// Returns the parts of the system.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `metrics:read`.
    pub async fn report(&self, principal: &Principal) -> Result<SystemReport, Error> {
        principal.require(Scope::MetricsRead)?;
        let database = async {
            let begun = Instant::now();
            match tokio::time::timeout(DEADLINE, self.store.server_version()).await {
                Ok(Ok(version)) => Server { version: Some(version), latency: Some(begun.elapsed()) },
                Ok(Err(_)) | Err(_) => Server { version: None, latency: None },
            }
        };
        let redis = async {
            let begun = Instant::now();
            match tokio::time::timeout(DEADLINE, self.queue.server()).await {
                Ok(Ok(None)) => None,
                Ok(Ok(version)) => Some(Server { version, latency: Some(begun.elapsed()) }),
                Ok(Err(_)) | Err(_) => Some(Server { version: None, latency: None }),
            }
        };
        let (database, redis) = tokio::join!(database, redis);
        Ok(SystemReport {
            gateways: self.presence.gateways(),
            database,
            redis,
            settings: self.settings.clone(),
        })
    }
}
