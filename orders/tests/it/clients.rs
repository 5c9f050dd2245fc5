//! The client libraries that people use, all against the same orders, and the audits of GraphQL over
//! HTTP. The scripts are in `tests/clients`; what they print is shown when they fail.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Process, Stack, Stop, script};

/// Eight libraries, one order after the other, on a machine that may be busy.
const DEADLINE: Duration = Duration::from_secs(170);

/// Half of all attempts fail, so that orders are retried and some end as failed.
const RETRIES: [&str; 2] = ["--simulate-failure-rate", "0.5"];

#[tokio::test]
async fn all_client_libraries_agree_embedded() {
    all_agree(Stack::embedded_with(&RETRIES).await).await;
}

#[tokio::test]
async fn all_client_libraries_agree_on_servers() {
    all_agree(Stack::on_servers_with(&RETRIES).await).await;
}

async fn all_agree(mut stack: Stack) {
    let mut suite = node(&stack, "suite.mjs", &["--orders", "24"]);
    suite.ended_well_within(DEADLINE).await;
    let longest = suite.printed("the longest timeline", |line| {
        line.strip_prefix("longest timeline: ")?.split(' ').next()?.parse::<u32>().ok()
    });
    assert!(longest.await > 3, "no order was retried");
    stack.stop(Stop::Terminate).await;
    stack.doctor().await;
}

#[tokio::test]
async fn every_audit_of_graphql_over_http_is_ok() {
    writes_its_page("audit.mjs", "graphql-audits.md").await;
}

/// Hundreds of documents are accepted or refused, and answered, as graphql-js does it.
#[tokio::test]
async fn documents_mean_what_they_mean_to_graphql_js() {
    writes_its_page("differential.mjs", "graphql-differences.md").await;
}

/// A script that ends well and prints a page of `docs`.
async fn writes_its_page(file: &str, page: &str) {
    let mut stack = Stack::embedded().await;
    let mut process = node(&stack, file, &["--markdown"]);
    process.ended_well_within(DEADLINE).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let written = std::fs::read_to_string(path).expect("the page is there");
    let now = process.stdout().await;
    assert!(now.trim() == written.trim(), "docs/{page} is stale; it says how it is written anew");
    stack.stop(Stop::Terminate).await;
}

/// A script of `tests/clients` that knows where the gateways are.
fn node(stack: &Stack, file: &str, arguments: &[&str]) -> Process {
    let urls: Vec<&str> = stack.gateways.iter().map(|api| api.base.as_str()).collect();
    let mut command = script("tests/clients", file);
    command.args(arguments).env("ORDERS_URL", urls.join(",")).env("GRPC_ADDR", stack.grpc.join(","));
    Process::start(command, file)
}
