//! The gRPC service for processors, and for workers in other languages.
//!
//! [`unary`] serves one status at a time and the readers, [`work`] the stream of a worker that runs
//! many orders at once. Both decide nothing: they call the same use cases as everybody else. The routes are
//! served by [`crate::http::server`], as those of HTTP are; `calls` has the limits of a call.

mod calls;
mod message;
mod outgoing;
mod state;
mod status;
mod tokens;
mod unary;
mod work;

use axum::Router;
use proto::v1::order_service_server::OrderServiceServer;
use tonic::service::Routes;
use tonic_health::ServingStatus;

pub use self::state::Config;
pub(crate) use self::state::State;
#[cfg(test)]
pub(crate) use self::status::status;
pub(crate) use self::status::{overloaded, refusal};

/// Longest message of a worker's stream. A full batch of reports with long reasons has about 700 KB.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Everything on the gRPC port: orders, health and reflection.
pub(crate) async fn router(state: &State) -> Router {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<OrderServiceServer<unary::Service>>().await;
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
        health.set_not_serving::<OrderServiceServer<unary::Service>>().await;
    });
    let service =
        OrderServiceServer::new(unary::Service::new(state.clone())).max_decoding_message_size(MESSAGE_BYTES);
    let routes = Routes::new(service).add_service(health_service).add_service(v1).add_service(v1alpha);
    calls::limited(routes.into_axum_router(), &state.context)
}
