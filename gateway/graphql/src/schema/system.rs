//! The parts of the system, for operators.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use domain::Timestamp;
use gateway_service::system::{self, SystemReport};

use crate::errors::to_graphql_error;
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};

/// The parts of the system.
#[derive(SimpleObject)]
pub(crate) struct System {
    /// The running gateways, oldest first.
    gateways: Vec<Gateway>,
    /// The database.
    database: Server,
    /// Redis; null if the queue is in the process of the gateway.
    redis: Option<Server>,
    /// The settings of the gateway that answers. Secrets are masked.
    settings: Vec<Setting>,
}

/// A running gateway.
#[derive(SimpleObject)]
pub(crate) struct Gateway {
    /// Id, as in the list of workers.
    id: ID,
    /// Host; null if it is unknown.
    host: Option<String>,
    /// Version.
    version: String,
    /// Time of its start.
    started_at: DateTime,
    /// Time at which it announced itself last.
    last_seen_at: DateTime,
}

/// A server that the gateways use.
#[derive(SimpleObject)]
pub(crate) struct Server {
    /// Name and version; null if it does not answer.
    version: Option<String>,
    /// Time of its answer in seconds; null if it does not answer.
    latency_seconds: Option<f64>,
}

/// A setting.
#[derive(SimpleObject)]
pub(crate) struct Setting {
    /// Name.
    name: String,
    /// Value.
    value: String,
    /// `flag`, `environment`, the path of a file, or `default`.
    source: String,
}

impl From<system::Server> for Server {
    fn from(server: system::Server) -> Self {
        Self { version: server.version, latency_seconds: server.latency.as_ref().map(Duration::as_secs_f64) }
    }
}

impl System {
    fn new(report: SystemReport, now: Timestamp) -> Self {
        let gateways = report.gateways.into_iter().map(|(info, ago)| Gateway {
            id: format!("{:012x}", info.id.0).into(),
            host: Some(info.host.to_string()).filter(|host| !host.is_empty()),
            version: info.version.to_string(),
            started_at: DateTime(info.started_at),
            last_seen_at: DateTime(now - ago),
        });
        let settings = report.settings.iter().cloned().map(|setting| Setting {
            name: setting.name,
            value: setting.value,
            source: setting.source,
        });
        Self {
            gateways: gateways.collect(),
            database: report.database.into(),
            redis: report.redis.map(Into::into),
            settings: settings.collect(),
        }
    }
}

/// Queries of the parts of the system.
#[derive(Default)]
pub(crate) struct SystemQuery;

/// Queries of the parts of the system.
#[Object]
impl SystemQuery {
    /// Returns the running gateways, the servers that they use, and the settings of the gateway that answers.
    /// Requires the scope `metrics:read`.
    async fn system(&self, ctx: &Context<'_>) -> Option<Result<System>> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let report = services.system.report(caller(ctx)).await;
        Some(report.map(|report| System::new(report, services.orders.now())).map_err(to_graphql_error))
    }
}
