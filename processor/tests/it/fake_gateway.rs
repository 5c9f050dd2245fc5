//! A fake gateway: orders in memory, and switches for faults of the gateway and of the connection.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use domain::{
    Currency, ErrorCode, LeaseToken, LineItem, Money, Order, OrderId, Outcome, Status as OrderStatus,
    Timestamp,
};
use futures_util::Stream;
use proto::v1::order_service_server::{OrderService, OrderServiceServer};
use proto::v1::{self, GatewayMessage, WorkerMessage, gateway_message, worker_message};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// One accepted report.
pub(crate) type Report = (OrderId, LeaseToken, Outcome);

/// The state that outlives the gateway: the database, the switches, and the received messages.
#[derive(Default)]
pub(crate) struct GatewayState {
    pub(crate) orders: HashMap<OrderId, (Order, Option<LeaseToken>)>,
    pub(crate) reports: Vec<Report>,
    reported: HashSet<OrderId>,
    /// Every received message, with the number of its stream.
    pub(crate) received: Vec<(usize, WorkerMessage)>,
    pub(crate) streams: usize,
    /// Requests are applied and get no response.
    pub(crate) silent: bool,
    /// New streams are rejected.
    pub(crate) closed: bool,
    pub(crate) rejected_streams: usize,
    /// The number of further requests that get the response TryAgain.
    pub(crate) try_again: usize,
    /// Entries of this order are refused with `try_again`.
    pub(crate) locked: Option<OrderId>,
    /// A Start gets one message for each order. The stream ends once, after this number of messages.
    pub(crate) parts: Option<usize>,
    pub(crate) heartbeat_interval: Option<Duration>,
    /// The sender of the latest stream.
    latest_stream: Option<mpsc::Sender<Result<GatewayMessage, Status>>>,
}

#[derive(Clone, Default)]
struct Service {
    state: Arc<Mutex<GatewayState>>,
    /// The number of streams to this gateway only.
    streams: Arc<AtomicUsize>,
}

pub(crate) struct FakeGateway {
    service: Service,
    pub(crate) addr: SocketAddr,
    /// Dropping it closes every socket immediately, as a crash does.
    runtime: Option<Runtime>,
}

pub(crate) fn order() -> Order {
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let price = Money::from_minor(129_999, Currency::USD);
    let line_items = vec![LineItem { item: "Laptop".to_owned(), quantity: 2, price }];
    let content = domain::Content {
        customer: Some("Ann".to_owned()),
        ..domain::Content::new(line_items, Money::from_minor(259_998, Currency::USD))
    };
    Order::pending(OrderId::new(now), domain::TenantId::default(), content, now)
}

impl FakeGateway {
    pub(crate) fn start() -> Self {
        Self::with(Service::default())
    }

    /// Starts another gateway with the same database.
    pub(crate) fn second_gateway(&self) -> Self {
        Self::with(Service { state: self.service.state.clone(), streams: Arc::default() })
    }

    fn with(service: Service) -> Self {
        let mut gateway = Self { service, addr: SocketAddr::from(([127, 0, 0, 1], 0)), runtime: None };
        gateway.restart();
        gateway
    }

    /// Returns the number of streams that this gateway has had.
    pub(crate) fn streams(&self) -> usize {
        self.service.streams.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, GatewayState> {
        self.service.state.lock().unwrap()
    }

    pub(crate) fn add_orders(&self, count: usize) -> Vec<OrderId> {
        let mut state = self.state();
        let orders = std::iter::repeat_with(order).take(count);
        orders
            .map(|order| {
                let id = order.id;
                state.orders.insert(id, (order, None));
                id
            })
            .collect()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The drop of a runtime blocks, which async code must not do.
            std::thread::spawn(move || drop(runtime)).join().unwrap();
        }
    }

