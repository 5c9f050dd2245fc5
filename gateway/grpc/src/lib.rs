//! The gRPC API for processors, and for workers in other languages.
//!
//! [`order_service`] serves single calls: status changes and reads. [`claim_stream`] serves the stream of a worker that the
//! gateway assigns jobs to, [`worker_stream`] that of one which takes them from the queue, and [`event_service`] the event log. They call the use cases and decide nothing. [`gateway_http::server`] serves the routes;
//! [`call_limits`] contains the limits of a call.

mod call_limits;
mod claim_stream;
mod event_service;
mod lease_tokens;
mod message_body;
mod order_service;
mod state;
mod status;
mod worker_messages;
mod worker_service;
mod worker_stream;

use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use proto::v1::events_server::EventsServer;
use proto::v1::order_service_server::OrderServiceServer;
use proto::v1::worker_service_server::WorkerServiceServer;
use tonic::service::Routes;
use tonic_health::ServingStatus;

use self::call_limits::MAX_WORKER_MESSAGE_BYTES;
pub use self::state::Config;
pub use self::state::State;
pub use self::status::status;
use self::status::{overloaded, refusal};
use gateway_http::problem::Problem;
use gateway_http::server::{OverloadedTrailers, Port, Responder};

/// The port of workers.
///
/// A worker that reports single statuses has many calls open at once; the gateway serves them in batches.
pub const PORT: Port = Port {
    only_http2: true,
    max_concurrent_requests: 1_000,
    ping_interval: Duration::from_secs(10),
    ping_timeout: Duration::from_secs(10),
    responder: Responder { refuse, overloaded_trailers },
};

/// Returns a rejection in the form that the client reads: a gRPC status or a problem.
fn refuse(headers: &HeaderMap, problem: Problem) -> Response {
    if is_grpc(headers) { refusal(&problem) } else { problem.into_response() }
}

fn overloaded_trailers(headers: &HeaderMap) -> Option<OverloadedTrailers> {
    is_grpc(headers).then_some(overloaded)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Returns the services of the gRPC port: orders, the event log, health and reflection.
pub async fn router(state: &State) -> Router {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<OrderServiceServer<order_service::Service>>().await;
    health.set_serving::<EventsServer<event_service::Service>>().await;
    health.set_serving::<WorkerServiceServer<worker_service::Service>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = reflection().build_v1().expect("the descriptors were encoded by our own build");
    let v1alpha = reflection().build_v1alpha().expect("the descriptors were encoded by our own build");

    let departing = state.context.departing.clone();
    state.context.tasks.spawn(async move {
        departing.cancelled().await;
        health.set_service_status("", ServingStatus::NotServing).await;
        health.set_not_serving::<OrderServiceServer<order_service::Service>>().await;
        health.set_not_serving::<EventsServer<event_service::Service>>().await;
        health.set_not_serving::<WorkerServiceServer<worker_service::Service>>().await;
    });
    let service = OrderServiceServer::new(order_service::Service::new(state.clone()))
        .max_decoding_message_size(MAX_WORKER_MESSAGE_BYTES);
    let events = EventsServer::new(event_service::Service::new(state.clone()));
    let workers = WorkerServiceServer::new(worker_service::Service::new(state.clone()))
        .max_decoding_message_size(MAX_WORKER_MESSAGE_BYTES);
    let mut routes =
        Routes::new(service).add_service(events).add_service(workers).add_service(health_service);
    if state.config.reflection {
        routes = routes.add_service(v1).add_service(v1alpha);
    }
    call_limits::limited(routes.into_axum_router(), &state.context)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn rejected_connection_is_a_status_on_grpc_and_a_problem_on_http() {
        let problem =
            || Problem::new(domain::ErrorCode::TooManyConnections, "x").retry_after(Duration::from_secs(5));
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
        let refused = refuse(&headers, problem());
        assert_eq!(refused.status(), 200);
        assert_eq!(refused.headers()["grpc-status"], "8", "RESOURCE_EXHAUSTED");
        assert_eq!(refused.headers()["grpc-retry-pushback-ms"], "5000");
        let trailers = overloaded_trailers(&headers).unwrap()().unwrap();
        assert_eq!(trailers["grpc-status"], "14", "UNAVAILABLE");
        assert_eq!(refuse(&HeaderMap::new(), problem()).status(), 429);
        assert!(overloaded_trailers(&HeaderMap::new()).is_none());
    }
}
