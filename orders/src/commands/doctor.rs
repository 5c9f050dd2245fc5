//! `orders doctor`: checks the integrity of the database.
//!
//! It reads every order with its events, and checks the invariants. On MySQL it can run beside gateways. An SQLite file
//! belongs to one process, so `orders dev` must be stopped first.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::EndpointState;
use gateway::Store;
use gateway::store::{Error as StoreError, EventLogReport, IntegrityReport, IssueKind, LogEnds};

use super::keys::failed;
use crate::cli::DoctorArgs;
use crate::error::Error;
use crate::output::{Progress, State};
use crate::{console, log, startup};

/// An order that is due for longer is overdue: dispatch runs several times per second.
const OVERDUE_AFTER: Duration = Duration::from_secs(60);
/// An endpoint that is further behind is shown.
const BEHIND_AFTER: Duration = Duration::from_secs(60);
/// Endpoints that are read at once.
const ENDPOINTS_READ: u32 = 100;
/// The total of a phase whose size is unknown.
const UNKNOWN: u64 = u64::MAX;
/// Maximum number of findings that are printed.
const SHOWN: usize = 100;

/// Prints counts and findings; fails if there are findings.
pub(super) async fn run(args: DoctorArgs) -> Result<(), Error> {
    let redis = args.redis.client()?;
    log::install(args.log.log_format)?;
    let store = startup::open_existing_database(&args.database).await?;
    let mut report = inspect_orders(&store).await.map_err(failed)?;
    let mut text = String::new();
    if args.repair && report.issues.iter().any(|finding| finding.kind.is_repairable()) {
        let repaired = phase("repairing due times", UNKNOWN, |_| store.repair()).await.map_err(failed)?;
        let _ = writeln!(text, "repaired: {repaired} orders had the wrong due time\n");
        report = inspect_orders(&store).await.map_err(failed)?;
    }
    let paused = store.paused().await.map_err(failed)?;
    let log = inspect_log(&store).await.map_err(failed)?;
    let mut events = String::new();
    describe_log(&mut events, &log);
    describe_webhooks(&mut events, &store).await.map_err(failed)?;
    store.close().await;

    describe(&mut text, &report);
    text.push_str(&events);
    if let Some(pause) = paused {
        let until = pause.until.map_or("until it is resumed".to_owned(), |until| format!("until {until}"));
        let _ = writeln!(text, "queue              paused {until}");
    }
    if let Some(redis) = redis {
        let _ = match args.redis.queue(&redis).len().await {
            Ok(length) => writeln!(text, "queue length       {length}"),
            Err(error) => writeln!(text, "queue length       unknown: {error}"),
        };
    }
    let findings = report.issues.len() + log.damages.len();
    let _ = writeln!(text, "findings           {findings}");
    for finding in report.issues.iter().take(SHOWN) {
        let _ = writeln!(text, "  {} {}", finding.order_id, finding.kind);
    }
    for damage in &log.damages {
        let _ = writeln!(text, "  {damage}");
    }
    console::print(&text)?;
    if report.issues.is_empty() && !log.damages.is_empty() {
        return Err(Error::failed(format!("{findings} findings; see above")).hint(
            "readers of the event log get cursor_expired before these positions and continue after them; the orders \
             themselves are complete",
        ));
    }
    match (report.issues.len(), report.issues.iter().filter(|finding| finding.kind.is_repairable()).count()) {
        (0, _) => Ok(()),
        (found, 0) => Err(Error::failed(format!("{found} findings; see above"))
            .hint("no automatic fix: compare the order with its events in order_events")),
        (found, repairable) => Err(Error::failed(format!("{found} findings; see above"))
            .hint(format!("orders doctor --repair fixes {repairable} of them"))),
    }
}

fn describe(text: &mut String, report: &IntegrityReport) {
    let _ = writeln!(text, "orders accepted    {}", report.accepted());
    for (status, count) in &report.by_status {
        let _ = writeln!(text, "  {:<16} {count}", status.as_str());
    }
    let _ = writeln!(text, "overdue            {}", report.overdue);
    if let Some(behind) = report.clock_behind {
        let _ = writeln!(
            text,
            "clock              {:.0} s behind the newest order: the database's clock was set back",
            behind.as_secs_f64()
        );
    }
    let count = |kind: fn(&IssueKind) -> bool| report.issues.iter().filter(|it| kind(&it.kind)).count();
    let gaps = count(|problem| matches!(problem, IssueKind::Gap { .. } | IssueKind::NoOrder));
    let wrong = count(|problem| matches!(problem, IssueKind::Undeclared(_)));
    let _ = writeln!(text, "event gaps         {gaps}");
    let _ = writeln!(text, "wrong statuses     {wrong}");
    let _ = match report.oldest_claimable {
        Some(age) => writeln!(text, "oldest claimable   {:.1} s", age.as_secs_f64()),
        None => writeln!(text, "oldest claimable   none"),
    };
}

