//! MariaDB, Redis and gateways that are unreachable, refuse a client, or start later.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::harness::{Process, Servers, command, free_ports, redis_url, run, start_gateway};

/// Returns an address without a listener: it was free a moment ago.
fn unused_address() -> String {
    format!("127.0.0.1:{}", free_ports(1)[0])
}

const FREE_PORTS: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

/// A gateway waits for an unreachable database, logs this at most once per second, and can be stopped meanwhile.
#[tokio::test]
async fn gateway_waits_for_the_database() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = unused_address();
    let url = format!("mysql://orders:hush@{address}/orders");
    let variables = [("DATABASE_URL", url.as_str()), ("REDIS_URL", "redis://127.0.0.1:1")];
    let arguments = [&["gateway"][..], &FREE_PORTS].concat();
    let started = std::time::Instant::now();
    let mut waiting = Process::start(command(folder.path(), &arguments, &variables), "gateway");
    let is_logged = |line: &str| line.contains("waiting for the database").then(|| line.to_owned());
    let line = waiting.wait_for_log("the reason of its wait", is_logged).await;
    assert!(line.contains(&address), "{line}");
    tokio::time::timeout(Duration::from_secs(3), waiting.wait()).await.expect_err("it continues to wait");
    let log_lines = waiting.count_logged("waiting for the database");
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!(log_lines <= seconds + 1, "{log_lines} log lines in {seconds} s");
    waiting.terminate();
    waiting.wait_for_success().await;
    assert!(!waiting.stderr().contains("hush"));
}

/// A command fails at once if the database is unreachable.
#[tokio::test]
async fn migrate_does_not_wait() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = unused_address();
    let url = format!("mysql://orders:hush@{address}/orders");
    let output = run(folder.path(), &["migrate"], &[("DATABASE_URL", &url)]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        stderr.starts_with("error: ") && stderr.contains(&address) && stderr.contains("hint: "),
        "{stderr}"
    );
    assert!(!stderr.contains("hush"), "{stderr}");
}

/// A wrong password or a missing database is an error at once, because waiting does not change it.
#[tokio::test]
async fn database_that_refuses_is_an_error_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let mut wrong_password = url::Url::parse(&servers.database_url).expect("a URL");
    wrong_password.set_password(Some("hush")).expect("a host");
    let mut wrong_name = url::Url::parse(&servers.database_url).expect("a URL");
    wrong_name.set_path("there_is_no_such_database");
    for (url, part) in [(wrong_password, "denied"), (wrong_name, "there_is_no_such_database")] {
        let variables = [("DATABASE_URL", url.as_str()), ("REDIS_URL", "redis://127.0.0.1:1")];
        let arguments = [&["gateway"][..], &FREE_PORTS].concat();
        let output = run(folder.path(), &arguments, &variables).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        assert!(stderr.contains("error: ") && stderr.contains(part), "{stderr}");
        assert!(stderr.contains("DATABASE_URL") && !stderr.contains("hush"), "{stderr}");
    }
}

/// Commands use the host that responds. If none does, the error names all, and waiting for one cannot hide another error.
#[tokio::test]
async fn commands_try_all_hosts_of_the_database() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let (first, second) = (unused_address(), unused_address());
    let list = |password: &str, hosts: &str| {
        let url = servers.database_url.replacen(":orders@", &format!(":{password}@"), 1);
        url.replacen('@', &format!("@{hosts},"), 1)
    };
    for command in ["migrate", "doctor"] {
        let output = run(folder.path(), &[command], &[("DATABASE_URL", &list("orders", &first))]).await;
        assert!(output.status.success(), "{command} {}", String::from_utf8_lossy(&output.stderr));
    }
    let none = format!("mysql://orders:hush@{first},{second}/orders");
    let refused = list("hush", &first);
    for (url, code, parts) in
        [(&none, 5, [first.as_str(), second.as_str()]), (&refused, 4, ["denied", "DATABASE_URL"])]
    {
        let output = run(folder.path(), &["doctor"], &[("DATABASE_URL", url)]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)) && !stderr.contains("hush"), "{stderr}");
    }
}

