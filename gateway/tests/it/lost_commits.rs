//! COMMITs without a response: the connection to MariaDB breaks during the COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use domain::Status;
use gateway::store::Options;
use gateway::{Config, Store};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::harness::{Backend, Gateway, On, check_invariants, eventually};

/// All packets pass.
pub(crate) const OPEN: u8 = 0;
/// The next COMMIT does not reach the server.
pub(crate) const LOSE_COMMIT: u8 = 1;
/// The next COMMIT is executed, and its response is lost.
pub(crate) const LOSE_ANSWER: u8 = 2;
/// The same, and afterwards no connection is accepted.
const LOSE_ANSWER_AND_CLOSE: u8 = 3;
const CLOSED: u8 = 4;

/// A proxy to the database that breaks a connection at a COMMIT.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) url: String,
    pub(crate) mode: Arc<AtomicU8>,
    /// The number of COMMITs that were broken.
    pub(crate) lost: Arc<AtomicUsize>,
}

impl Way {
    pub(crate) async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(3306));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        // MySQL 9 offers TLS, which would hide the COMMIT from the proxy.
        url.query_pairs_mut().append_pair("ssl-mode", "DISABLED");
        let way = Self { url: url.to_string(), mode: Arc::default(), lost: Arc::default() };
        let accepting = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if accepting.mode.load(Ordering::SeqCst) != CLOSED {
                    tokio::spawn(
                        accepting.clone().pass(client, TcpStream::connect(server.clone()).await.unwrap()),
                    );
                }
            }
        });
        way
    }

    async fn pass(self, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = async { tokio::io::copy(&mut from_server, &mut to_client).await };
        let questions = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let length = from_client.read(&mut buffer).await.unwrap_or(0);
                let packet = &buffer[..length];
                // Three bytes of length, the packet's number, then 3: COM_QUERY.
                // Other statements can precede it in the same text.
                let is_commit = packet.get(4) == Some(&3) && packet.ends_with(b"COMMIT");
                let mode = self.mode.load(Ordering::SeqCst);
                match mode {
                    _ if length == 0 => return 0,
                    CLOSED => return 0,
                    LOSE_COMMIT | LOSE_ANSWER | LOSE_ANSWER_AND_CLOSE if is_commit => {
                        let next = if mode == LOSE_ANSWER_AND_CLOSE { CLOSED } else { OPEN };
                        self.mode.store(next, Ordering::SeqCst);
                        self.lost.fetch_add(1, Ordering::SeqCst);
                        // Values contain no semicolon: strings are words or hexadecimal digits.
                        let statements = 1 + packet.iter().filter(|byte| **byte == b';').count();
                        let sent = mode != LOSE_COMMIT && to_server.write_all(packet).await.is_ok();
                        return if sent { statements } else { 0 };
                    }
                    _ => {
                        if to_server.write_all(packet).await.is_err() {
                            return 0;
                        }
                    }
                }
            }
        };
        let unanswered = tokio::select! {
            statements = questions => statements,
            _ = answers => 0,
        };
        // Once the server has answered all of them, the transaction is committed; the client does not receive the answers.
        for _ in 0..unanswered {
            let mut head = [0; 4];
            if from_server.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
            let _ = from_server.read_exact(&mut vec![0; length as usize]).await;
        }
    }
}

async fn post(gateway: &Gateway<'_>, key: &str) -> Response {
    let body = json!({"item": "Laptop", "quantity": 1, "price": 1}).to_string();
    let request = gateway.client.post(gateway.url("/orders")).header("idempotency-key", key);
    request.header("content-type", "application/json").body(body).send().await.unwrap()
}

async fn count(backend: &Backend) -> usize {
    backend
        .store
        .list(&domain::Principal::anonymous(), &domain::query::Filter::default(), None, 100)
        .await
        .unwrap()
        .len()
}

/// Lets no gateway take the lease of the sweeper, whose transactions would break as well, for longer than a test needs.
pub(crate) async fn sweep_elsewhere(backend: &Backend) {
    assert!(backend.store.hold_sweeper_lease(1, Duration::from_secs(11)).await.unwrap());
}

async fn through(backend: &Backend) -> (Way, Gateway<'_>) {
    let way = Way::to(backend.url()).await;
    let store = Store::connect(&way.url, &Options::default()).await.unwrap();
    // Without capacity in the queue there is no dispatch, whose transactions would break as well. Another gateway sweeps.
    let mut config = Config::default();
    config.service.max_queue_depth = 0;
    sweep_elsewhere(backend).await;
    (way, backend.gateway_with(store, config).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_is_looked_up_and_the_client_gets_its_response() {
    let backend = Backend::new(On::Servers).await;
    let (way, gateway) = through(&backend).await;
    for (n, mode) in [LOSE_COMMIT, LOSE_ANSWER].into_iter().enumerate() {
        way.mode.store(mode, Ordering::SeqCst);
        let answer = post(&gateway, &format!("key-{mode}")).await;
        assert_eq!(
            (answer.status(), answer.headers().get("idempotent-replayed")),
            (StatusCode::CREATED, None)
        );
        assert_eq!((way.lost.load(Ordering::SeqCst), count(&backend).await), (n + 1, n + 1));
    }
    check_invariants(&backend.store).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_resolved_by_the_same_key() {
    let backend = Backend::new(On::Servers).await;
    let (way, gateway) = through(&backend).await;
    way.mode.store(LOSE_ANSWER_AND_CLOSE, Ordering::SeqCst);
    let unknown = post(&gateway, "key").await;
    assert_eq!(unknown.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(unknown.headers().contains_key("retry-after"));
    let problem: Value = serde_json::from_str(&unknown.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "outcome_unknown");
    assert_eq!(count(&backend).await, 1, "it was committed");

    way.mode.store(OPEN, Ordering::SeqCst);
    let again = eventually("the database to be back", || async {
        let again = post(&gateway, "key").await;
        (again.status() == StatusCode::CREATED).then_some(again)
    })
    .await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    let order: Value = serde_json::from_str(&again.text().await.unwrap()).unwrap();
    assert_eq!((&order["id"], count(&backend).await), (&problem["orderId"], 1));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_whose_commit_is_lost_is_recorded_once() {
    let backend = Backend::new(On::Servers).await;
    let (way, gateway) = through(&backend).await;
    for mode in [LOSE_COMMIT, LOSE_ANSWER] {
        let id = gateway.create_order().await;
        let lease = gateway.report(&id, "processing", "").await.unwrap().lease_token;
        way.mode.store(mode, Ordering::SeqCst);
        gateway.report(&id, "completed", &lease).await.unwrap();
        assert_eq!(gateway.timeline(&id).await, [Status::Pending, Status::Processing, Status::Completed]);
    }
    assert_eq!(way.lost.load(Ordering::SeqCst), 2);
    check_invariants(&backend.store).await;
    gateway.stop().await;
}
