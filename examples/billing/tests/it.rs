//! Billing while it is killed, its gateway is killed, and Redis is emptied: each completed order has exactly one line.

#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const DEADLINE: Duration = Duration::from_secs(120);
const ORDERS: usize = 120;

/// The program, beside the binary of this package.
fn orders() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_billing")).with_file_name("orders");
    assert!(program.exists(), "{} is missing: run `cargo build`", program.display());
    program
}

/// A command whose process the kernel kills with the test.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Starts `orders dev`, and waits for its banner. Returns the address of the page and that of gRPC.
async fn start_dev(folder: &Path, http: &str, grpc: &str, redis: Option<&str>) -> (Child, [String; 2]) {
    let mut command = command(orders());
    command
        .args([
            "dev",
            "--http-addr",
            http,
            "--grpc-addr",
            grpc,
            "--lease",
            "2s",
            "--visibility-timeout",
            "2s",
        ])
        .args(["--simulate-min-delay", "5ms", "--simulate-max-delay", "50ms"])
        .current_dir(folder)
        .env_clear()
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped());
    if let Some(url) = redis {
        command.env("REDIS_URL", url).env("ORDERS_REDIS_PREFIX", prefix(folder));
    }
    let mut dev = command.spawn().unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let mut found = [String::new(), String::new()];
    while found.iter().any(String::is_empty) {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
        let line = line.expect("the banner");
        for (found, name) in found.iter_mut().zip(["Page", "gRPC"]) {
            if let Some(value) = line.trim().strip_prefix(name) {
                *found = value.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
            }
        }
    }
    // The pipe stays open.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (dev, found)
}

/// The prefix of the keys in Redis, which no other test uses.
fn prefix(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().replace('.', "billing-")
}

/// Deletes the keys of this test.
async fn wipe(redis: &str, folder: &Path) {
    let script = format!(
        "for _, key in ipairs(redis.call('KEYS', '{}*')) do redis.call('DEL', key) end",
        prefix(folder)
    );
    let output = command("redis-cli").args(["-u", redis, "--no-auth-warning", "EVAL", &script, "0"]).output();
    let output = output.await.unwrap();
    assert!(output.status.success() && !output.stdout.starts_with(b"ERR"), "{output:?}");
}

fn start_billing(grpc: &str, folder: &Path) -> Child {
    let mut command = command(env!("CARGO_BIN_EXE_billing"));
    command.arg(format!("http://{grpc}")).arg(folder.join("invoices.db")).spawn().unwrap()
}

/// Creates an order, and repeats it with the same key while the gateway is down. Returns its id.
async fn create(client: &reqwest::Client, http: &str, n: usize) -> String {
    let order =
        json!({"item": "Tea", "quantity": n + 1, "price": "1.01", "customer": format!("customer-{n}")});
    let attempt = async {
        loop {
            let request = client
                .post(format!("http://{http}/orders"))
                .header("Idempotency-Key", format!("order-{n}"))
                .timeout(Duration::from_secs(5))
                .json(&order);
            if let Ok(response) = request.send().await
                && response.status().is_success()
                && let Ok(order) = response.json::<Value>().await
            {
                return order["id"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, attempt).await.expect("the order is created")
}

/// The lines: for each order its number of lines and the total.
async fn lines(folder: &Path) -> BTreeMap<String, (usize, i64)> {
    let options = SqliteConnectOptions::new().filename(folder.join("invoices.db"));
    let Ok(database) = SqlitePool::connect_with(options).await else { return BTreeMap::new() };
    let found = sqlx::query("SELECT order_id, total FROM invoice_lines").fetch_all(&database).await;
    database.close().await;
    let mut lines = BTreeMap::new();
    for row in found.unwrap_or_default() {
        let line: &mut (usize, i64) = lines.entry(row.get(0)).or_default();
        *line = (line.0 + 1, row.get(1));
    }
    lines
}

/// Waits until the subscriber has written more lines than before.
async fn more_lines(folder: &Path, before: usize) {
    let growing = async {
        while lines(folder).await.len() <= before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, growing).await.expect("the subscriber works");
}

async fn billing_through_kills(redis: Option<&str>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut dev, [http, grpc]) = start_dev(folder, "127.0.0.1:0", "127.0.0.1:0", redis).await;
    let mut billing = start_billing(&grpc, folder);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut ids = Vec::new();
    for n in 0..ORDERS {
        let before = lines(folder).await.len();
        ids.push(create(&client, &http, n).await);
        match n % 30 {
            // The subscriber is killed while it works, and another one takes over when the lease has ended.
            19 => {
                more_lines(folder, before).await;
                billing.kill().await.unwrap();
                billing = start_billing(&grpc, folder);
            }
            25 if n > 60 => {
                dev.kill().await.unwrap();
                (dev, _) = start_dev(folder, &http, &grpc, redis).await;
            }
            _ => {}
        }
        if let Some(redis) = redis
            && n % 40 == 15
        {
            wipe(redis, folder).await;
        }
    }
    let complete = async {
        while lines(folder).await.len() < ORDERS {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(DEADLINE, complete).await.expect("every order has a line");
    // A last restart repeats nothing.
    billing.kill().await.unwrap();
    dev.kill().await.unwrap();
    let expected = ids.into_iter().zip(1..).map(|(id, quantity)| (id, (1, 101 * quantity)));
    assert_eq!(lines(folder).await, expected.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_is_billed_once_through_kills() {
    billing_through_kills(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_is_billed_once_while_redis_is_emptied() {
    let redis = std::env::var("ORDERS_TEST_REDIS_URL")
        .expect("ORDERS_TEST_REDIS_URL is the URL of a Redis; scripts/test.sh starts one");
    billing_through_kills(Some(&redis)).await;
}
