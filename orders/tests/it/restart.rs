//! All processes stop during work and start again. Every acknowledged order is completed.

use crate::harness::{Api, DEADLINE, Process, Stack, Stop, base_url, command, eventually};

/// The number of acknowledged orders at the stop. It exceeds the concurrency, so that some wait, some are processing and
/// some are completed.
const ACCEPTED: usize = 120;
/// Clients that create orders concurrently.
const CLIENTS: usize = 6;
/// Maximum number of orders of one client, which limits the duration of a test.
const ORDERS_PER_CLIENT: usize = 100;

#[tokio::test]
async fn sigterm_embedded() {
    stop_during_work(Stack::embedded().await, Stop::Terminate).await;
}

#[tokio::test]
async fn sigkill_embedded() {
    stop_during_work(Stack::embedded().await, Stop::Kill).await;
}

#[tokio::test]
async fn sigterm_on_servers() {
    stop_during_work(Stack::on_servers().await, Stop::Terminate).await;
}

#[tokio::test]
async fn sigkill_on_servers() {
    stop_during_work(Stack::on_servers().await, Stop::Kill).await;
}

async fn stop_during_work(mut stack: Stack, how: Stop) {
    let (acknowledged, mut ledger) = tokio::sync::mpsc::unbounded_channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|i| {
            let (gateway, acknowledged) = (stack.gateway(i).clone(), acknowledged.clone());
            tokio::spawn(async move {
                // Ends when the gateway rejects the create or does not respond.
                for _ in 0..ORDERS_PER_CLIENT {
                    let Some(order) = gateway.try_create().await else { return };
                    let id = order["id"].as_str().expect("an id").to_owned();
                    if acknowledged.send(id).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    drop(acknowledged);
    let mut accepted = Vec::new();
    while accepted.len() < ACCEPTED {
        accepted.push(ledger.recv().await.expect("the clients continue until the gateway stops"));
    }
    eventually("an order to be processing", || async {
        let (_, list) = stack.gateway(0).get("/orders?status=processing&limit=1").await;
        list.as_array().is_some_and(|orders| !orders.is_empty()).then_some(())
    })
    .await;

    stack.stop(how).await;
    for client in clients {
        tokio::time::timeout(DEADLINE, client)
            .await
            .expect("clients end with their gateway")
            .expect("no panic");
    }
    while let Some(id) = ledger.recv().await {
        accepted.push(id);
    }

    stack.start().await;
    let orders = stack.wait_until_completed(&accepted).await;
    assert_eq!(orders.len(), accepted.len());
    if how == Stop::Terminate && stack.gateways.len() == 1 {
        // The processor ends before its gateway, so its running orders were finished.
        let failed: Vec<_> = orders.iter().filter(|order| order["failures"] != 0).collect();
        assert!(failed.is_empty(), "the shutdown cost attempts: {failed:?}");
    }
    // The timeline has no gap, also after several attempts.
    let events = stack.gateway(0).watch(&accepted[0]).await;
    let sequences: Vec<i64> = events.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    stack.stop(Stop::Terminate).await;
    let found = stack.doctor().await;
    let line = |name: &str| found.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    assert!(line("findings").is_some_and(|line| line.ends_with(" 0")), "{found}");
    // Orders whose acknowledgement was lost are completed as well.
    let completed = line("  completed").and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    assert!(completed.is_some_and(|completed: usize| completed >= accepted.len()), "{found}");
}

/// Work that takes longer than the shutdown timeout is released, and costs no attempt.
#[tokio::test]
async fn shutdown_costs_no_attempt() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut dev = start_slow(&folder, "0");
    let api = Api::new(base_url(&mut dev).await);
    let id = api.create_id().await;
    api.wait_for_status(&id, "processing").await;
    dev.terminate();
    dev.wait_for_success().await;

    let arguments = [&FREE_PORTS[..], &["--simulate-min-delay", "0", "--simulate-max-delay", "0"]].concat();
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let order = api.wait_for_status(&id, "completed").await;
    assert_eq!((&order["attempt"], &order["failures"]), (&2.into(), &0.into()), "{order}");
}

/// A restarted program ends the leases of its killed predecessor at once.
#[tokio::test]
async fn killed_program_resumes_its_orders_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut dev = start_slow(&folder, "0");
    let api = Api::new(base_url(&mut dev).await);
    let id = api.create_id().await;
    api.wait_for_status(&id, "processing").await;
    dev.kill();
    dev.wait().await;

    let arguments = [&FREE_PORTS[..], &["--simulate-min-delay", "0", "--simulate-max-delay", "0"]].concat();
    let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let order = api.wait_for_status(&id, "completed").await;
    // It counts as a failure, because the order can have ended the program.
    assert_eq!((&order["attempt"], &order["failures"]), (&2.into(), &1.into()), "{order}");
    let (_, events) = api.get(&format!("/orders/{id}/events")).await;
    let statuses: Vec<_> = events.as_array().expect("a list").iter().map(|event| &event["status"]).collect();
    assert_eq!(statuses, ["pending", "processing", "pending", "processing", "completed"]);
    assert_eq!(events[2]["reason"], "the program ended while it processed the order", "{events}");
    assert_eq!(events[2]["errorClass"], "lease_expired", "{events}");
}

#[tokio::test]
async fn second_signal_ends_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut dev = start_slow(&folder, "1h");
    let api = Api::new(base_url(&mut dev).await);
    let id = api.create_id().await;
    api.wait_for_status(&id, "processing").await;
    dev.terminate();
    dev.wait_for_log("that it shuts down", |line| {
        line.contains("a second signal exits immediately").then_some(())
    })
    .await;
    dev.terminate();
    assert_eq!(dev.wait().await.code(), Some(130));
}

const FREE_PORTS: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

/// Starts a program whose work takes an hour.
fn start_slow(folder: &tempfile::TempDir, shutdown_timeout: &str) -> Process {
    let work =
        ["--simulate-min-delay", "1h", "--simulate-max-delay", "1h", "--shutdown-timeout", shutdown_timeout];
    let arguments = [&FREE_PORTS[..], &work].concat();
    Process::start(command(folder.path(), &arguments, &[]), "slow orders dev")
}
