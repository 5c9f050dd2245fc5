//! The gRPC server for processors, and for workers in other languages.
//!
//! [`unary`] serves one status at a time and the readers, [`work`] the stream of a worker that runs
//! many orders at once. Both decide nothing: they call the same use cases as everybody else.

mod status;
mod tokens;
mod unary;
mod work;

use std::future::Future;
use std::time::Duration;

use proto::v1::order_service_server::OrderServiceServer;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

use crate::App;

/// How often an idle connection is pinged, and how long it may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Longest message that is taken. A full batch of reports with long reasons has about 700 KB.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Most open calls of one connection; clients keep further ones back. Workers that report single statuses
/// are served in batches, so many of their calls are open at once.
const CALLS: u32 = 1_000;

/// Serves until `shutdown` ends and the calls that are open have ended.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<OrderServiceServer<unary::Service>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = reflection().build_v1().expect("the descriptors were encoded by our own build");
    let v1alpha = reflection().build_v1alpha().expect("the descriptors were encoded by our own build");

    let draining = app.draining.clone();
    app.tasks.spawn(async move {
        draining.cancelled().await;
        health.set_service_status("", ServingStatus::NotServing).await;
        health.set_not_serving::<OrderServiceServer<unary::Service>>().await;
    });
    let service = OrderServiceServer::new(unary::Service::new(app)).max_decoding_message_size(MESSAGE_BYTES);
    // The builder has an option of this name, which has no effect on a listener that is passed to it.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(CALLS)
        .add_service(service)
        .add_service(health_service)
        .add_service(v1)
        .add_service(v1alpha)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
}