    /// Starts the gateway again on the same port.
    pub(crate) fn restart(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let (addr, service) = (self.addr, self.service.clone());
        runtime.spawn(async move {
            let listener = loop {
                match TcpListener::bind(addr).await {
                    Ok(listener) => break listener,
                    // An outgoing connection of another process may use the port temporarily.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            tell.send(listener.local_addr().unwrap()).unwrap();
            tonic::transport::Server::builder()
                .add_service(OrderServiceServer::new(service))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        self.addr = told.recv_timeout(Duration::from_secs(30)).unwrap();
        self.runtime = Some(runtime);
    }

    /// Sends a message without a request to the latest stream.
    pub(crate) fn push_message(&self, message: gateway_message::Message) {
        let latest_stream = self.state().latest_stream.clone().expect("a worker is connected");
        latest_stream.try_send(Ok(GatewayMessage { request_id: 0, message: Some(message) })).unwrap();
    }

    /// Removes the lease of an order.
    pub(crate) fn revoke_lease(&self, id: OrderId) {
        self.state().orders.get_mut(&id).unwrap().1 = None;
    }
}

impl Drop for FakeGateway {
    fn drop(&mut self) {
        self.kill();
    }
}

impl GatewayState {
    /// Returns the leases of all received Starts, one list for each.
    pub(crate) fn starts(&self) -> Vec<(usize, Vec<v1::Lease>)> {
        let start = |(stream, received): &(usize, WorkerMessage)| match received.message.as_ref()? {
            worker_message::Message::Start(start) => Some((*stream, start.leases.clone())),
            _ => None,
        };
        self.received.iter().filter_map(start).collect()
    }

    pub(crate) fn finishes(&self) -> Vec<(usize, Vec<v1::Report>)> {
        let finish = |(stream, received): &(usize, WorkerMessage)| match received.message.as_ref()? {
            worker_message::Message::Finish(finish) => Some((*stream, finish.reports.clone())),
            _ => None,
        };
        self.received.iter().filter_map(finish).collect()
    }

    pub(crate) fn heartbeats(&self) -> Vec<v1::Lease> {
        let leases = |(_, received): &(usize, WorkerMessage)| match received.message.as_ref()? {
            worker_message::Message::Heartbeats(heartbeats) => Some(heartbeats.leases.clone()),
            _ => None,
        };
        self.received.iter().filter_map(leases).flatten().collect()
    }

    pub(crate) fn outcome(&self, id: OrderId) -> Option<Outcome> {
        self.reports.iter().find(|report| report.0 == id).map(|report| report.2.clone())
    }

    fn respond(&mut self, message: worker_message::Message) -> Option<gateway_message::Message> {
        use gateway_message::Message as Answer;
        use worker_message::Message;
        if !matches!(message, Message::Hello(_)) && self.try_again > 0 {
            self.try_again -= 1;
            return Some(Answer::TryAgain(v1::TryAgain { reason: "not now".to_owned() }));
        }
        let refused = |lease, code: ErrorCode| v1::Refused {
            lease: Some(lease),
            reason: code.to_string(),
            ..v1::Refused::default()
        };
        let answer = match message {
            Message::Hello(_) => {
                let interval = self.heartbeat_interval.unwrap_or(Duration::from_secs(10));
                let heartbeat_interval_ms = interval.as_millis() as u64;
                return Some(Answer::Welcome(v1::Welcome {
                    lease_ms: heartbeat_interval_ms * 3,
                    heartbeat_interval_ms,
                }));
            }
            Message::Start(start) => {
                let mut started = v1::Started::default();
                for lease in start.leases {
                    let (id, token) = lease.parse().unwrap();
                    if self.locked == Some(id) {
                        started.refused.push(refused(lease, ErrorCode::TryAgain));
                        continue;
                    }
                    match self.orders.get_mut(&id) {
                        Some((order, held)) if held.is_none() || *held == Some(token) => {
                            if held.is_none() {
                                (order.status, order.attempt) = (OrderStatus::Processing, order.attempt + 1);
                            }
                            *held = Some(token);
                            started.attempts.push(v1::Attempt {
                                order: Some(order.clone().into()),
                                lease_token: lease.lease_token,
                                traceparent: None,
                                checkpoint: None,
                            });
                        }
                        Some(_) => started.refused.push(refused(lease, ErrorCode::AlreadyStarted)),
                        None => started.refused.push(refused(lease, ErrorCode::OrderNotFound)),
                    }
                }
                Answer::Started(started)
            }
            Message::Heartbeats(heartbeats) => {
                let gone = |lease: &v1::Lease| !self.holds(lease);
                let lost = heartbeats.leases.into_iter().filter(gone);
                let lost = lost.map(|lease| refused(lease, ErrorCode::StaleLease)).collect();
                Answer::Renewed(v1::Renewed { lost })
            }
            Message::Finish(finish) => {
                let mut finished = v1::Finished::default();
                for report in finish.reports {
                    let lease = report.lease.clone().unwrap();
                    let report = report.parse().unwrap();
                    if self.locked == Some(report.0) {
                        finished.refused.push(refused(lease, ErrorCode::TryAgain));
                    } else if !self.holds(&lease) {
                        finished.refused.push(refused(lease, ErrorCode::StaleLease));
                    } else if self.reported.insert(report.0) {
                        self.reports.push(report);
                    }
                }
                Answer::Finished(finished)
            }
        };
        (!self.silent).then_some(answer)
    }

    /// Splits a response into messages, and returns whether the stream ends after them.
    fn split_response(
        &mut self,
        answer: Option<gateway_message::Message>,
    ) -> (Vec<gateway_message::Message>, bool) {
        use gateway_message::Message as Answer;
        match (answer, self.parts) {
            (Some(Answer::Started(started)), Some(most)) => {
                let part = |attempt| v1::Started { attempts: vec![attempt], refused: Vec::new(), more: true };
                let mut parts: Vec<_> = started.attempts.into_iter().map(part).collect();
                parts.push(v1::Started { attempts: Vec::new(), refused: started.refused, more: false });
                let ends = most < parts.len();
                if ends {
                    parts.truncate(most);
                    self.parts = Some(usize::MAX);
                    self.latest_stream = None;
                }
                (parts.into_iter().map(Answer::Started).collect(), ends)
            }
            (answer, _) => (answer.into_iter().collect(), false),
        }
    }

    fn holds(&self, lease: &v1::Lease) -> bool {
        let (id, token) = lease.parse().unwrap();
        self.orders.get(&id).is_some_and(|(_, held)| *held == Some(token))
    }
}

#[tonic::async_trait]
impl OrderService for Service {
    type WorkStream = ReceiverStream<Result<GatewayMessage, Status>>;
    type WatchOrderStream = Pin<Box<dyn Stream<Item = Result<v1::OrderEvent, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let mut inbound = request.into_inner();
        let (sender, receiver) = mpsc::channel(64);
        let stream = {
            let mut state = self.state.lock().unwrap();
            if state.closed {
                state.rejected_streams += 1;
                return Err(Status::unavailable("closed"));
            }
            state.streams += 1;
            self.streams.fetch_add(1, Ordering::SeqCst);
            state.latest_stream = Some(sender.clone());
            state.streams
        };
        let service = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(received)) = inbound.message().await {
                let (answers, ends) = {
                    let mut state = service.state.lock().unwrap();
                    state.received.push((stream, received.clone()));
                    let answer = state.respond(received.message.unwrap());
                    state.split_response(answer)
                };
                for answer in answers {
                    let answer = GatewayMessage { request_id: received.request_id, message: Some(answer) };
                    if sender.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                if ends {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn update_status(
        &self,
        _: Request<v1::UpdateStatusRequest>,
    ) -> Result<Response<v1::UpdateStatusResponse>, Status> {
        Err(Status::unimplemented("not used by processors"))
    }

    async fn get_order(&self, _: Request<v1::GetOrderRequest>) -> Result<Response<v1::Order>, Status> {
        Err(Status::unimplemented("not used by processors"))
    }

    async fn watch_order(
        &self,
        _: Request<v1::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        Err(Status::unimplemented("not used by processors"))
    }
}
