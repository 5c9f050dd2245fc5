//! Runs the shell blocks of the README and of `docs/` as they are written, and compares the Rust handler of the
//! documents with the example that is compiled.
//!
//! The blocks of a page run in one shell, so a variable of a block exists in the next ones. Only addresses change: the
//! blocks name the default ports, and the test has free ones. `orders` is the program under test, `cargo run` is what
//! the test has started, and `npm ci` is a step of `scripts/test.sh`. An HTTP error fails a block. A comment in the line
//! above a block, which the pages do not show, states an exception:
//!
//! - `<!-- not run: REASON -->`: the block cannot run here.
//! - `<!-- fails: STATUS -->`: the response is an error with this status.
//! - `<!-- needs: a gateway on Redis -->`: the block runs beside `orders gateway` on servers.
//! - `<!-- needs: orders dev without a handler -->`: the block runs beside one, in the folder that contains the clone `orders`;
//!   `sdk.rs` runs these pages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{Servers, Stack, Stop, killed_with_test, start_gateway, within};

#[derive(Debug, PartialEq)]
enum Mark {
    Runs,
    NotRun,
    Fails(String),
    OnRedis,
    BesideClone,
}

struct Block {
    line: usize,
    mark: Mark,
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The README, and the pages of these folders.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs/start", "docs/concepts", "docs/guides", "docs/operate"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("the folder can be read");
        pages.extend(entries.map(|entry| entry.expect("the folder can be read").path()));
    }
    pages.sort();
    pages
}

/// The blocks of a page in this language.
fn blocks(text: &str, language: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut above = "";
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.strip_prefix("```") == Some(language) {
            let code: Vec<_> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            found.push(Block { line: number + 1, mark: mark(above), code: code.join("\n") });
        } else if line.starts_with("```") {
            lines.by_ref().find(|(_, line)| *line == "```");
        }
        above = line;
    }
    found
}

fn mark(above: &str) -> Mark {
    let Some(comment) = above.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) else {
        return Mark::Runs;
    };
    match comment.split_once(": ") {
        Some(("not run", _)) => Mark::NotRun,
        Some(("fails", status)) => Mark::Fails(status.to_owned()),
        Some(("needs", "a gateway on Redis")) => Mark::OnRedis,
        Some(("needs", "orders dev without a handler")) => Mark::BesideClone,
        _ => Mark::Runs,
    }
}

/// The blocks of a page as one script, which prints the line of each block before it runs. Empty without any.
fn script_of(blocks: &[&Block], addresses: &[(&str, &str)]) -> String {
    let mut script = String::new();
    for block in blocks {
        let lines =
            block.code.lines().filter(|line| !line.starts_with("cargo run") && !line.starts_with("npm ci"));
        let mut code = lines.collect::<Vec<_>>().join("\n");
        for (written, used) in addresses {
            code = code.replace(written, used);
        }
        let _ = writeln!(script, "echo '@@ line {}'", block.line);
        let _ = match &block.mark {
            // Without the file that makes curl fail on an HTTP error.
            Mark::Fails(status) => writeln!(
                script,
                "response=$(CURL_HOME=/ bash -c '{}')\ngrep -q '\"status\":{status}' <<<\"$response\"",
                code.replace('\'', "'\\''")
            ),
            _ => writeln!(script, "{code}"),
        };
    }
    script
}

/// Runs a script as a reader of the page does, at the root of the repository.
async fn run(script: &str, variables: &[(&str, &str)]) -> Output {
    let folder = root();
    within("the blocks to end", start(script, &folder, variables)).await
}

