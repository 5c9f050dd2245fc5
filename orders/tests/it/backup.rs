//! Backup of a system under load, and its restore, on both databases. The doctor has no findings, and the orders continue.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use url::Url;

use crate::harness::{Api, Process, Servers, base_url, command, eventually, run, within};

const FREE_PORTS: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
/// More orders than the concurrency, so that some wait, some are processing and some are completed.
const ORDERS: usize = 60;

/// Starts `orders dev` with some work for each order.
async fn start_dev(folder: &Path, more: &[&str], variables: &[(&str, &str)]) -> (Process, Api) {
    let slow = ["--concurrency", "8", "--simulate-min-delay", "300ms", "--simulate-max-delay", "600ms"];
    let arguments =
        [&["dev"][..], &FREE_PORTS, &slow, &["--lease", "2s", "--shutdown-timeout", "500ms"], more].concat();
    let mut dev = Process::start(command(folder, &arguments, variables), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    (dev, api)
}

async fn create_orders_in_every_state(api: &Api) {
    for _ in 0..ORDERS {
        api.create().await;
    }
    eventually("orders in every state", || async {
        let some = |status: &'static str| async move {
            let (_, list) = api.get(&format!("/orders?status={status}&limit=1")).await;
            list.as_array().is_some_and(|orders| !orders.is_empty())
        };
        (some("processing").await && some("completed").await && some("pending").await).then_some(())
    })
    .await;
}

async fn wait_until_all_completed(api: &Api) {
    eventually("every restored order to be completed", || async {
        let (_, queue) = api.get("/queue").await;
        (queue["counts"]["completed"] == ORDERS).then_some(())
    })
    .await;
}

async fn assert_no_findings(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) {
    let output = run(folder, &[&["doctor"][..], arguments].concat(), variables).await;
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains(&format!("orders accepted    {ORDERS}\n")), "{stdout}");
    assert!(stdout.contains("findings           0\n"), "{stdout}");
}

#[tokio::test]
async fn sqlite_backup_is_restored() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut first, api) = start_dev(folder.path(), &[], &[]).await;
    create_orders_in_every_state(&api).await;
    let backup = run(folder.path(), &["backup", "copy.db"], &[]).await;
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    // A later order is not in the backup.
    api.create().await;
    let again = run(folder.path(), &["backup", "copy.db"], &[]).await;
    assert!(
        again.status.code() == Some(4) && String::from_utf8_lossy(&again.stderr).contains("exists already")
    );
    let typo = run(folder.path(), &["backup", "other.db", "--data-dir", "typo"], &[]).await;
    assert!(typo.status.code() == Some(3) && !folder.path().join("typo").exists());
    first.terminate();
    first.wait_for_success().await;

    let restored = folder.path().join("restored");
    std::fs::create_dir(&restored).expect("a folder");
    std::fs::copy(folder.path().join("copy.db"), restored.join("orders.db")).expect("a copy");
    assert_no_findings(folder.path(), &["--data-dir", "restored"], &[]).await;
    let (mut second, api) = start_dev(folder.path(), &["--data-dir", "restored"], &[]).await;
    wait_until_all_completed(&api).await;
    second.terminate();
    second.wait_for_success().await;
    assert_no_findings(folder.path(), &["--data-dir", "restored"], &[]).await;
}

/// The procedure of docs/operate/backup.md, with the tools of MariaDB.
#[tokio::test]
async fn mariadb_backup_is_restored() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (source, target) = (Servers::new().await, Servers::new().await);
    let variables = [("DATABASE_URL", source.database_url.as_str())];
    let (mut first, api) = start_dev(folder.path(), &[], &variables).await;
    create_orders_in_every_state(&api).await;
    let dump = folder.path().join("dump.sql");
    let file = std::fs::File::create(&dump).expect("a file");
    run_tool("mariadb-dump", &source.database_url, &["--single-transaction"], Stdio::null(), file.into())
        .await;
    api.create().await;
    first.terminate();
    first.wait_for_success().await;

    let file = std::fs::File::open(&dump).expect("the dump");
    run_tool("mariadb", &target.database_url, &[], file.into(), Stdio::null()).await;
    let variables = [("DATABASE_URL", target.database_url.as_str())];
    assert_no_findings(folder.path(), &[], &variables).await;
    let (mut second, api) = start_dev(folder.path(), &[], &variables).await;
    wait_until_all_completed(&api).await;
    second.terminate();
    second.wait_for_success().await;
    assert_no_findings(folder.path(), &[], &variables).await;
}

/// Runs a tool of MariaDB for the database of this URL.
async fn run_tool(program: &str, url: &str, arguments: &[&str], stdin: Stdio, stdout: Stdio) {
    let url = Url::parse(url).expect("a URL");
    let mut tool = Command::new(program);
    tool.args(["--host", url.host_str().expect("a host"), "--port", &url.port().unwrap_or(3306).to_string()]);
    tool.args(["--protocol", "tcp", "--user", url.username()]);
    tool.env("MYSQL_PWD", url.password().unwrap_or_default());
    tool.args(arguments).arg(url.path().trim_start_matches('/'));
    let status = tool.stdin(stdin).stdout(stdout).kill_on_drop(true).status();
    let status = within(program, status).await.expect("the tools of the server are installed");
    assert!(status.success(), "{program} ended with {status}");
}
