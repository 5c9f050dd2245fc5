//! Responses before readiness and with few open files, and the end of a process whose terminal is closed.

use std::time::Duration;

use crate::harness::{Api, Process, base_url, command, eventually, killed_with_test};

/// Returns an address that was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// A liveness probe would kill a process whose port does not respond.
#[tokio::test]
async fn probes_succeed_while_the_database_is_unavailable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (http, admin, away) = (free_address(), free_address(), free_address());
    let url = format!("mysql://orders:hush@{away}/orders");
    let variables = [("DATABASE_URL", url.as_str()), ("REDIS_URL", "redis://127.0.0.1:1")];
    let arguments = ["gateway", "--http-addr", &http, "--grpc-addr", "127.0.0.1:0", "--admin-addr", &admin];
    let mut waiting = Process::start(command(folder.path(), &arguments, &variables), "gateway");
    let api = Api::new(format!("http://{http}"));
    for api in [&api, &Api::new(format!("http://{admin}"))] {
        eventually("a response to the liveness probe", || async {
            (api.try_get("/livez").await == Some(200)).then_some(())
        })
        .await;
        let is_waiting = |line: &str| line.contains("waiting for the database").then_some(());
        waiting.wait_for_log("the reason of its wait", is_waiting).await;
        assert_eq!(api.try_get("/livez").await, Some(200));
        let (status, ready) = api.get("/readyz").await;
        assert_eq!(status, 503, "{ready}");
        assert!(ready.to_string().contains("starting: waits for the database"), "{ready}");
    }
    for path in ["/orders", "/", "/queue"] {
        let (status, problem) = api.get(path).await;
        assert_eq!((status, problem["code"].as_str()), (503, Some("starting")), "{path}: {problem}");
    }
    waiting.terminate();
    waiting.wait_for_success().await;
}

/// Half of the files are for accepted connections, and each stream uses one.
#[tokio::test]
async fn probes_succeed_beside_streams_with_few_open_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = killed_with_test("sh");
    command.args(["-c", r#"ulimit -n 256 && exec "$0" "$@""#, env!("CARGO_BIN_EXE_orders")]);
    command.current_dir(folder.path());
    command.args(["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"]);
    command.args([
        "--simulate-min-delay",
        "10m",
        "--simulate-max-delay",
        "10m",
        "--shutdown-timeout",
        "500ms",
    ]);
    let mut dev = Process::start(command, "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let id = api.create_id().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut streams = Vec::new();
    for _ in 0..8 {
        let request = client.get(format!("{}/orders/{id}/events", api.base));
        let stream = request.header("accept", "text/event-stream").send().await.expect("a stream");
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    for path in ["/livez", "/readyz"] {
        let request = client.get(format!("{}{path}", api.base)).timeout(Duration::from_secs(30)).send();
        assert_eq!(request.await.expect("a response").status(), 200, "{path}");
    }
    drop(streams);
    dev.terminate();
    dev.wait_for_success().await;
}

/// A closed terminal shuts the process down like SIGTERM: running orders are finished or released.
#[tokio::test]
async fn hangup_shuts_down() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The process would inherit an ignored SIGHUP from the tests.
    let mut command = killed_with_test("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_orders"), "dev"]).current_dir(folder.path());
    command.args(["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"]);
    let mut dev = Process::start(command, "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    api.create().await;
    dev.signal("HUP");
    dev.wait_for_success().await;
    assert!(dev.stderr().contains("SIGHUP"), "{}", dev.stderr());
}
