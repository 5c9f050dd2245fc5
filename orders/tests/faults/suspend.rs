//! A machine is suspended and resumed: everything on it stops for longer than a lease, and its clock is far ahead
//! afterwards. Workers that resume with the gateway renew their leases before any of them is taken back.

use std::time::Duration;

use crate::harness::Process;
use crate::run::Run;
use crate::shim::Shim;
use crate::system::{Plan, System};

const HOUR: &str = "3600";
/// Longer than the leases of [`Plan::patient`].
const SUSPENDED: Duration = Duration::from_secs(12);

/// The servers first, so that they answer when the others resume.
fn everything(system: &mut System) -> Vec<&Process> {
    let mut all = Vec::new();
    if let Some((mariadb, redis)) = &system.servers {
        all.extend([&mariadb.process, &redis.process]);
    }
    all.extend(system.gateways.iter().chain(&system.processors).map(|part| &part.process));
    all
}

async fn suspend(run: &mut Run, clock: Option<&Shim>) {
    for process in everything(&mut run.system).into_iter().rev() {
        process.signal("STOP");
    }
    run.lasts(SUSPENDED).await;
    if let Some(clock) = clock {
        clock.begin(HOUR);
    }
    for process in everything(&mut run.system) {
        process.signal("CONT");
    }
}

/// The clock that the programs measure times with stands still or goes on meanwhile, depending on the kind of machine.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_machine() {
    let mut run = Run::on_servers("suspended_machine", Plan::patient()).await;
    suspend(&mut run, None).await;
    let outcome = run.reckon().await;
    assert_eq!(outcome.extra_attempts, 0, "no live lease is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_machine_plus_1_hour() {
    let clock = Shim::clock();
    let plan = Plan { database_variables: clock.variables(), ..Plan::patient() };
    let mut run = Run::on_servers("suspended_machine_plus_1_hour", plan).await;
    suspend(&mut run, Some(&clock)).await;
    let outcome = run.reckon().await;
    assert_eq!(outcome.extra_attempts, 0, "no live lease is taken");
}

/// Its leases are short, and a busy machine alone may let one run out.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_embedded_plus_1_hour() {
    let clock = Shim::clock();
    let mut run = Run::embedded("suspended_embedded_plus_1_hour", &clock.variables()).await;
    suspend(&mut run, Some(&clock)).await;
    run.reckon().await;
}
