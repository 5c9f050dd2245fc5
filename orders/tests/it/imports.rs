//! `orders create --file`: orders of a file, with rejects, interruptions and repetitions.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Api, Process, base_url, command, eventually, run};

/// Lines of the file. Every 500th is invalid.
const LINES: usize = 6_000;

async fn start(folder: &Path) -> (Process, Api) {
    let settings = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--handler", "simulate"];
    let mut process = Process::start(command(folder, &settings, &[]), "orders dev");
    let api = Api::new(base_url(&mut process).await);
    (process, api)
}

fn write_file(file: &Path) {
    let mut content = String::new();
    for line in 1..=LINES {
        let quantity = usize::from(line % 500 != 0);
        let _ = writeln!(
            content,
            r#"{{"item":"Vase","quantity":{quantity},"price":"25.00","externalReference":"WEB-{line}"}}"#
        );
        if line % 1_000 == 0 {
            content.push('\n');
        }
    }
    std::fs::write(file, content).expect("the folder is ours");
}

async fn references(folder: &Path, api: &Api) -> Vec<String> {
    let list = ["list", "--limit", "100000", "-o", "json"];
    let output = run(folder, &list, &[("ORDERS_URL", &api.base)]).await;
    let orders: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    orders.iter().map(|order| order["externalReference"].as_str().expect("a reference").to_owned()).collect()
}

#[tokio::test]
async fn an_interrupted_import_creates_each_order_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut process, api) = start(folder.path()).await;
    let file = folder.path().join("orders.ndjson");
    write_file(&file);
    let path = file.to_str().expect("it is UTF-8");
    let import = ["create", "--file", path, "--key-prefix", "import-7"];
    let state = folder.path().join("orders.ndjson.import");

    // The rate keeps the first run from its end; it is killed between its batches.
    let slow = [&import[..], &["--rate", "1000/s"]].concat();
    let mut first = Process::start(command(folder.path(), &slow, &[("ORDERS_URL", &api.base)]), "import");
    eventually("a recorded batch", || async { state.exists().then_some(()) }).await;
    first.kill();
    first.wait().await;

    let output = run(folder.path(), &import, &[("ORDERS_URL", &api.base)]).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(
        stderr.contains("continuing after line ") && stderr.contains("12 of 6005 lines are rejected"),
        "{stderr}"
    );
    assert!(stdout.starts_with("5988 orders are created in "), "{stdout}");
    let mut found = references(folder.path(), &api).await;
    assert_eq!(found.len(), LINES - 12);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), LINES - 12, "no order is created twice");

    let rejects =
        std::fs::read_to_string(folder.path().join("orders.ndjson.rejects.ndjson")).expect("rejects");
    let rejects: Vec<Value> = rejects.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rejects.len(), 12);
    assert_eq!(
        (&rejects[2]["line"], &rejects[2]["order"]["externalReference"]),
        (&1501.into(), &"WEB-1500".into())
    );
    assert!(
        rejects[2]["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("1")),
        "{rejects:?}"
    );

    let again = run(folder.path(), &import, &[("ORDERS_URL", &api.base)]).await;
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(4) && stderr.contains("imported already"), "{stderr}");
    // Without the state the keys still prevent other orders.
    std::fs::remove_file(&state).expect("it exists");
    run(folder.path(), &import, &[("ORDERS_URL", &api.base)]).await;
    assert_eq!(references(folder.path(), &api).await.len(), LINES - 12);
    process.terminate();
    process.wait_for_success().await;
}
