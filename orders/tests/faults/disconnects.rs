//! Client libraries whose connections are cut 50 times each, while orders are created and Redis is killed three times.
//! `tests/clients/disconnects.mjs` contains the clients and the proxy. All clients subscribe at the first gateway; the
//! second one accepts orders and reports as well.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use crate::harness::{Api, Process, eventually, script};
use crate::system::{Plan, System};

const CUTS: u32 = 50;
/// The numbers of cuts of every client at which Redis is killed.
const KILLS: [u32; 3] = [10, 22, 34];
/// The time without Redis. Work takes up to 300 ms, so all orders that were started before have ended.
const REDIS_OUTAGE: Duration = Duration::from_secs(1);
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
        wait_for_orders_in_flight(&gateways[0]).await;
        tokio::time::sleep(REDIS_OUTAGE).await;
        wait_for_orders_in_flight(&gateways[1]).await;
        system.redis().restart().await;
    }
    clients.wait_for_success_within(DEADLINE).await;

    let output = clients.stdout().await;
    assert!(output.lines().any(|line| line == "gaps=0 duplicates=0 reordered=0"), "{output}");
    let figures = parse_figures(&output);
    // The test framework hides the `println!` of a test that succeeds.
    let report = output.lines().filter(|line| !line.starts_with("cuts ")).collect::<Vec<_>>().join("\n");
    std::io::stdout().write_all(format!("clients_cut\n{report}\n").as_bytes()).expect("stdout is open");
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
    let (no_findings, doctor) = system.doctor().await;
    assert!(no_findings, "{doctor}");
}

/// Waits for orders that are neither final nor scheduled. Without Redis they cannot all be processed.
async fn wait_for_orders_in_flight(gateway: &Api) {
    eventually("orders in flight", || async {
        let (status, orders) = gateway.get("/orders?status=pending,processing&limit=1").await;
        (status == 200 && orders.to_string().contains("\"id\"")).then_some(())
    })
    .await;
}

/// Parses the line of `name=count` that the clients print at the end.
fn parse_figures(output: &str) -> HashMap<&str, u32> {
    let line = output.lines().find(|line| line.starts_with("watchers=")).expect("the figures are printed");
    line.split(' ')
        .filter_map(|figure| {
            figure.split_once('=').and_then(|(name, count)| Some((name, count.parse().ok()?)))
        })
        .collect()
}
