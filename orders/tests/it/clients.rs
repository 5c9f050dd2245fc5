//! Common client libraries against the same orders, and the audits of GraphQL over HTTP. The scripts are in
//! `tests/clients`; their output is shown if they fail.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Process, Stack, Stop, base_url, command, grpc_addr, install_tls_provider, script};
use serde_json::{Value, json};

/// Timeout of the scripts, on a machine that can be busy.
const DEADLINE: Duration = Duration::from_secs(170);

/// Half of all attempts fail, so that orders are retried and some end as failed.
const RETRIES: [&str; 2] = ["--simulate-failure-rate", "0.5"];

#[tokio::test]
async fn client_libraries_agree_embedded() {
    assert_agreement(Stack::embedded_with(&RETRIES).await).await;
}

#[tokio::test]
async fn client_libraries_agree_on_servers() {
    assert_agreement(Stack::on_servers_with(&RETRIES).await).await;
}

/// Every library sends its key: in headers, in `connection_init` and in the metadata of gRPC.
#[tokio::test]
async fn client_libraries_agree_with_a_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = [
        "--http-addr",
        "127.0.0.1:0",
        "--grpc-addr",
        "127.0.0.1:0",
        "--simulate-min-delay",
        "20ms",
        "--simulate-max-delay",
        "300ms",
        "--auth",
        "keys",
        "--bootstrap-key-file",
        "admin.key",
    ];
    let arguments = [&arguments[..], &RETRIES].concat();
    let mut process = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let base = base_url(&mut process).await;
    let grpc = grpc_addr(&mut process).await;
    let admin = std::fs::read_to_string(folder.path().join("admin.key")).expect("the file was created");
    install_tls_provider();
    let create = reqwest::Client::new().post(format!("{base}/api-keys")).bearer_auth(admin.trim_end());
    let created = create.json(&json!({"name": "clients", "role": "operator"})).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let created: Value = created.json().await.unwrap();
    let key = created["key"].as_str().expect("a key");
    let suite = |key: &str| {
        let mut suite = script("tests/clients", "suite.mjs");
        suite
            .args(["--orders", "4"])
            .env("ORDERS_URL", &base)
            .env("GRPC_ADDR", &grpc)
            .env("ORDERS_TOKEN", key);
        Process::start(suite, "suite.mjs")
    };
    suite(key).wait_for_success_within(DEADLINE).await;
    let status = suite("ord_unknown").wait().await;
    assert!(!status.success(), "no library needs its key");
    process.terminate();
    process.wait_for_success().await;
}

async fn assert_agreement(mut stack: Stack) {
    let mut suite = start_script(&stack, "suite.mjs", &["--orders", "24"]);
    suite.wait_for_success_within(DEADLINE).await;
    let longest = suite.wait_for_stdout("the longest timeline", |line| {
        line.strip_prefix("longest timeline: ")?.split(' ').next()?.parse::<u32>().ok()
    });
    assert!(longest.await > 3, "no order was retried");
    stack.stop(Stop::Terminate).await;
    stack.doctor().await;
}

#[tokio::test]
async fn graphql_over_http_audits_succeed() {
    compare_page("audit.mjs", "graphql-audits.md").await;
}

/// Hundreds of documents are accepted or rejected, and executed, as by graphql-js.
#[tokio::test]
async fn results_equal_those_of_graphql_js() {
    compare_page("differential.mjs", "graphql-differences.md").await;
}

/// Runs a script that succeeds and prints a page of `docs`.
async fn compare_page(file: &str, page: &str) {
    let mut stack = Stack::embedded().await;
    let mut process = start_script(&stack, file, &["--markdown"]);
    process.wait_for_success_within(DEADLINE).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let written = std::fs::read_to_string(path).expect("the page is there");
    let now = process.stdout().await;
    assert!(now.trim() == written.trim(), "docs/{page} is stale; it states how to rewrite it");
    stack.stop(Stop::Terminate).await;
}

/// Starts a script of `tests/clients` with the addresses of the gateways.
fn start_script(stack: &Stack, file: &str, arguments: &[&str]) -> Process {
    let urls: Vec<&str> = stack.gateways.iter().map(|api| api.base.as_str()).collect();
    let mut command = script("tests/clients", file);
    command.args(arguments).env("ORDERS_URL", urls.join(",")).env("GRPC_ADDR", stack.grpc.join(","));
    Process::start(command, file)
}
