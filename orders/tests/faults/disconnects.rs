//! Real client libraries whose connections are cut, 50 times each, while orders flow and Redis is killed
//! three times. The clients and the proxy that cuts them are `tests/clients/disconnects.mjs`; everybody watches
//! over the first gateway, and the second one accepts and reports as well.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use crate::harness::{Api, Process, eventually, script};
use crate::system::{Plan, System};

const CUTS: u32 = 50;
/// After so many cuts of every client Redis is killed.
const KILLS: [u32; 3] = [10, 22, 34];
/// With work of up to 300 ms, nothing is left that was started before.
const AWAY: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn clients_cut_50_times_see_every_event_once() {
    let failing = ("ORDERS_SIMULATE_FAILURE_RATE".to_owned(), "0.3".to_owned());
    let plan = Plan { one_gateway_each: true, processor_variables: vec![failing], ..Plan::default() };
    let mut system = System::on_servers(&plan).await;
    let gateways: Vec<Api> = system.http.iter().cloned().map(Api::new).collect();
    for gateway in &gateways {
        gateway.wait_until_ready().await;
    }

    let mut command = script("tests/clients", "disconnects.mjs");
    command.args(["--cuts", &CUTS.to_string()]).env("ORDERS_URL", system.http.join(","));
    let mut clients = Process::start(command, "disconnects.mjs");
    for cuts in KILLS {
        let reached = format!("cuts {cuts}");
        clients.wait_for_stdout(&reached, |line| (line == reached).then_some(())).await;
        system.redis().process.kill();
        system.redis().process.wait().await;
        in_flight(&gateways[0]).await;
        tokio::time::sleep(AWAY).await;
        in_flight(&gateways[1]).await;
        system.redis().restart().await;
    }
    clients.wait_for_success_within(DEADLINE).await;

    let said = clients.stdout().await;
    assert!(said.lines().any(|line| line == "gaps=0 duplicates=0 reordered=0"), "{said}");
    let figures = figures(&said);
    // Not by `println!`, which a test that succeeds is not heard with.
    let told = said.lines().filter(|line| !line.starts_with("cuts ")).collect::<Vec<_>>().join("\n");
    std::io::stdout().write_all(format!("clients_cut\n{told}\n").as_bytes()).expect("stdout is there");
    assert!(figures["least_cuts"] >= CUTS, "{figures:?}");
    assert!(figures["retried"] > 0 && figures["longest"] > 3, "{figures:?}");
    for gateway in &gateways {
        let (_, metrics) = gateway.get("/metrics").await;
        let metrics = metrics.as_str().expect("metrics are text");
        let completed = metrics.lines().find_map(|line| {
            line.strip_prefix(r#"orders_transitions_total{status="completed"} "#)?.parse::<u32>().ok()
        });
        assert!(completed.is_some_and(|count| count > 0), "no order was completed over {}", gateway.base);
    }
    system.stop().await;
    let (sound, doctor) = system.doctor().await;
    assert!(sound, "{doctor}");
}

/// Waits for orders that are neither done nor scheduled; while Redis is away nobody can finish them all.
async fn in_flight(gateway: &Api) {
    eventually("orders in flight", || async {
        let (status, orders) = gateway.get("/orders?status=pending,processing&limit=1").await;
        (status == 200 && orders.to_string().contains("\"id\"")).then_some(())
    })
    .await;
}

/// The line of `name=count` that the clients print at the end.
fn figures(said: &str) -> HashMap<&str, u32> {
    let line = said.lines().find(|line| line.starts_with("watchers=")).expect("the figures are printed");
    line.split(' ')
        .filter_map(|figure| {
            figure.split_once('=').and_then(|(name, count)| Some((name, count.parse().ok()?)))
        })
        .collect()
}
