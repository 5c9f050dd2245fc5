//! Batches of reports over one gRPC stream to a server that only acknowledges them.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::gateway_message::Message as GatewayMessage;
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::order_service_server::{OrderService, OrderServiceServer};
use proto::v1::worker_message::Message as WorkerMessage;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Response, Status, Streaming};

use super::limit::{Limit, cpu_since};
use crate::load::run_on_this_thread;
use crate::servers::Servers;

/// Reports of one message.
const BATCH: usize = 256;
/// Unacknowledged messages.
const IN_FLIGHT: usize = 4;

struct Acknowledge;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl OrderService for Acknowledge {
    type WorkStream = Responses<v1::GatewayMessage>;
    type WatchOrderStream = Responses<v1::OrderEvent>;

    async fn work(
        &self,
        requests: tonic::Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let responses = requests.into_inner().map(|request| {
            let v1::WorkerMessage { request_id, .. } = request?;
            Ok(v1::GatewayMessage {
                request_id,
                message: Some(GatewayMessage::Finished(v1::Finished::default())),
            })
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn update_status(
        &self,
        _: tonic::Request<v1::UpdateStatusRequest>,
    ) -> Result<Response<v1::UpdateStatusResponse>, Status> {
        Err(Status::unimplemented("only the stream is measured"))
    }

    async fn get_order(&self, _: tonic::Request<v1::GetOrderRequest>) -> Result<Response<v1::Order>, Status> {
        Err(Status::unimplemented("only the stream is measured"))
    }

    async fn watch_order(
        &self,
        _: tonic::Request<v1::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        Err(Status::unimplemented("only the stream is measured"))
    }
}

pub(super) async fn serve(addr: SocketAddr) -> io::Result<()> {
    let server = tonic::transport::Server::builder().add_service(OrderServiceServer::new(Acknowledge));
    server.serve(addr).await.map_err(io::Error::other)
}

pub(crate) fn measure(duration: Duration) -> io::Result<Limit> {
    let mut servers = Servers::without_processes()?;
    let addr = servers.grpc;
    let (program, to) = (std::env::current_exe()?, addr.to_string());
    servers
        .start_program("server", &program, &["serve", "stream", &to], || TcpStream::connect(addr).is_ok())?;
    let before = servers.cpu()?;
    let count = run_on_this_thread(send_reports(addr, duration))??;
    let name = format!("reports of {BATCH} in a message on a gRPC stream");
    Ok(Limit::new(name, None, count, duration, cpu_since(&servers, &before)?))
}

fn report_batch() -> v1::WorkerMessage {
    let lease =
        v1::Lease { order_id: uuid::Uuid::now_v7().to_string(), lease_token: "0123456789abcdef".to_owned() };
    let outcome = v1::report::Outcome::Completed(v1::Completed { result: None });
    let reports = vec![v1::Report { lease: Some(lease), outcome: Some(outcome) }; BATCH];
    v1::WorkerMessage { request_id: 1, message: Some(WorkerMessage::Finish(v1::Finish { reports })) }
}

async fn send_reports(addr: SocketAddr, duration: Duration) -> io::Result<u64> {
    let mut client = OrderServiceClient::connect(format!("http://{addr}")).await.map_err(io::Error::other)?;
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let mut responses =
        client.work(ReceiverStream::new(receiver)).await.map_err(io::Error::other)?.into_inner();
    let batch = report_batch();
    for _ in 0..IN_FLIGHT {
        sender.send(batch.clone()).await.map_err(io::Error::other)?;
    }
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < duration {
        if responses.message().await.map_err(io::Error::other)?.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count += BATCH as u64;
        sender.send(batch.clone()).await.map_err(io::Error::other)?;
    }
    Ok(count)
}
