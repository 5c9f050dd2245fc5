//! What each test does around its fault: load before, during and after it, then the reckoning.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::harness::DEADLINE;
use crate::ledger::{self, Ledger, Verdict};
use crate::system::{Plan, System};

/// Orders that are accepted before the fault, so that some wait, some are worked on and some are done.
const BEFORE: usize = 150;
/// Longer than a lease and a guard, both of 2 s, with what it takes to notice their end, and longer
/// than a client waits for an answer.
pub(crate) const LONG: Duration = Duration::from_secs(6);
/// How exactly the end of a recovery is seen.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A system under load.
pub(crate) struct Run {
    name: &'static str,
    pub(crate) system: System,
    pub(crate) ledger: Ledger,
}

/// What is left when it is over.
pub(crate) struct Outcome {
    pub(crate) extra_attempts: i64,
    /// Creates that were answered with anything but 201, or not at all.
    pub(crate) refused: usize,
    /// How often a gateway could not be connected to.
    pub(crate) unreachable: usize,
}

impl Outcome {
    /// Orders are accepted as before, and processed later at most.
    pub(crate) fn costs_delay_only(self) {
        assert_eq!((self.refused, self.extra_attempts), (0, 0), "creates refused, extra attempts");
    }

    /// Clients are not concerned.
    pub(crate) fn clients_do_not_notice(self) {
        assert_eq!(self.refused, 0, "creates refused");
    }

    /// The gateway that they chose could not do it, and said so or fell silent.
    pub(crate) fn clients_may_notice(self) {}
}

impl Run {
    /// Two gateways and two processors under load.
    pub(crate) async fn on_servers(name: &'static str, plan: Plan) -> Self {
        Self::under_load(name, System::on_servers(&plan).await).await
    }

    /// `orders dev` with these variables under load.
    pub(crate) async fn embedded(name: &'static str, variables: &[(String, String)]) -> Self {
        Self::under_load(name, System::embedded(variables).await).await
    }

    async fn under_load(name: &'static str, system: System) -> Self {
        let ledger = Ledger::start(&system.http);
        let run = Self { name, system, ledger };
        run.ledger.accepts(BEFORE).await;
        run.ledger.accepts_everywhere(Instant::now()).await;
        run.ledger.forget_the_start();
        run
    }

    /// The fault goes on for so long.
    pub(crate) async fn lasts(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// The fault is over: waits for the recovery and for the end of every order, then compares what
    /// clients and subscribers were told with the database. Prints the line of this fault.
    pub(crate) async fn reckon(self) -> Outcome {
        self.reckon_with(|_| false).await
    }

    /// The same when some creates are to end as failed.
    pub(crate) async fn reckon_with(mut self, poisoned: impl Fn(&str) -> bool) -> Outcome {
        let over = Instant::now();
        self.ledger.accepts_everywhere(over).await;
        self.finished(Some(over)).await;
        let recovery = over.elapsed();
        self.ledger.stop().await;
        self.finished(None).await;
        self.ledger.everything_seen().await;
        self.system.stop().await;
        let orders = ledger::read(&self.system.database_url).await;
        let (sound, doctor) = self.system.doctor().await;
        let mut verdict = self.ledger.look(|book| ledger::check(book, &orders, poisoned));
        if !sound {
            verdict.wrong.push(doctor);
        }
        let outcome = self.line(&verdict, recovery);
        assert!(verdict.wrong.is_empty(), "{}", verdict.wrong.join("\n"));
        assert_eq!((verdict.lost, verdict.duplicated), (0, 0));
        outcome
    }

    /// Waits until the orders that were accepted before `until` are final; when it is `None` all that
    /// are stored, those whose clients got no answer as well.
    /// Those that are not within the deadline are found by the comparison.
    async fn finished(&self, until: Option<Instant>) {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let unfinished = ledger::unfinished(&self.system.database_url).await;
            let waits = self.ledger.look(|book| match until {
                Some(until) => {
                    book.accepted.values().any(|order| order.at < until && unfinished.contains(&order.id))
                }
                None => !unfinished.is_empty(),
            });
            if !waits {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn line(&self, verdict: &Verdict, recovery: Duration) -> Outcome {
        let (accepted, refusals, unanswered, slowest, watched) = self.ledger.look(|book| {
            (book.accepted.len(), book.refusals.clone(), book.unanswered, book.slowest, book.watched.len())
        });
        let unreachable = self.ledger.look(|book| book.unreachable);
        let refused = refusals.values().sum::<usize>() + unanswered;
        let name = self.name;
        let Verdict { finished, lost, duplicated, extra_attempts, .. } = verdict;
        let (recovery, slowest) = (recovery.as_secs_f64(), slowest.as_secs_f64());
        // Not by `println!`, which a test that succeeds is not heard with.
        let line = format!(
            "fault {name:<29} accepted {accepted:>5}  finished {finished:>5}  lost {lost:>2}  \
             duplicated {duplicated:>2}  extra attempts {extra_attempts:>4}  recovered in {recovery:>5.1} s  \
             refused {refused:>4}  slowest {slowest:>4.1} s  watched {watched:>4}\n      \
             refusals {refusals:?}, without an answer {unanswered}, unreachable {unreachable}\n"
        );
        std::io::stdout().write_all(line.as_bytes()).expect("stdout is there");
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
