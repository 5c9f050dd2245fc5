//! How much memory the program takes at most, as the kernel counts it.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Api, Process, base_url, command, within};

const MIB: u64 = 1024 * 1024;

/// The most memory that a process has had, in bytes.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Creates the orders of a body, again when it is told that others are first.
async fn create(api: &Api, body: &str) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    loop {
        let request =
            client.post(format!("{}/orders/bulk", api.base)).header("content-type", "application/json");
        let answer = within("an answer", request.body(body.to_owned()).send()).await.expect("an answer");
        match answer.status().as_u16() {
            201 => break assert!(answer.bytes().await.is_ok()),
            503 => assert!(answer.headers().contains_key("retry-after")),
            status => panic!("answered {status}"),
        }
    }
}

#[tokio::test]
async fn eight_large_bulk_creates_at_once_fit_into_128_mib() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let item = json!({"item": "x".repeat(200), "quantity": 1, "price": 1});
    let order = json!({"lineItems": vec![item; 14]});
    let body = json!(vec![order; 1_000]).to_string();
    assert!((3 * MIB..4 * MIB).contains(&(body.len() as u64)), "{} bytes", body.len());
    join_all((0..8).map(|_| create(&api, &body))).await;
    let peak = peak(&dev);
    assert!(peak < 128 * MIB, "{} MiB", peak / MIB);
    dev.terminate();
    dev.ended_well().await;
}
