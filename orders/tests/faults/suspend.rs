//! A machine is suspended and resumed: all processes stop for longer than a lease, and the clock is far ahead afterwards.
//! Workers that resume with the gateway renew their leases before any of them expires.

use std::time::Duration;

use crate::harness::Process;
use crate::run::Run;
use crate::shim::Shim;
use crate::system::{Plan, System};

const HOUR: &str = "3600";
/// Longer than the leases of [`Plan::patient`].
const SUSPENDED: Duration = Duration::from_secs(12);

/// Returns all processes: the servers first, so that they respond when the others resume.
fn all_processes(system: &mut System) -> Vec<&Process> {
    let mut all = Vec::new();
    if let Some((mariadb, redis)) = &system.servers {
        all.extend([&mariadb.process, &redis.process]);
    }
    all.extend(system.gateways.iter().chain(&system.processors).map(|part| &part.process));
    all
}

async fn suspend_machine(run: &mut Run, clock: Option<&Shim>) {
    for process in all_processes(&mut run.system).into_iter().rev() {
        process.signal("STOP");
    }
    run.lasts(SUSPENDED).await;
    if let Some(clock) = clock {
        clock.begin(HOUR);
    }
    for process in all_processes(&mut run.system) {
        process.signal("CONT");
    }
}

/// The monotonic clock stops or continues during a suspend, depending on the machine.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_machine() {
    let mut run = Run::on_servers("suspended_machine", Plan::patient()).await;
    suspend_machine(&mut run, None).await;
    let outcome = run.reconcile().await;
    assert_eq!(outcome.extra_attempts, 0, "no valid lease ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_machine_plus_1_hour() {
    let clock = Shim::clock();
    let plan = Plan { database_variables: clock.variables(), ..Plan::patient() };
    let mut run = Run::on_servers("suspended_machine_plus_1_hour", plan).await;
    suspend_machine(&mut run, Some(&clock)).await;
    let outcome = run.reconcile().await;
    assert_eq!(outcome.extra_attempts, 0, "no valid lease ends");
}

/// Its leases are short, and one can expire on a busy machine.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_embedded_plus_1_hour() {
    let clock = Shim::clock();
    let mut run = Run::embedded("suspended_embedded_plus_1_hour", &clock.variables()).await;
    suspend_machine(&mut run, Some(&clock)).await;
    run.reconcile().await;
}
