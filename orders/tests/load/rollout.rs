//! Gateways behind a real HAProxy with the file of the profile `ha` are replaced one after another, while clients send requests
//! over connections that stay open. No request fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::ALONE;
use crate::harness::{Api, Process, Servers, command, eventually, free_ports, id, killed_with_test};

/// Clients, each with one connection.
const CLIENTS: usize = 50;
/// 1,000 requests per second in total.
const REQUEST_INTERVAL: Duration = Duration::from_millis(50);
/// Every tenth request creates an order, the others read it.
const CREATE_EVERY: usize = 10;
/// Longer than HAProxy takes to notice, which is a second.
const SHUTDOWN_DELAY: &str = "3s";
/// Requests before, between and after the replacements.
const STEADY: usize = 2_000;

/// A gateway at fixed addresses.
struct Gateway {
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    http: Api,
    process: Process,
}

impl Gateway {
    async fn start(folder: &Path, servers: &Servers, [http, grpc]: [u16; 2]) -> Self {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let arguments = [
            "gateway",
            "--http-addr",
            &address(http),
            "--grpc-addr",
            &address(grpc),
            "--shutdown-delay",
            SHUTDOWN_DELAY,
            "--trusted-proxies",
            "127.0.0.1",
        ];
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let variables = vec![
            ("DATABASE_URL", servers.database_url.clone()),
            ("REDIS_URL", servers.redis_url.clone()),
            ("ORDERS_REDIS_PREFIX", servers.prefix.clone()),
        ];
        let process = start(folder, &arguments, &variables);
        let gateway =
            Self { arguments, variables, http: Api::new(format!("http://{}", address(http))), process };
        gateway.http.wait_until_ready().await;
        gateway
    }

    /// Shuts the gateway down, and starts it again.
    async fn replace(&mut self, folder: &Path) {
        self.process.terminate();
        self.process.wait_for_success().await;
        self.process = start(folder, &self.arguments, &self.variables);
        self.http.wait_until_ready().await;
    }
}

fn start(folder: &Path, arguments: &[String], variables: &[(&str, String)]) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Process::start(command(folder, &arguments, &variables), "gateway")
}

/// HAProxy in front of two gateways.
struct Haproxy {
    addr: String,
    socket: PathBuf,
    process: Process,
}

impl Haproxy {
    fn start(folder: &Path, gateways: [u16; 2], port: u16) -> Self {
        let socket = folder.join("haproxy.sock");
        let statistics = folder.join("statistics.cfg");
        std::fs::write(&statistics, format!("global\n  stats socket {} level user\n", socket.display()))
            .expect("the file is written");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/haproxy/haproxy.cfg");
        let mut haproxy = killed_with_test("haproxy");
        haproxy.args(["-f", file, "-f"]).arg(&statistics).env("ORDERS_BIND", format!("127.0.0.1:{port}"));
        for (number, port) in gateways.into_iter().enumerate() {
            haproxy.env(format!("ORDERS_GATEWAY_{}", number + 1), format!("127.0.0.1:{port}"));
        }
        let process = Process::start(haproxy, "haproxy");
        Self { addr: format!("127.0.0.1:{port}"), socket, process }
    }

    /// Returns a column of the statistics of each line of a proxy: `frontend`, or the servers of `gateways`.
    async fn statistics(&self, proxy: &str, column: &str) -> Option<Vec<(String, String)>> {
        let mut socket = UnixStream::connect(&self.socket).await.ok()?;
        socket.write_all(b"show stat\n").await.ok()?;
        let mut csv = String::new();
        socket.read_to_string(&mut csv).await.ok()?;
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next()?;
        let position = head.iter().position(|name| *name == column)?;
        let of_proxy = lines.filter(|cells| cells[0] == proxy);
        Some(of_proxy.map(|cells| (cells[1].to_owned(), cells[position].to_owned())).collect())
    }

    /// Waits until both gateways get requests.
    async fn wait_for_both(&self) {
        eventually("both gateways to be up", || async {
            let servers = self.statistics("gateways", "status").await?;
            let up = servers.iter().filter(|(name, status)| name.starts_with("gateway-") && status == "UP");
            (up.count() == 2).then_some(())
        })
        .await;
    }
}

/// What the clients saw.
#[derive(Default)]
struct Results {
    requests: AtomicUsize,
    stop: AtomicBool,
    created: std::sync::Mutex<Vec<String>>,
    failures: std::sync::Mutex<Vec<String>>,
}

impl Results {
    async fn wait_for_more(&self, count: usize) {
        let until = self.requests.load(Ordering::Relaxed) + count;
        eventually("more requests", || async {
            (self.requests.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }
}

/// One connection. A library would take more CPU than the gateways.
struct Connection {
    stream: BufReader<TcpStream>,
    addr: String,
}

impl Connection {
    async fn open(addr: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), addr: addr.to_owned() })
    }

