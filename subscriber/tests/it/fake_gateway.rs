//! A gateway with an event log in memory and one reader. A cursor is the number of events before it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use proto::v1;
use proto::v1::events_server::{Events, EventsServer};
use subscriber::{Config, Delivery, Event, EventHandler, Retry, async_trait};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// The state of the gateways, which several servers can share.
#[derive(Clone, Default)]
pub(crate) struct Gateway(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) events: usize,
    pub(crate) committed: usize,
    pub(crate) metadata: String,
    pub(crate) holder: Option<String>,
    /// The number of commits.
    pub(crate) commits: usize,
    /// Commits are refused as unavailable.
    pub(crate) is_unavailable: bool,
    /// The cursor before the oldest event.
    pub(crate) oldest: usize,
}

impl Gateway {
    pub(crate) fn with_events(events: usize) -> Self {
        let gateway = Self::default();
        gateway.state().events = events;
        gateway
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    pub(crate) fn add_events(&self, events: usize) {
        self.state().events += events;
        self.0.changed.notify_waiters();
    }

    /// Serves on a free port until the token is cancelled, which ends every connection.
    pub(crate) async fn serve(&self) -> (String, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, service) = (CancellationToken::new(), EventsServer::new(self.clone()));
        let serve =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = serve => served.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        (url, stop)
    }
}

/// The n-th event, from 1.
fn event(n: usize) -> v1::LogEvent {
    let order = format!("01890a5d-ac96-774b-bcce-{n:012x}");
    let time = "2023-11-14T22:13:20.123456Z";
    let json = format!(
        r#"{{"id":"{order}-1","type":"order.created","timestamp":"{time}","data":{{"orderId":"{order}","sequence":1,"#
    ) + &format!(
        r#""status":"pending","previousStatus":null,"attempt":0,"reason":null,"errorClass":null,"occurredAt":"{time}","#
    ) + r#""order":null}}"#;
    v1::LogEvent { id: format!("{order}-1"), r#type: "order.created".to_owned(), cursor: n.to_string(), json }
}

/// The number of an event.
pub(crate) fn number(event: &Event) -> usize {
    let order = event.order_id.to_string();
    usize::from_str_radix(order.rsplit('-').next().unwrap(), 16).unwrap()
}

fn refused(code: &'static str, metadata: (&'static str, String)) -> Status {
    let mut status = Status::failed_precondition(code);
    status.metadata_mut().insert(proto::ERROR_METADATA, code.parse().unwrap());
    status.metadata_mut().insert(metadata.0, metadata.1.parse().unwrap());
    status
}

#[tonic::async_trait]
impl Events for Gateway {
    async fn read(
        &self,
        request: Request<v1::ReadEventsRequest>,
    ) -> Result<Response<v1::ReadEventsResponse>, Status> {
        let request = request.into_inner();
        let end = tokio::time::Instant::now() + Duration::from_millis(request.wait_ms.into());
        loop {
            let changed = self.0.changed.notified();
            {
                let mut state = self.state();
                if state.holder.as_ref().is_some_and(|holder| *holder != request.holder) {
                    return Err(refused("reader_leased", ("grpc-retry-pushback-ms", "100".to_owned())));
                }
                state.holder = Some(request.holder.clone());
                if state.committed < state.oldest {
                    return Err(refused(
                        "cursor_expired",
                        (proto::OLDEST_CURSOR_METADATA, state.oldest.to_string()),
                    ));
                }
                let last = state.events.min(state.committed + request.limit as usize);
                if last > state.committed || tokio::time::Instant::now() >= end {
                    return Ok(Response::new(v1::ReadEventsResponse {
                        events: (state.committed + 1..=last).map(event).collect(),
                        next: last.to_string(),
                        metadata: state.metadata.clone(),
                        committed: state.committed.to_string(),
                    }));
                }
            }
            let _ = tokio::time::timeout_at(end, changed).await;
        }
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.state();
        if state.is_unavailable {
            return Err(Status::unavailable("not now"));
        }
        if state.holder.as_ref() != Some(&request.holder) {
            return Err(refused("stale_reader_lease", ("x", String::new())));
        }
        if let Ok(cursor) = request.cursor.parse::<usize>() {
            assert!(cursor >= state.committed, "a commit went back");
            state.committed = cursor;
        }
        if let Some(metadata) = request.metadata {
            state.metadata = metadata;
        }
        if request.release {
            state.holder = None;
        }
        state.commits += 1;
        Ok(Response::new(v1::CommitResponse {}))
    }

    async fn remove_reader(
        &self,
        _request: Request<v1::RemoveReaderRequest>,
    ) -> Result<Response<v1::RemoveReaderResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }
}

/// A handler that records the events, and first does what a test wants.
pub(crate) struct Recorder<F> {
    pub(crate) seen: Mutex<Vec<usize>>,
    pub(crate) before: F,
}

impl<F> Recorder<F> {
    pub(crate) fn new(before: F) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::new(Vec::new()), before })
    }

    pub(crate) fn seen(&self) -> Vec<usize> {
        self.seen.lock().unwrap().clone()
    }
}

#[async_trait]
impl<F, R> EventHandler for Recorder<F>
where
    F: Fn(usize) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Retry>> + Send,
{
    async fn handle(&self, event: &Event, _delivery: &Delivery) -> Result<(), Retry> {
        self.seen.lock().unwrap().push(number(event));
        (self.before)(number(event)).await
    }
}

/// The settings of a quick subscriber.
pub(crate) fn config(url: &str) -> Config {
    let mut config = Config::new("test");
    config.gateway_urls = vec![url.to_owned()];
    config.lease = Duration::from_secs(1);
    config.retry.base = Duration::from_millis(10);
    config.page = 4;
    config
}

/// A running subscriber.
pub(crate) struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), subscriber::Error>>,
}

impl Running {
    pub(crate) fn start(config: Config, handler: Arc<dyn EventHandler>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(subscriber::run(config, handler, stop.clone().cancelled_owned()));
        Self { stop, task }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.end().await.unwrap();
    }

    pub(crate) async fn end(self) -> Result<(), subscriber::Error> {
        tokio::time::timeout(Duration::from_secs(20), self.task).await.expect("it ends").unwrap()
    }
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("no {what}"));
}
