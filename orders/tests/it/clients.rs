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
    let mut stack = Stack::embedded().await;
    let mut audit = node(&stack, "audit.mjs", &["--markdown"]);
    audit.ended_well().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/graphql-audits.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let now = audit.stdout().await;
    assert!(now.trim() == page.trim(), "docs/graphql-audits.md is stale; it says how it is written anew");
    stack.stop(Stop::Terminate).await;
}

/// A script of `tests/clients` that knows where the gateways are.
fn node(stack: &Stack, file: &str, arguments: &[&str]) -> Process {
    let urls: Vec<&str> = stack.gateways.iter().map(|api| api.base.as_str()).collect();
    let mut command = script("tests/clients", file);
    command.args(arguments).env("ORDERS_URL", urls.join(",")).env("GRPC_ADDR", stack.grpc.join(","));
    Process::start(command, file)
}