    /// Sends a request, and returns the status and the body of the response.
    async fn request(&mut self, line: &str, body: &str) -> io::Result<(u16, String)> {
        let (addr, length) = (&self.addr, body.len());
        let content = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let head = format!("{line} HTTP/1.1\r\nHost: {addr}\r\n{content}Content-Length: {length}\r\n\r\n");
        self.stream.write_all((head + body).as_bytes()).await?;
        let (mut status, mut length) = (0, None);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
            }
            match line.trim_end().split_once([' ', ':']) {
                Some(("HTTP/1.1", rest)) => status = rest[..3].parse().map_err(io::Error::other)?,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = Some(value.trim().parse().map_err(io::Error::other)?);
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length.ok_or_else(|| io::Error::other("a response without a length"))?];
        self.stream.read_exact(&mut body).await?;
        Ok((status, String::from_utf8(body).map_err(io::Error::other)?))
    }
}

/// Sends requests over one connection until the end.
async fn run_client(addr: String, results: Arc<Results>) {
    let mut connection = Connection::open(&addr).await.expect("HAProxy accepts the connection");
    let mut ticks = interval(REQUEST_INTERVAL);
    // The rate stays the same after a slow response.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut read = String::new();
    for number in 0.. {
        if results.stop.load(Ordering::Relaxed) {
            return;
        }
        ticks.tick().await;
        let creates = number % CREATE_EVERY == 0;
        let response = if creates {
            connection.request("POST /orders", r#"{"item":"x","quantity":1,"price":1}"#).await
        } else {
            connection.request(&read, "").await
        };
        let failure = match response {
            Ok((201, body)) if creates => {
                let order = id(&serde_json::from_str(&body).unwrap_or_default());
                read = format!("GET /orders/{order}");
                results.created.lock().unwrap().push(order);
                None
            }
            Ok((200, body)) if !creates && body.ends_with('}') => None,
            Ok((status, body)) => Some(format!("{status}: {body}")),
            Err(error) => {
                // A failure is counted once, not with every further request.
                connection = Connection::open(&addr).await.expect("HAProxy accepts the connection");
                Some(error.to_string())
            }
        };
        results.failures.lock().unwrap().extend(failure);
        results.requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_gateways_are_replaced() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let [http, grpc, other_http, other_grpc, port] = free_ports(5).try_into().expect("five ports");
    let mut gateways = [
        Gateway::start(folder.path(), &servers, [http, grpc]).await,
        Gateway::start(folder.path(), &servers, [other_http, other_grpc]).await,
    ];
    let urls = format!("http://127.0.0.1:{grpc},http://127.0.0.1:{other_grpc}");
    let arguments = ["processor", "--metrics-addr", "127.0.0.1:0", "--simulate-max-delay", "0"];
    let arguments = [&arguments[..], &["--simulate-min-delay", "0", "--gateway-url", &urls]].concat();
    let mut processor = Process::start(command(folder.path(), &arguments, &[]), "processor");
    let mut haproxy = Haproxy::start(folder.path(), [http, other_http], port);
    haproxy.wait_for_both().await;

    let results = Arc::new(Results::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(run_client(haproxy.addr.clone(), results.clone()));
    }
    let start = Instant::now();
    results.wait_for_more(STEADY).await;
    for gateway in &mut gateways {
        gateway.replace(folder.path()).await;
        haproxy.wait_for_both().await;
        results.wait_for_more(STEADY).await;
    }
    let connections = haproxy.statistics("http", "conn_tot").await.expect("statistics");
    results.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;

    let (requests, seconds) = (results.requests.load(Ordering::Relaxed), start.elapsed().as_secs_f64());
    let failures = results.failures.lock().unwrap().clone();
    let created = results.created.lock().unwrap().clone();
    println!(
        "{requests} requests in {seconds:.1} s ({:.0}/s), {} orders, {} failures, connections {connections:?}",
        requests as f64 / seconds,
        created.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "{} failures, such as {}", failures.len(), failures[0]);
    assert_eq!(connections, [("FRONTEND".to_owned(), CLIENTS.to_string())], "connections stay open");
    for order in &created {
        gateways[0].http.wait_for_status(order, "completed").await;
    }
    let [one, two] = &mut gateways;
    let mut processes = [&mut processor, &mut one.process, &mut two.process];
    processes.iter().for_each(|process| process.terminate());
    for process in &mut processes {
        process.wait_for_success().await;
    }
    haproxy.process.kill();
}
