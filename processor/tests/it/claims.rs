//! The stream on which a gateway assigns jobs.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{LeaseToken, OrderId};
use futures_util::Stream;
use processor::{Config, Outcome};
use proto::v1;
use proto::v1::claim_request::Message as Request;
use proto::v1::claim_response::Message as Response;
use proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Status, Streaming};

use crate::fake_gateway::order;
use crate::harness::{Handler, eventually};

/// A gateway that assigns a job for each credit, and never responds to results.
#[derive(Clone, Default)]
struct MuteGateway {
    /// The orders of each Results message.
    results: Arc<Mutex<Vec<Vec<OrderId>>>>,
}

#[tonic::async_trait]
impl WorkerService for MuteGateway {
    type ClaimStream = Pin<Box<dyn Stream<Item = Result<v1::ClaimResponse, Status>> + Send>>;

    async fn claim(
        &self,
        request: tonic::Request<Streaming<v1::ClaimRequest>>,
    ) -> Result<tonic::Response<Self::ClaimStream>, Status> {
        let mut requests = request.into_inner();
        let (sender, responses) = mpsc::channel(1_000);
        let this = self.clone();
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok(Some(request)) = requests.message().await {
                let mut messages = Vec::new();
                match request.message {
                    Some(Request::Hello(_)) => messages.push(Response::Welcome(v1::ClaimWelcome {
                        lease_ms: 30_000,
                        heartbeat_interval_ms: 10_000,
                        lost: Vec::new(),
                    })),
                    Some(Request::Results(results)) => {
                        let ids = results.reports.into_iter().map(|report| report.parse().unwrap().0);
                        this.results.lock().unwrap().push(ids.collect());
                    }
                    _ => {}
                }
                for _ in 0..request.credits {
                    number += 1;
                    let job = v1::Attempt {
                        order: Some(order().into()),
                        lease_token: LeaseToken::random().to_string(),
                        ..Default::default()
                    };
                    messages.push(Response::Jobs(v1::Jobs { number, jobs: vec![job] }));
                }
                for message in messages {
                    let response = v1::ClaimResponse { message: Some(message) };
                    if sender.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}

/// A gateway cannot record results while a shard of its database does not respond. Those of the other shards must not wait.
#[tokio::test]
async fn results_without_a_response_do_not_delay_others() {
    let gateway = MuteGateway::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(WorkerServiceServer::new(gateway.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);
    let config = Config {
        gateway_urls: vec![url],
        concurrency: 1,
        shutdown_timeout: Duration::from_millis(10),
        ..Config::default()
    };
    let handler = Handler(|_, _| async { Outcome::Completed });
    let (shut_down, told) = oneshot::channel::<()>();
    let processor = tokio::spawn(processor::run(config, None, Arc::new(handler), async move {
        let _ = told.await;
    }));
    let results = gateway.results.clone();
    // More than the processor sends before the first responses.
    eventually("further results", || results.lock().unwrap().len() >= 5).await;
    let mut ids = results.lock().unwrap().concat();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "no order is reported twice");
    shut_down.send(()).unwrap();
    let _ = processor.await.unwrap();
    server.abort();
}
