//! One run of a fuzzer: its limits, and the checks after it.

use std::future::Future;
use std::time::{Duration, Instant};

use domain::{ErrorCode, ErrorKind};
use futures_util::future::join_all;
use serde_json::Value;

use crate::harness::{Process, base_url, command, grpc_addr};
use crate::mutate::Random;

/// The duration of each fuzzer in seconds, unless `ORDERS_FUZZ_SECONDS` is set.
const DEFAULT_SECONDS: u64 = 4;
/// Concurrent clients.
const CLIENTS: u64 = 4;
/// Maximum number of requests of one client.
const MAX_CASES: u64 = 100_000;
/// Requests of one client before the first measurement of memory.
const WARM_UP: u64 = 200;
/// Maximum growth of memory after that, in KiB.
const MAX_GROWTH_KIB: u64 = 64 * 1024;
/// Timeout of a response; a longer wait is a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A gateway during a run.
pub(crate) struct Run {
    name: &'static str,
    seed: u64,
    process: Process,
    _folder: tempfile::TempDir,
    pub(crate) url: String,
    pub(crate) grpc: String,
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, is {text:?}")),
        Err(_) => default,
    }
}

impl Run {
    pub(crate) async fn start(name: &'static str) -> Self {
        crate::harness::install_tls_provider();
        let seed = setting("ORDERS_FUZZ_SEED", 1);
        println!("fuzz {name}: ORDERS_FUZZ_SEED={seed}");
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Orders take time, so that commands find them in every status and workers use little CPU.
        let arguments = [
            "--http-addr",
            "127.0.0.1:0",
            "--grpc-addr",
            "127.0.0.1:0",
            "--simulate-min-delay",
            "100ms",
            "--simulate-max-delay",
            "2s",
            "--request-read-timeout",
            "2s",
        ];
        let mut process = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
        let url = base_url(&mut process).await;
        let grpc = grpc_addr(&mut process).await;
        Self { name, seed, process, _folder: folder, url, grpc }
    }

    /// `host:port` of the HTTP server.
    pub(crate) fn http(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Runs `case` repeatedly in concurrent clients until the time is over, then checks the gateway.
    pub(crate) async fn repeat<F: Future<Output = ()>>(&self, case: impl Fn(Random) -> F) {
        let time = Duration::from_secs(setting("ORDERS_FUZZ_SECONDS", DEFAULT_SECONDS));
        let seed_of = |client: u64, n: u64| self.seed.wrapping_mul(1_000_003) ^ (client << 40) ^ n;
        let clients = |from: u64, to: u64, until: Option<Instant>| {
            let case = &case;
            join_all((0..CLIENTS).map(move |client| async move {
                let mut n = from;
                while n < to && until.is_none_or(|until| Instant::now() < until) {
                    case(Random::new(seed_of(client, n))).await;
                    n += 1;
                }
                n - from
            }))
        };
        let warm = clients(0, WARM_UP, None).await.iter().sum::<u64>();
        let before = self.memory_kib();
        let cases = warm + clients(WARM_UP, MAX_CASES, Some(Instant::now() + time)).await.iter().sum::<u64>();
        let after = self.memory_kib();
        println!("fuzz {}: {cases} cases, memory {before} -> {after} KiB", self.name);
        assert!(cases > 4 * WARM_UP, "the run was not longer than its warm-up");
        assert!(after <= before + MAX_GROWTH_KIB, "the memory grew from {before} to {after} KiB");
        self.check().await;
    }

    /// Checks that the gateway runs, is ready, and has not panicked.
    async fn check(&self) {
        let client = reqwest::Client::new();
        let get = async |path: &str| {
            let response = client.get(format!("{}{path}", self.url)).timeout(DEADLINE).send().await;
            response.expect("the gateway responds").text().await.expect("the gateway responds")
        };
        assert!(get("/livez").await.contains("ok"));
        let metrics = get("/metrics").await;
        let panics: Vec<&str> =
            metrics.lines().filter(|line| line.starts_with("orders_panics_total")).collect();
        assert!(panics.iter().all(|line| line.ends_with(" 0")), "{panics:?}");
        assert_eq!(self.process.count_logged("panicked"), 0, "{}", self.process.stderr());
    }

    fn memory_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// Checks one response over HTTP. `sent` is the request, for the panic.
pub(crate) fn check_response(status: u16, body: &[u8], sent: &dyn std::fmt::Debug) {
    let text = String::from_utf8_lossy(body);
    if status >= 500 {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let unavailable = |code: &&ErrorCode| code.kind() == ErrorKind::Unavailable;
        let documented =
            ErrorCode::ALL.iter().filter(unavailable).any(|code| problem["code"] == code.as_str());
        assert!(status == 503 && documented, "{status} {text}\nfor {sent:?}");
    }
    assert!(!text.contains(r#""code":"internal_error""#), "{status} {text}\nfor {sent:?}");
}

/// Returns the result of a future that must end in time.
pub(crate) async fn in_time<T>(sent: &dyn std::fmt::Debug, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("no end after {} s\nfor {sent:?}", DEADLINE.as_secs()),
    }
}
