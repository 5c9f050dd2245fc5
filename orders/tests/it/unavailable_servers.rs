//! Servers that are away, refuse, or come later.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::harness::{Process, Servers, command, gateway, redis_url, run};

/// A port where nobody listens: it was free a moment ago.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

const FREE_PORTS: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

/// The gateway waits for a database that cannot be reached, says so about once a second at most, and
/// can be stopped meanwhile.
#[tokio::test]
async fn a_gateway_waits_for_the_database() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = nowhere();
    let url = format!("mysql://orders:hush@{address}/orders");
    let variables = [("DATABASE_URL", url.as_str()), ("REDIS_URL", "redis://127.0.0.1:1")];
    let arguments = [&["gateway"][..], &FREE_PORTS].concat();
    let started = std::time::Instant::now();
    let mut waiting = Process::start(command(folder.path(), &arguments, &variables), "gateway");
    let said = |line: &str| line.contains("waiting for the database").then(|| line.to_owned());
    let line = waiting.logged("what it waits for", said).await;
    assert!(line.contains(&address), "{line}");
    tokio::time::timeout(Duration::from_secs(3), waiting.ended()).await.expect_err("it goes on waiting");
    let reminders = waiting.count_logged("waiting for the database");
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!(reminders <= seconds + 1, "{reminders} reminders in {seconds} s");
    waiting.terminate();
    waiting.ended_well().await;
    assert!(!waiting.stderr().contains("hush"));
}

/// A command that a person or a script runs answers at once.
#[tokio::test]
async fn migrate_does_not_wait() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = nowhere();
    let url = format!("mysql://orders:hush@{address}/orders");
    let output = run(folder.path(), &["migrate"], &[("DATABASE_URL", &url)]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.starts_with("error: ") && stderr.contains(&address) && stderr.contains("hint: "),
        "{stderr}"
    );
    assert!(!stderr.contains("hush"), "{stderr}");
}

/// Waiting does not mend a wrong password or a database that does not exist.
#[tokio::test]
async fn a_database_that_refuses_is_an_error_at_once() {
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
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("error: ") && stderr.contains(part), "{stderr}");
        assert!(stderr.contains("DATABASE_URL") && !stderr.contains("hush"), "{stderr}");
    }
}

/// Redis carries hints only: a gateway without it starts, accepts orders and says that it is degraded.
#[tokio::test]
async fn a_gateway_accepts_orders_while_redis_is_away() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = Servers::new().await;
    servers.redis_url = format!("redis://{}", nowhere());
    let (mut process, api, _) = gateway(&folder, &servers, 1).await;
    let order = api.create().await;
    assert_eq!(order["status"], "pending");
    let (status, readiness) = api.get("/readyz?verbose").await;
    assert_eq!(status, 200, "{readiness}");
    assert!(readiness.to_string().contains("degraded"), "{readiness}");
    let said = |line: &str| line.contains("waiting for Redis").then_some(());
    process.logged("what it waits for", said).await;
    process.terminate();
    process.ended_well().await;
}

/// It answers, and refuses the password: that is another state than one that cannot be reached.
#[tokio::test]
async fn a_redis_that_refuses_the_password_is_called_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = Servers::new().await;
    servers.redis_url = servers.redis_url.replace("redis://", "redis://somebody:hush@");
    let (mut process, api, _) = gateway(&folder, &servers, 1).await;
    api.create().await;
    let (status, readiness) = api.get("/readyz?verbose").await;
    assert_eq!((status, &readiness["status"]), (200, &"degraded".into()), "{readiness}");
    assert!(readiness.to_string().contains("refuses the password"), "{readiness}");
    let said = |line: &str| line.contains("refuses the user name or password").then_some(());
    process.logged("what it waits for", said).await;
    process.terminate();
    process.ended_well().await;
    assert!(!process.stderr().contains("hush"));
}

/// The queue needs a command of Redis 7: without it nothing would ever be processed.
#[tokio::test]
async fn a_redis_that_is_too_old_is_an_error_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let redis_url = format!("redis://{}", listener.local_addr().expect("an address"));
    let old = tokio::spawn(old_redis(listener));
    let variables = [("REDIS_URL", redis_url.as_str())];
    let gateway = [&["gateway"][..], &FREE_PORTS].concat();
    for arguments in [&gateway[..], &["processor", "--metrics-addr", "127.0.0.1:0"]] {
        let output = run(folder.path(), arguments, &variables).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("error: ") && stderr.contains("6.2.14 is too old"), "{stderr}");
        assert!(stderr.contains("hint: ") && stderr.contains("REDIS_URL"), "{stderr}");
    }
    old.abort();
}

/// Says that it is Redis 6.2 and agrees to everything else.
async fn old_redis(listener: tokio::net::TcpListener) {
    const INFO: &str = "# Server\r\nredis_version:6.2.14\r\n";
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        tokio::spawn(async move {
            let (reader, mut writer) = socket.into_split();
            let mut lines = BufReader::new(reader).lines();
            // A command is `*<words>`, and each word is `$<length>` and a line of its own.
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

/// A processor is ready when it can reach Redis and a gateway, and shows its metrics.
#[tokio::test]
async fn a_processor_waits_for_its_gateway() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let gateway_addr = nowhere();
    let gateway_url = format!("http://{gateway_addr}");
    let arguments =
        ["processor", "--metrics-addr", "127.0.0.1:0", "--gateway-url", &gateway_url, "--log-format", "json"];
    let redis_url = redis_url();
    let variables = [("REDIS_URL", redis_url.as_str()), ("ORDERS_REDIS_PREFIX", &servers.prefix)];
    let mut processor = Process::start(command(folder.path(), &arguments, &variables), "processor");
    let metrics = processor
        .logged("its address", |line| {
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
    processor.ended_well().await;
}