/// Runs a phase, and shows its name and how much of it is done. `work` counts this.
async fn phase<T, W: Future<Output = T>>(
    name: &str,
    total: u64,
    work: impl FnOnce(Arc<AtomicU64>) -> W,
) -> T {
    let done = Arc::new(AtomicU64::new(0));
    let state = || {
        let done = done.load(Ordering::Relaxed);
        let words = match (done, total) {
            (0, UNKNOWN) => name.to_owned(),
            (done, UNKNOWN) => format!("{name}: {done}"),
            (done, total) => format!("{name}: {done} of {total}"),
        };
        Some(State { done, total, words })
    };
    Progress::start().during(work(Arc::clone(&done)), state).await
}

/// Checks the orders. They are counted first; a count that takes too long only leaves their number unknown.
async fn inspect_orders(store: &Store) -> Result<IntegrityReport, StoreError> {
    let total = phase("counting orders", UNKNOWN, |_| store.count_all_orders()).await.unwrap_or(UNKNOWN);
    let inspect = |done: Arc<AtomicU64>| {
        store.inspect_reporting(OVERDUE_AFTER, move |checked| done.store(checked, Ordering::Relaxed))
    };
    phase("checking orders", total, inspect).await
}

async fn inspect_log(store: &Store) -> Result<EventLogReport, StoreError> {
    let LogEnds { first, next, .. } = store.event_log_ends().await?;
    let inspect = |done: Arc<AtomicU64>| {
        store.inspect_event_log(move |position| done.store(position - first, Ordering::Relaxed))
    };
    phase("reading events of the log", next - first, inspect).await
}

fn describe_log(text: &mut String, log: &EventLogReport) {
    let LogEnds { first, next, bytes } = log.ends;
    let size = bytes as f64 / 1024.0 / 1024.0;
    let _ = writeln!(text, "event log          {} events, {size:.1} MiB", next - first);
    let _ = writeln!(text, "  unnumbered       {} rows", log.unnumbered);
    let _ = writeln!(text, "  damaged          {}", log.damages.len());
}

/// Describes the endpoints that do not receive everything at present.
async fn describe_webhooks(text: &mut String, store: &Store) -> Result<(), StoreError> {
    let states = store.webhook_endpoint_states().await?;
    let count = |state| states.iter().find(|(found, _)| *found == state).map_or(0, |(_, count)| *count);
    let counts: Vec<String> =
        EndpointState::ALL.iter().map(|state| format!("{} {state}", count(*state))).collect();
    let _ = writeln!(text, "webhook endpoints  {}", counts.join(", "));
    let messages = store.webhook_message_counts(None).await?;
    let _ = writeln!(text, "  messages         {} waiting, {} failed", messages.waiting, messages.failed);
    let total = states.iter().map(|(_, count)| *count).sum();
    let behind = |done| describe_behind(store, done);
    text.push_str(&phase("checking webhook endpoints", total, behind).await?);
    Ok(())
}

/// Describes each endpoint that does not receive everything.
async fn describe_behind(store: &Store, done: Arc<AtomicU64>) -> Result<String, StoreError> {
    let mut text = String::new();
    let mut shown = 0;
    let mut after = None;
    loop {
        let page = store.webhook_endpoints(None, after, ENDPOINTS_READ).await?;
        let Some(last) = page.last() else { return Ok(text) };
        after = Some(last.id);
        for endpoint in &page {
            done.fetch_add(1, Ordering::Relaxed);
            let lag = store.event_log_lag(endpoint.position).await?;
            if shown >= SHOWN || (endpoint.state == EndpointState::Active && lag.age < BEHIND_AFTER) {
                continue;
            }
            shown += 1;
            let since = endpoint.failing_since.map(|since| format!(" since {since}")).unwrap_or_default();
            let error = endpoint.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "  {} {}{since}, {} events and {} s behind{error}",
                endpoint.id,
                endpoint.state,
                lag.events,
                lag.age.as_secs()
            );
        }
    }
}
