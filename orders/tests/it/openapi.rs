//! The OpenAPI document as its users use it: a generated client, and generated random requests. The scripts are in
//! `tests/openapi`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{Process, Stack, Stop, script};

const FOLDER: &str = "tests/openapi";
const DEADLINE: Duration = Duration::from_secs(170);
/// The number of requests of each kind for each operation, and their timeout.
const BOUNDS: [&str; 4] = ["--max-examples", "25", "--max-time", "60"];

#[tokio::test]
async fn generated_typescript_client_compiles_and_runs() {
    let mut stack = Stack::embedded().await;
    let mut command = script(FOLDER, "typescript.mjs");
    command.env("ORDERS_URL", &stack.gateways[0].base);
    let mut client = Process::start(command, "typescript.mjs");
    client.wait_for_success_within(DEADLINE).await;
    assert_eq!(client.stdout().await.lines().last(), Some("the generated client works"));
    stack.stop(Stop::Terminate).await;
}

/// `ORDERS_TEST_SEED` sets the seed.
#[tokio::test]
async fn random_requests_match_the_document() {
    let mut stack = Stack::embedded().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER);
    let program = folder.join(".venv/bin/st");
    assert!(program.exists(), "Schemathesis is missing: run scripts/test.sh, which installs it");
    let seed = std::env::var("ORDERS_TEST_SEED").unwrap_or_else(|_| "1".to_owned());
    let mut command = Command::new(program);
    command
        .args(["--config-file", "schemathesis.toml", "run", "--seed", &seed, "--request-timeout", "70"])
        .args(BOUNDS)
        .arg(format!("{}/openapi.json", stack.gateways[0].base))
        .current_dir(&folder)
        .stdin(Stdio::null());
    let mut run = Process::start(command, "schemathesis");
    run.wait_for_success_within(DEADLINE).await;
    let report = run.stdout().await;
    let total = report.split_once(" selected / ").and_then(|(_, rest)| rest.split_once(" total"));
    let (total, _) = total.expect("the report has the number of operations");
    assert!(total.parse::<u32>().is_ok_and(|total| total > 0), "{total}");
    assert!(report.contains(&format!("Tested: {total}\n")), "every operation was tested");
    stack.stop(Stop::Terminate).await;
}