/// A gateway without Redis starts, accepts orders and is degraded.
#[tokio::test]
async fn gateway_accepts_orders_without_redis() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = Servers::new().await;
    servers.redis_url = format!("redis://{}", unused_address());
    let (mut process, api, _) = start_gateway(&folder, &servers, 1).await;
    let order = api.create().await;
    assert_eq!(order["status"], "pending");
    let (status, readiness) = api.get("/readyz?verbose").await;
    assert_eq!(status, 200, "{readiness}");
    assert!(readiness.to_string().contains("degraded"), "{readiness}");
    let is_logged = |line: &str| line.contains("waiting for Redis").then_some(());
    process.wait_for_log("the reason of its wait", is_logged).await;
    process.terminate();
    process.wait_for_success().await;
}

/// A Redis that refuses the password is reported differently from an unreachable one.
#[tokio::test]
async fn redis_that_refuses_the_password_is_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = Servers::new().await;
    servers.redis_url = servers.redis_url.replace("redis://", "redis://user:hush@");
    let (mut process, api, _) = start_gateway(&folder, &servers, 1).await;
    api.create().await;
    let (status, readiness) = api.get("/readyz?verbose").await;
    assert_eq!((status, &readiness["status"]), (200, &"degraded".into()), "{readiness}");
    assert!(readiness.to_string().contains("refuses the password"), "{readiness}");
    let is_logged = |line: &str| line.contains("refuses the user name or password").then_some(());
    process.wait_for_log("the reason of its wait", is_logged).await;
    process.terminate();
    process.wait_for_success().await;
    assert!(!process.stderr().contains("hush"));
}

/// The queue needs a command of Redis 7; without it no order would be processed.
#[tokio::test]
async fn old_redis_is_an_error_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let redis_url = format!("redis://{}", listener.local_addr().expect("an address"));
    let old = tokio::spawn(serve_old_redis(listener));
    let variables = [("REDIS_URL", redis_url.as_str())];
    let gateway = [&["gateway"][..], &FREE_PORTS].concat();
    for arguments in [&gateway[..], &["processor", "--metrics-addr", "127.0.0.1:0", "--job-source", "queue"]]
    {
        let output = run(folder.path(), arguments, &variables).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("error: ") && stderr.contains("6.2.14 is too old"), "{stderr}");
        assert!(stderr.contains("hint: ") && stderr.contains("REDIS_URL"), "{stderr}");
    }
    old.abort();
}

/// Reports Redis 6.2 and responds OK to all other commands.
async fn serve_old_redis(listener: tokio::net::TcpListener) {
    const INFO: &str = "# Server\r\nredis_version:6.2.14\r\n";
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        tokio::spawn(async move {
            let (reader, mut writer) = socket.into_split();
            let mut lines = BufReader::new(reader).lines();
            // A command is `*<words>`. Each word is two lines: `$<length>`, and the word.
            while let Ok(Some(head)) = lines.next_line().await {
                let words: usize = head.trim_start_matches('*').parse().expect("a command");
                let mut command = Vec::new();
                for _ in 0..words {
                    lines.next_line().await.expect("a length");
                    command.push(lines.next_line().await.expect("a word").unwrap_or_default());
                }
                let answer = match command[0].as_str() {
                    "INFO" => format!("${}\r\n{INFO}\r\n", INFO.len()),
                    _ => "+OK\r\n".to_owned(),
                };
                if writer.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A processor is ready when Redis and a gateway are reachable.
#[tokio::test]
async fn processor_waits_for_its_gateway() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let gateway_addr = unused_address();
    let gateway_url = format!("http://{gateway_addr}");
    let arguments =
        ["processor", "--metrics-addr", "127.0.0.1:0", "--gateway-url", &gateway_url, "--log-format", "json"];
    let redis_url = redis_url();
    let variables = [("REDIS_URL", redis_url.as_str()), ("ORDERS_REDIS_PREFIX", &servers.prefix)];
    let mut processor = Process::start(command(folder.path(), &arguments, &variables), "processor");
    let metrics = processor
        .wait_for_log("its address", |line| {
            serde_json::from_str::<Value>(line).ok()?["metrics"].as_str().map(str::to_owned)
        })
        .await;
    let health = ["health", "--role", "processor", "--metrics-addr", &metrics];
    let output = run(folder.path(), &health, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no gateway can be reached"), "{stderr}");
    let listener = std::net::TcpListener::bind(&gateway_addr).expect("the port is still free");
    let output = run(folder.path(), &health, &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(listener);
    processor.terminate();
    processor.wait_for_success().await;
}
