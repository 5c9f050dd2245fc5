//! The steps around each fault: load before, during and after it, then the comparison of the ledger with the database.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::harness::DEADLINE;
use crate::ledger::{self, CREATE_INTERVAL, Clients, Verdict};
use crate::servers::MariaDb;
use crate::system::{Plan, System};

/// Orders that are accepted before the fault, so that some wait, some are processing and some are completed.
const ORDERS_BEFORE_FAULT: usize = 150;
/// Longer than a lease and a visibility timeout, both of 2 s, plus the detection of their end, and longer than the
/// timeout of a client.
pub(crate) const LONG: Duration = Duration::from_secs(6);
/// Interval at which the end of a recovery is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A system under load.
pub(crate) struct Run {
    name: &'static str,
    pub(crate) system: System,
    pub(crate) clients: Clients,
}

/// The effects of a fault.
pub(crate) struct Outcome {
    pub(crate) extra_attempts: i64,
    /// Creates without a 201.
    pub(crate) refused: usize,
    /// Failed connects to gateways.
    pub(crate) unreachable: usize,
}

impl Outcome {
    /// Checks that all creates were accepted, and that no attempt was lost.
    pub(crate) fn costs_delay_only(self) {
        assert_eq!((self.refused, self.extra_attempts), (0, 0), "creates refused, extra attempts");
    }

    /// Checks that all creates were accepted.
    pub(crate) fn costs_no_create(self) {
        assert_eq!(self.refused, 0, "creates refused");
    }

    /// Accepts rejected creates: the gateway of a client was affected.
    pub(crate) fn costs_creates(self) {}
}

impl Run {
    /// Starts two gateways and two processors under load.
    pub(crate) async fn on_servers(name: &'static str, plan: Plan) -> Self {
        Self::under_load(name, System::on_servers(&plan).await, plan.create_interval).await
    }

    /// Starts two gateways and two processors under load on a cluster with this node. Gateways use `url`.
    pub(crate) async fn on_cluster(name: &'static str, plan: Plan, node: MariaDb, url: String) -> Self {
        Self::under_load(name, System::on_cluster(&plan, node, url).await, plan.create_interval).await
    }

    /// Starts `orders dev` with these variables under load.
    pub(crate) async fn embedded(name: &'static str, variables: &[(String, String)]) -> Self {
        Self::under_load(name, System::embedded(variables).await, CREATE_INTERVAL).await
    }

    async fn under_load(name: &'static str, system: System, create_interval: Duration) -> Self {
        let clients = Clients::start(&system.http, create_interval).await;
        let run = Self { name, system, clients };
        run.clients.wait_until_accepted(ORDERS_BEFORE_FAULT).await;
        run.clients.wait_until_accepted_everywhere(Instant::now()).await;
        run.clients.forget_startup_failures();
        run
    }

    /// Lets the fault last for this time.
    pub(crate) async fn lasts(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Ends the run: waits for the recovery and until all orders are final, then compares the ledger with the database, and
    /// prints the line of this fault.
    pub(crate) async fn reconcile(self) -> Outcome {
        self.reconcile_with(|_| false).await
    }

    /// The same with creates that must end as failed.
    pub(crate) async fn reconcile_with(mut self, poisoned: impl Fn(&str) -> bool) -> Outcome {
        let fault_end = Instant::now();
        self.clients.wait_until_accepted_everywhere(fault_end).await;
        self.wait_until_final(Some(fault_end)).await;
        let recovery = fault_end.elapsed();
        self.clients.stop().await;
        self.wait_until_final(None).await;
        self.clients.wait_for_subscribers().await;
        self.system.stop().await;
        let orders = ledger::read_orders(&self.system.database_url).await;
        let (no_findings, doctor) = self.system.doctor().await;
        let mut verdict = self.clients.with_ledger(|ledger| ledger::check(ledger, &orders, poisoned));
        if !no_findings {
            verdict.wrong.push(doctor);
        }
        let outcome = self.print_line(&verdict, recovery);
        assert!(verdict.wrong.is_empty(), "{}", verdict.wrong.join("\n"));
        assert_eq!((verdict.lost, verdict.duplicated), (0, 0));
        outcome
    }

    /// Waits until the orders that were accepted before `until` are final; with `None`, all stored orders, also those
    /// without a response. The comparison reports orders that exceed the deadline.
    async fn wait_until_final(&self, until: Option<Instant>) {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let unfinished = ledger::unfinished(&self.system.database_url).await;
            let is_waiting = self.clients.with_ledger(|ledger| match until {
                Some(until) => {
                    ledger.accepted.values().any(|order| order.at < until && unfinished.contains(&order.id))
                }
                None => !unfinished.is_empty(),
            });
            if !is_waiting {
                return;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn print_line(&self, verdict: &Verdict, recovery: Duration) -> Outcome {
        let (accepted, refusals, unanswered, slowest, watched) = self.clients.with_ledger(|ledger| {
            (
                ledger.accepted.len(),
                ledger.refusals.clone(),
                ledger.unanswered,
                ledger.slowest,
                ledger.watched.len(),
            )
        });
        let unreachable = self.clients.with_ledger(|ledger| ledger.unreachable);
        let pause = self.clients.with_ledger(|ledger| ledger.longest_pause()).as_secs_f64();
        let refused = refusals.values().sum::<usize>() + unanswered;
        let name = self.name;
        let Verdict { finished, lost, duplicated, extra_attempts, .. } = verdict;
        let (recovery, slowest) = (recovery.as_secs_f64(), slowest.as_secs_f64());
        // The test framework hides the `println!` of a test that succeeds.
        let line = format!(
            "fault {name:<29} accepted {accepted:>5}  finished {finished:>5}  lost {lost:>2}  \
             duplicated {duplicated:>2}  extra attempts {extra_attempts:>4}  recovered in {recovery:>5.1} s  \
             refused {refused:>4}  slowest {slowest:>4.1} s  watched {watched:>4}\n      \
             refusals {refusals:?}, without an answer {unanswered}, unreachable {unreachable}, \
             longest time without a 201 {pause:.1} s\n"
        );
        std::io::stdout().write_all(line.as_bytes()).expect("stdout is open");
        if let Ok(path) = std::env::var("ORDERS_FAULTS_TABLE") {
            let mut row = String::new();
            let _ = writeln!(
                row,
                "| `{name}` | {accepted} | {finished} | {lost} | {duplicated} | {extra_attempts} | {recovery:.1} | \
                 {refused} | {slowest:.1} | {watched} |"
            );
            let table = std::fs::OpenOptions::new().append(true).create(true).open(path);
            table.and_then(|mut table| table.write_all(row.as_bytes())).expect("the table can be written");
        }
        Outcome { extra_attempts: *extra_attempts, refused, unreachable }
    }
}
