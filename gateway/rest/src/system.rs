//! The parts of the system.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use domain::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::ApiError;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_service::system::{Server, SystemReport};

/// The parts of the system.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = System)]
pub(super) struct SystemView {
    /// The running gateways, oldest first.
    gateways: Vec<GatewayView>,
    /// The database.
    database: ServerView,
    /// Redis; absent if the queue is in the process of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    redis: Option<ServerView>,
    /// The settings of the gateway that answers. Secrets are masked.
    settings: Vec<SettingView>,
}

/// A running gateway.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Gateway)]
struct GatewayView {
    /// Id, as in the list of workers.
    #[schema(example = "66ff65fb78c2")]
    id: String,
    /// Host; null if it is unknown.
    #[schema(required)]
    host: Option<String>,
    /// Version.
    version: String,
    /// Time of its start.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// Time at which it announced itself last.
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
}

/// A server that the gateways use.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Server)]
struct ServerView {
    /// Name and version; null if it does not answer.
    #[schema(required, example = "MariaDB 10.11.6")]
    version: Option<String>,
    /// Time of its answer in seconds; null if it does not answer.
    #[schema(required)]
    latency_seconds: Option<f64>,
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Setting)]
struct SettingView {
    /// Name.
    #[schema(example = "--http-addr")]
    name: String,
    /// Value.
    value: String,
    /// `flag`, `environment`, the path of a file, or `default`.
    source: String,
}

impl From<Server> for ServerView {
    fn from(server: Server) -> Self {
        Self { version: server.version, latency_seconds: server.latency.as_ref().map(Duration::as_secs_f64) }
    }
}

impl SystemView {
    fn new(report: SystemReport, now: Timestamp) -> Self {
        let gateways = report.gateways.into_iter().map(|(info, ago)| GatewayView {
            id: format!("{:012x}", info.id.0),
            host: Some(info.host.to_string()).filter(|host| !host.is_empty()),
            version: info.version.to_string(),
            started_at: info.started_at,
            last_seen_at: now - ago,
        });
        let settings = report.settings.iter().cloned().map(|setting| SettingView {
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

/// Returns the running gateways, the servers that they use, and the settings of this gateway. Requires the scope
/// `metrics:read`.
#[utoipa::path(
    get, path = "/system", tag = "operations", operation_id = "getSystem",
    responses((status = 200, description = "The parts of the system.", body = SystemView))
)]
pub(super) async fn system(
    State(state): State<RestState>,
    Caller(principal): Caller,
) -> Result<Json<SystemView>, ApiError> {
    let report = state.system.report(&principal).await?;
    Ok(Json(SystemView::new(report, state.orders.now())))
}
