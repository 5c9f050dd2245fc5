//! Information for operators: failed orders, a removed data folder, and the worker of a health response.

use std::net::SocketAddr;

use serde_json::json;

use crate::harness::{Api, Process, base_url, command, eventually, run};

const FREE_PORTS: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

#[tokio::test]
async fn failed_orders_are_logged_and_counted_by_class() {
    const FAILED: usize = 15;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let simulated =
        ["--simulate-min-delay", "0", "--simulate-max-delay", "0", "--simulate-failure-rate", "1"];
    let arguments = [&["dev"][..], &FREE_PORTS, &simulated].concat();
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for _ in 0..FAILED {
        let order = json!({"item": "Laptop", "quantity": 1, "price": 1, "maxAttempts": 1});
        let response =
            client.post(format!("{}/orders", api.base)).json(&order).send().await.expect("a response");
        assert_eq!(response.status(), 201);
    }
    let wanted = format!("orders_failed_total{{error_class=\"simulated\"}} {FAILED}");
    eventually("the metric", || async {
        let metrics = client.get(format!("{}/metrics", api.base)).send().await.ok()?.text().await.ok()?;
        metrics.contains(&wanted).then_some(())
    })
    .await;
    assert_eq!(dev.count_logged("order failed"), 10, "{}", dev.stderr());
    let line =
        dev.wait_for_log("a failed order", |line| line.contains("order failed").then(|| line.to_owned()));
    let line = line.await;
    assert!(line.contains("simulated") && line.contains("order_id"), "{line}");
    dev.terminate();
    dev.wait_for_success().await;
}

#[tokio::test]
async fn creates_fail_after_the_data_folder_is_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = [&["dev"][..], &FREE_PORTS].concat();
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    api.create().await;
    std::fs::remove_dir_all(folder.path().join("data")).expect("the data folder");
    let order = json!({"item": "Laptop", "quantity": 1, "price": 1});
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let response = client.post(format!("{}/orders", api.base)).json(&order).send().await.expect("a response");
    assert_eq!(response.status(), 503);
    let text = response.text().await.expect("a body");
    assert!(text.contains("database_unavailable"), "{text}");
    eventually("readiness to fail", || async { (api.try_get("/readyz").await == Some(503)).then_some(()) })
        .await;
    let (_, ready) = api.get("/readyz?verbose").await;
    assert!(ready.to_string().contains("removed or replaced"), "{ready}");
    assert_eq!(api.try_get("/livez").await, Some(200));
    dev.terminate();
    dev.wait().await;
}

/// Two processors on one host.
#[tokio::test]
async fn health_check_distinguishes_processors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let variables = [("REDIS_URL", crate::harness::redis_url())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let start = |worker: &str| {
        let arguments = ["processor", "--worker-id", worker, "--metrics-addr", "127.0.0.1:0"];
        Process::start(command(folder.path(), &arguments, &variables), worker.to_owned())
    };
    let mut one = start("one");
    let address = |line: &str| {
        let (_, rest) = line.split_once("metrics=")?;
        rest.split_whitespace().next()?.parse::<SocketAddr>().ok()
    };
    let metrics = one.wait_for_log("its address", address).await.to_string();
    let check_health = |worker: &'static str| {
        let (folder, metrics) = (folder.path(), metrics.clone());
        async move {
            let arguments =
                ["health", "--role", "processor", "--worker-id", worker, "--metrics-addr", metrics.as_str()];
            run(folder, &arguments, &[]).await
        }
    };
    let other = check_health("two").await;
    let stderr = String::from_utf8_lossy(&other.stderr);
    assert!(!other.status.success() && stderr.contains("the response is from worker one"), "{stderr}");
    // With several processors, the check requires a name or an address.
    let mut two = start("two");
    two.wait_for_log("its address", address).await;
    let any = run(folder.path(), &["health", "--role", "processor"], &[]).await;
    let stderr = String::from_utf8_lossy(&any.stderr);
    assert!(!any.status.success() && stderr.contains("processors run on this machine"), "{stderr}");
    assert!(stderr.contains("--worker-id") && stderr.contains("--metrics-addr"), "{stderr}");
    two.terminate();
    two.wait_for_success().await;
    // Without a gateway the processor is not ready.
    let same = check_health("one").await;
    let stderr = String::from_utf8_lossy(&same.stderr);
    assert!(!same.status.success() && stderr.contains("no gateway can be reached"), "{stderr}");
    one.terminate();
    one.wait_for_success().await;
}