/// Runs a script in a folder.
async fn start(script: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(home.path().join(".curlrc"), "fail-with-body\nsilent\nshow-error\n")
        .expect("the file is written");
    let program = Path::new(env!("CARGO_BIN_EXE_orders")).parent().expect("the program is in a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut command: Command = killed_with_test("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env("PATH", path)
        .env("CURL_HOME", home.path())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.output().await.expect("bash can be started")
}

/// Runs the blocks of a guide beside a clone and `orders dev --handler none`. All orders that they create are completed.
pub(crate) async fn run_beside_clone(page: &str, deadline: Duration) {
    let mut stack = Stack::embedded_with(&["--handler", "none"]).await;
    let host = stack.gateways[0].base.trim_start_matches("http://").to_owned();
    let addresses = [("localhost:3000", host.as_str()), ("127.0.0.1:50051", &stack.grpc[0])];
    let path = root().join("docs/guides").join(page);
    let text = std::fs::read_to_string(&path).expect("a page is text");
    let all = blocks(&text, "sh");
    let found: Vec<_> = all.iter().filter(|block| block.mark == Mark::BesideClone).collect();
    assert!(found.len() > 3, "{page} has no such blocks");
    // What a block has started in the background ends with the script.
    let script =
        format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", script_of(&found, &addresses));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clone = root().canonicalize().expect("it is there");
    std::os::unix::fs::symlink(clone, folder.path().join("orders")).expect("a link can be made");
    let ended = tokio::time::timeout(deadline, start(&script, folder.path(), &[])).await;
    assert_success(&path, &ended.expect("the blocks end in time"));
    let (_, orders) = stack.gateways[0].get("/orders").await;
    let orders = orders.as_array().expect("a list");
    assert!(!orders.is_empty() && orders.iter().all(|order| order["status"] == "completed"), "{orders:?}");
    stack.stop(Stop::Terminate).await;
}

fn assert_success(page: &Path, output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = stdout.lines().rev().find_map(|line| line.strip_prefix("@@ ")).unwrap_or("no line");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}, the block at {line} failed:\n{stdout}\n{stderr}", page.display());
}

#[tokio::test]
async fn shell_blocks_run_as_pasted() {
    let mut stack = Stack::embedded().await;
    let http = stack.gateways[0].base.clone();
    let host = http.trim_start_matches("http://").to_owned();
    let addresses = [("localhost:3000", host.as_str()), ("127.0.0.1:3000", &host)];
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page is text");
        let all = blocks(&text, "sh");
        let runnable: Vec<_> =
            all.iter().filter(|block| matches!(block.mark, Mark::Runs | Mark::Fails(_))).collect();
        count += runnable.len();
        let output = run(&script_of(&runnable, &addresses), &[("ORDERS_URL", &http)]).await;
        assert_success(&page, &output);
    }
    assert!(count > 15, "{count} blocks");
    stack.stop(Stop::Terminate).await;
}

#[tokio::test]
async fn shell_blocks_for_workers_run_on_redis() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let (mut process, api, grpc) = start_gateway(&folder, &servers, 1).await;
    let addresses =
        [("redis://127.0.0.1:6379", servers.redis_url.as_str()), ("127.0.0.1:50051", grpc.as_str())];
    let queue = format!("{}:queue", servers.prefix);
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page is text");
        for block in blocks(&text, "sh").iter().filter(|block| block.mark == Mark::OnRedis) {
            let id = api.create_id().await;
            let output = run(&script_of(&[block], &addresses), &[("ORDERS_QUEUE_KEY", &queue)]).await;
            assert_success(&page, &output);
            api.wait_for_status(&id, "completed").await;
            count += 1;
        }
    }
    assert!(count > 0, "the README has such a block");
    process.terminate();
    process.wait_for_success().await;
}

#[test]
fn the_handlers_of_the_documents_are_the_compiled_example() {
    let handler = include_str!("../../../processor/examples/shipping.rs");
    let subscriber = include_str!("../../../subscriber/examples/invoices.rs");
    for (page, example) in [
        ("README.md", handler),
        ("README.md", subscriber),
        ("docs/guides/handler-rust.md", handler),
        ("docs/guides/subscriber-rust.md", subscriber),
    ] {
        let (_, example) = example.split_once("\n\n").expect("the example has a head comment");
        let text = std::fs::read_to_string(root().join(page)).expect("a page is text");
        let code = blocks(&text, "rust");
        assert!(code.iter().any(|block| block.code.trim() == example.trim()), "{page} has another handler");
    }
}

#[test]
fn marks_are_read_from_the_line_above() {
    let text = "```sh\na\n```\n<!-- not run: needs Docker -->\n```sh\nb\nc\n```\n<!-- fails: 422 -->\n```sh\nd\n```\n```text\n```sh\n```";
    let found: Vec<_> =
        blocks(text, "sh").into_iter().map(|block| (block.line, block.mark, block.code)).collect();
    let expected = [
        (1, Mark::Runs, "a".to_owned()),
        (5, Mark::NotRun, "b\nc".to_owned()),
        (10, Mark::Fails("422".to_owned()), "d".to_owned()),
    ];
    assert_eq!(found, expected);
}
