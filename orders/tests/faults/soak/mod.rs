//! The soak test: a mixed load for a long time, a random fault every few seconds, and a judgement of what grows.
//!
//! After each fault every gateway must accept orders again, and then the resources of every process are sampled. At the end the
//! ledger is compared with the database as after every other fault, and [`trend`] judges the samples of the parts that were not
//! restarted, the size of the database for each order, and the latencies.
//!
//! `ten_minutes` is a part of the fault suite. `scripts/soak.sh` runs `for_a_given_time`, which takes hours.

mod fault;
mod random;
mod samples;
mod trend;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use self::fault::{Deck, cause};
use self::random::Random;
use self::samples::{Samples, usage};
use self::trend::{Allowance, Trend, judge};
use crate::run::Run;
use crate::system::Plan;

/// 40 creates per second in total.
const CREATE_INTERVAL: Duration = Duration::from_millis(800);
const TEN_MINUTES: Duration = Duration::from_secs(600);
/// A shorter run has too few samples after the warm-up.
const MIN_DURATION: Duration = Duration::from_secs(300);
/// Limit of a run: the ledger keeps about 1 KB for each order.
const MAX_DURATION: Duration = Duration::from_secs(12 * 3600);

const MIB: f64 = 1024.0 * 1024.0;
const MEMORY: Allowance = Allowance { share: 0.1, fixed: 8.0 * MIB };
/// Open files, threads and connections.
const COUNT: Allowance = Allowance { share: 0.1, fixed: 8.0 };
const BYTES_PER_ORDER: Allowance = Allowance { share: 0.1, fixed: 0.0 };
/// In milliseconds; the machine can run other tests meanwhile.
const LATENCY: Allowance = Allowance { share: 1.0, fixed: 50.0 };
/// The slowest creates are those that wait for a fault.
const SLOW_LATENCY: Allowance = Allowance { share: 1.0, fixed: 500.0 };

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes() {
    soak("soak_ten_minutes", TEN_MINUTES, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes hours; scripts/soak.sh runs it"]
async fn for_a_given_time() {
    let number = |name: &str| -> u64 {
        let value =
            std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; scripts/soak.sh sets it"));
        value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}"))
    };
    let duration = Duration::from_secs(number("ORDERS_SOAK_SECONDS"));
    assert!((MIN_DURATION..=MAX_DURATION).contains(&duration), "a soak test takes 5 min to 12 h");
    soak("soak", duration, number("ORDERS_SOAK_SEED")).await;
}

async fn soak(name: &'static str, duration: Duration, seed: u64) {
    println!("{name}: {} s, seed {seed}", duration.as_secs());
    let plan = Plan { all_links: true, create_interval: CREATE_INTERVAL, ..Plan::default() };
    let mut run = Run::on_servers(name, plan).await;
    run.clients.mix_load();
    let (start, mut random, mut deck) = (Instant::now(), Random::new(seed), Deck::default());
    let (mut samples, mut faults) = (Samples::default(), 0);
    while start.elapsed() < duration {
        let fault = deck.deal(&mut random);
        let (time, pause) = (between(&mut random, 500, 3_000), between(&mut random, 1_000, 4_000));
        println!("{:8.1} s: {fault} for {:.1} s", start.elapsed().as_secs_f64(), time.as_secs_f64());
        cause(&mut run, fault, time).await;
        run.clients.wait_until_accepted_everywhere(Instant::now()).await;
        run.lasts(pause).await;
        sample(&mut run, start, &mut samples).await;
        faults += 1;
    }
    run.clients.with_ledger(|ledger| samples.add_latencies(ledger, start, [LATENCY, SLOW_LATENCY]));
    if let Ok(path) = std::env::var("ORDERS_SOAK_SAMPLES") {
        std::fs::write(path, samples.to_csv()).expect("the samples can be written");
    }
    let (report, growing) = report(&samples);
    println!("{name}: {faults} faults\n{report}");
    run.reconcile().await;
    assert!(growing.is_empty(), "these values grow: {}\n{report}", growing.join(", "));
}

fn between(random: &mut Random, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(from_ms + random.below(to_ms - from_ms))
}

/// Samples every process, the connections of the database and its size.
async fn sample(run: &mut Run, start: Instant, samples: &mut Samples) {
    let at = start.elapsed().as_secs_f64();
    let mut processes = Vec::new();
    for i in 0..2 {
        // Faults restart the first ones.
        processes.push((format!("gateway {i}"), run.system.gateways[i].process.id(), i == 1));
        processes.push((format!("processor {i}"), run.system.processors[i].process.id(), i == 1));
    }
    processes.push(("MariaDB".to_owned(), run.system.mariadb().process.id(), false));
    processes.push(("Redis".to_owned(), run.system.redis().process.id(), false));
    for (name, pid, is_judged) in processes {
        let used = usage(pid).unwrap_or_else(|| panic!("{name} has ended"));
        let mut add = |what: &str, value: f64, allowance: Allowance| {
            samples.add(&format!("{name}, {what}"), at, value, is_judged.then_some(allowance));
        };
        add("memory in MiB", used.memory_bytes / MIB, Allowance { fixed: MEMORY.fixed / MIB, ..MEMORY });
        add("open files", used.open_files, COUNT);
        add("threads", used.threads, COUNT);
    }
    let question = "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.processlist";
    let connections = run.system.mariadb().query_value(question).await;
    samples.add("connections to MariaDB", at, connections.parse().expect("a number"), Some(COUNT));
    let accepted = run.clients.with_ledger(|ledger| ledger.accepted.len());
    let size = run.system.mariadb().tables_bytes() as f64 / accepted as f64;
    samples.add("bytes of tables per order", at, size, Some(BYTES_PER_ORDER));
}

/// Returns a table of all values, and the names of those that grow.
fn report(samples: &Samples) -> (String, Vec<String>) {
    let mut table = format!(
        "{:<38} {:>10} {:>10} {:>10}  judgement\n",
        "value after the warm-up", "median", "growth", "allowed"
    );
    let mut growing = Vec::new();
    for series in &samples.series {
        // A value that is only shown has no limit.
        let allowance = series.allowance.unwrap_or(Allowance { share: 0.0, fixed: f64::INFINITY });
        let Some(Trend { median, growth, allowed, grows }) = judge(&series.points, allowance) else {
            growing.push(format!("{} has too few samples", series.name));
            continue;
        };
        let (allowed, judgement) = match (series.allowance, grows) {
            (None, _) => ("-".to_owned(), "not judged: restarted"),
            (Some(_), true) => (format!("{allowed:.1}"), "GROWS"),
            (Some(_), false) => (format!("{allowed:.1}"), "ok"),
        };
        let name = &series.name;
        let _ = writeln!(table, "{name:<38} {median:>10.1} {growth:>+10.1} {allowed:>10}  {judgement}");
        if grows {
            growing.push(series.name.clone());
        }
    }
    (table, growing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a value that is the sum of the first number and the second one after each of 100 samples.
    fn add(samples: &mut Samples, name: &str, [base, each]: [f64; 2], allowance: Option<Allowance>) {
        for n in 0..100 {
            samples.add(name, f64::from(n), base + each * f64::from(n), allowance);
        }
    }

    #[test]
    fn a_growing_value_fails_the_run() {
        let mut samples = Samples::default();
        add(&mut samples, "steady", [50.0, 0.0], Some(COUNT));
        add(&mut samples, "restarted", [50.0, 1.0], None);
        assert_eq!(report(&samples).1, Vec::<String>::new());
        add(&mut samples, "leaking", [50.0, 1.0], Some(COUNT));
        samples.add("rare", 0.0, 1.0, Some(COUNT));
        let (table, growing) = report(&samples);
        assert_eq!(growing, ["leaking", "rare has too few samples"], "{table}");
        assert!(table.lines().any(|line| line.starts_with("leaking") && line.ends_with("GROWS")), "{table}");
    }
}
