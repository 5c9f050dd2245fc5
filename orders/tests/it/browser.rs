//! The pages and the GraphQL tools in a real browser.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Api, Process, base_url, command, id, script};

/// Timeout of all checks, on a machine that can be busy.
const DEADLINE: Duration = Duration::from_secs(900);

const FREE_PORTS: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

#[tokio::test]
async fn pages_work_in_a_browser() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Orders that failed: one to show, and one that the page redrives.
    let failing = [&FREE_PORTS[..], &["--simulate-failure-rate", "1", "--simulate-min-delay", "0"]].concat();
    let mut dev = Process::start(command(folder.path(), &failing, &[]), "failing orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let order = json!({"item": "Vase", "quantity": 1, "price": 5, "maxAttempts": 1});
    let mut failed = Vec::new();
    for _ in 0..2 {
        let (status, order) = api.post("/orders", &order).await;
        assert_eq!(status, 201, "{order}");
        api.wait_for_status(&id(&order), "failed").await;
        failed.push(id(&order));
    }
    dev.terminate();
    dev.wait_for_success().await;

    // The program without settings, as at its first start.
    let mut dev = Process::start(command(folder.path(), &FREE_PORTS, &[]), "orders dev");
    let mut page = script("tests/browser", "page.mjs");
    page.env("BASE_URL", base_url(&mut dev).await)
        .env("FAILED_ORDER_ID", &failed[0])
        .env("REDRIVEN_ORDER_ID", &failed[1]);
    page.env("ORDERS_BIN", env!("CARGO_BIN_EXE_orders"));
    if let Some(chromium) = std::env::var_os("ORDERS_TEST_CHROMIUM") {
        page.env("CHROMIUM", chromium);
    }
    Process::start(page, "page.mjs").wait_for_success_within(DEADLINE).await;
    dev.terminate();
    dev.wait_for_success().await;
}
