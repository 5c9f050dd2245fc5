//! A separate gateway for each test, with its own database, key prefix and ports.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broker::{Bus, Queue, memory, redis};
use domain::Status;
use gateway::store::Options;
use gateway::{Config, Parts, Store};
use proto::v1;
use proto::v1::events_client::EventsClient;
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::worker_service_client::WorkerServiceClient;
use serde_json::{Value, json};
use test_database::Database;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// The deadline of `eventually`, far above every expected time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The back ends of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// SQLite and the memory broker.
    Embedded,
    /// MySQL or MariaDB, and Redis.
    Servers,
}

/// Runs one test on both pairs of back ends: `on_both!(name, |on| async { … })` becomes
/// `name::embedded` and `name::servers`.
#[macro_export]
macro_rules! on_both {
    ($(#[$doc:meta])* $name:ident, $body:expr) => {
        $(#[$doc])*
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn embedded() {
                ($body)($crate::harness::On::Embedded).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn servers() {
                ($body)($crate::harness::On::Servers).await;
            }
        }
    };
}

/// The parts that several gateways share: the database, the queue and the bus.
pub(crate) struct Backend {
    on: On,
    url: String,
    prefix: String,
    pub(crate) queue: Arc<dyn Queue>,
    /// The store that gateways share instead of opening the file again.
    pub(crate) queue_of_gateways: Option<Arc<dyn Queue>>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) store: Store,
    _folder: Option<tempfile::TempDir>,
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests with scripts/test.sh, which starts the servers")
    })
}

pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("gw_{}_{millis}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Backend {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The prefix of keys and channels in Redis.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn redis_url(&self) -> String {
        setting("ORDERS_TEST_REDIS_URL")
    }

    /// The URL of a database without tables, and the folder that contains it.
    pub(crate) async fn empty_database(on: On) -> (String, Option<tempfile::TempDir>) {
        match on {
            On::Embedded => {
                let folder = tempfile::tempdir().unwrap();
                (format!("sqlite:{}", folder.path().join("orders.db").display()), Some(folder))
            }
            On::Servers => {
                let server = setting("ORDERS_TEST_MYSQL_URL");
                let mut connection = Database::connect(&server).await.unwrap();
                let name = unique_name();
                let create = format!("CREATE DATABASE {name}");
                connection.run(create).await.unwrap();
                let mut url = url::Url::parse(&server).unwrap();
                url.set_path(&name);
                // The databases are removed with the test server.
                (url.to_string(), None)
            }
        }
    }

    pub(crate) async fn new(on: On) -> Self {
        let (url, folder) = Self::empty_database(on).await;
        let prefix = unique_name();
        let store = Store::connect(&url, &Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        let (queue, bus): (Arc<dyn Queue>, Arc<dyn Bus>) = match on {
            On::Embedded => (Arc::new(memory::MemoryQueue::new()), Arc::new(memory::MemoryBus::new())),
            On::Servers => {
                let redis = redis::Redis::new(&setting("ORDERS_TEST_REDIS_URL"), &prefix).unwrap();
                (Arc::new(redis.queue()), Arc::new(redis.bus(key(&store).await)))
            }
        };
        Self { on, url, prefix, queue, queue_of_gateways: None, bus, store, _folder: folder }
    }

    /// A gateway on this backend.
    pub(crate) async fn gateway(&self, config: Config) -> Gateway<'_> {
        self.gateway_with(self.gateway_store().await, config).await
    }

    /// The store of a gateway. Each has its own connections, except to an SQLite file, which has one
    /// owner.
    pub(crate) async fn gateway_store(&self) -> Store {
        match self.on {
            On::Embedded => self.store.clone(),
            On::Servers => Store::connect(&self.url, &Options::default()).await.unwrap(),
        }
    }

    /// A gateway on this backend with its own store.
    pub(crate) async fn gateway_with(&self, store: Store, config: Config) -> Gateway<'_> {
        self.gateway_over(store, config).await
    }

    /// A gateway on this backend with a store of another kind.
    pub(crate) async fn gateway_over(&self, store: Store, config: Config) -> Gateway<'_> {
        self.gateway_at("127.0.0.1:0", store, config).await
    }

    /// A gateway whose gRPC port is bound to this address.
    pub(crate) async fn gateway_listening(&self, grpc: &str) -> Gateway<'_> {
        self.gateway_at(grpc, self.gateway_store().await, Config::default()).await
    }

    async fn gateway_at(&self, grpc: &str, store: Store, config: Config) -> Gateway<'_> {
        let (queue, bus): (Arc<dyn Queue>, Arc<dyn Bus>) = match self.on {
            On::Embedded => (self.queue.clone(), self.bus.clone()),
            On::Servers => {
                let redis = redis::Redis::new(&setting("ORDERS_TEST_REDIS_URL"), &self.prefix).unwrap();
                (Arc::new(redis.queue()), Arc::new(redis.bus(key(&store).await)))
            }
        };
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = TcpListener::bind(grpc).await.unwrap();
        let (http_addr, grpc_addr) = (http.local_addr().unwrap(), grpc.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let queue = self.queue_of_gateways.clone().unwrap_or(queue);
        let parts = Parts { config, store, queue, bus, http, grpc, admin: None };
        let running = tokio::spawn(gateway::serve(parts, async move {
            let _ = stopped.await;
        }));
        Gateway {
            backend: self,
            http: format!("http://{http_addr}"),
            // An unspecified address is reached over loopback.
            grpc: format!("http://127.0.0.1:{}", grpc_addr.port()),
            client: client(),
            stop: Some(stop),
            running: Some(running),
        }
    }
}

/// The key with which the gateways of this database authenticate bus messages.
async fn key(store: &Store) -> redis::BusKey {
    let installation = store.installation().await.unwrap();
    redis::BusKey::new(installation.id, &installation.secret)
}

/// A client for plain HTTP; it requires a TLS provider nevertheless.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A running gateway.
pub(crate) struct Gateway<'b> {
    pub(crate) backend: &'b Backend,
    http: String,
    pub(crate) grpc: String,
    pub(crate) client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<(), std::io::Error>>>,
}

impl Gateway<'_> {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http)
    }

    pub(crate) fn ws_url(&self, path: &str) -> String {
        self.url(path).replacen("http", "ws", 1)
    }

    /// `host:port` of the HTTP server, for raw sockets.
    pub(crate) fn http_addr(&self) -> &str {
        self.http.trim_start_matches("http://")
    }

    /// `host:port` of the gRPC server.
    pub(crate) fn grpc_addr(&self) -> &str {
        self.grpc.trim_start_matches("http://")
    }

    pub(crate) async fn workers(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::connect(self.grpc.clone()).await.unwrap()
    }

    pub(crate) async fn claimers(&self) -> WorkerServiceClient<Channel> {
        WorkerServiceClient::connect(self.grpc.clone()).await.unwrap()
    }

    pub(crate) async fn events(&self) -> EventsClient<Channel> {
        EventsClient::connect(self.grpc.clone()).await.unwrap()
    }

    /// Creates an order over REST and returns its id.
    pub(crate) async fn create_order(&self) -> String {
        self.create(json!({"item": "Laptop", "quantity": 2, "price": 1299.99})).await
    }

    pub(crate) async fn create(&self, body: Value) -> String {
        self.create_full(body).await["id"].as_str().unwrap().to_owned()
    }

    /// Creates an order over REST and returns the response.
    pub(crate) async fn create_full(&self, body: Value) -> Value {
        let response = self
            .client
            .post(self.url("/orders"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = response.status();
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(status, 201, "{body}");
        body
    }

    /// One order, read over gRPC.
    pub(crate) async fn order(&self, id: &str) -> v1::Order {
        let request = v1::GetOrderRequest { order_id: id.to_owned() };
        self.workers().await.get_order(request).await.unwrap().into_inner()
    }

    pub(crate) async fn report(
        &self,
        id: &str,
        status: &str,
        lease_token: &str,
    ) -> Result<v1::UpdateStatusResponse, tonic::Status> {
        let request = v1::UpdateStatusRequest {
            order_id: id.to_owned(),
            status: status.to_owned(),
            lease_token: lease_token.to_owned(),
            ..v1::UpdateStatusRequest::default()
        };
        self.workers().await.update_status(request).await.map(tonic::Response::into_inner)
    }

    /// The next job of the queue.
    pub(crate) async fn next_job(&self) -> String {
        eventually("a job", || async {
            let jobs = self.backend.queue.pull(1, Duration::from_millis(200)).await.ok()?;
            jobs.first().map(|job| job.order_id.to_string())
        })
        .await
    }

    /// Returns the statuses of an order's timeline, and fails if its sequence has a gap.
    pub(crate) async fn timeline(&self, id: &str) -> Vec<Status> {
        let events = self
            .backend
            .store
            .events_after(&domain::Principal::anonymous(), &[(id.parse().unwrap(), 0)])
            .await
            .unwrap();
        for (n, event) in events.iter().enumerate() {
            assert_eq!(event.sequence as usize, n + 1, "{events:?}");
        }
        events.iter().map(|event| event.status).collect()
    }

    /// Stops the gateway as SIGTERM does, and checks the invariants.
    pub(crate) async fn stop(mut self) {
        self.end().await;
        check_invariants(&self.backend.store).await;
    }

    /// Begins to stop the gateway as SIGTERM does, and does not wait.
    pub(crate) fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    async fn end(&mut self) {
        self.begin_stop();
        if let Some(running) = self.running.take() {
            tokio::time::timeout(PATIENCE, running).await.expect("shutdown ends").unwrap().unwrap();
        }
    }
}

/// Asserts that the doctor finds no issue.
pub(crate) async fn check_invariants(store: &Store) {
    let report = store.inspect(Duration::from_secs(60)).await.unwrap();
    assert_eq!(report.issues, []);
}

/// Repeats a check until it succeeds or the deadline passes.
pub(crate) async fn eventually<T, F, Fut>(what: &str, mut attempt: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the origin of a command on the store.
pub(crate) fn requester() -> domain::Requester {
    domain::Requester { name: "test".into(), request_id: None }
}

/// A configuration with short leases and visibility timeouts.
pub(crate) fn quick() -> Config {
    let mut config = Config::default();
    config.service.visibility_timeout = Duration::from_millis(300);
    config.service.rules.lease = Duration::from_millis(600);
    config.service.rules.retry.base = Duration::from_millis(50);
    config.shutdown_timeout = Duration::from_secs(2);
    config
}
