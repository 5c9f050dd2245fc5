//! `orders doctor`: checks the integrity of the database.
//!
//! It reads every order with its events, and checks the invariants. On MySQL it can run beside gateways. An SQLite file
//! belongs to one process, so `orders dev` must be stopped first.

use std::fmt::Write as _;
use std::time::Duration;

use broker::Queue as _;
use gateway::store::{IntegrityReport, IssueKind};

use crate::cli::DoctorArgs;
use crate::error::Error;
use crate::{console, log, startup};

/// An order that is due for longer is overdue: dispatch runs several times per second.
const OVERDUE_AFTER: Duration = Duration::from_secs(60);
/// Maximum number of findings that are printed.
const SHOWN: usize = 100;

/// Prints counts and findings; fails if there are findings.
pub(super) async fn run(args: DoctorArgs) -> Result<(), Error> {
    let redis = args.redis.client()?;
    log::install(args.log.log_format)?;
    let store = startup::open_existing_database(&args.database).await?;
    let failed = |error: gateway::store::Error| Error::failed(error.to_string());
    let mut report = store.inspect(OVERDUE_AFTER).await.map_err(failed)?;
    let mut text = String::new();
    if args.repair && report.issues.iter().any(|finding| finding.kind.is_repairable()) {
        let repaired = store.repair().await.map_err(failed)?;
        let _ = writeln!(text, "repaired: {repaired} orders had the wrong due time\n");
        report = store.inspect(OVERDUE_AFTER).await.map_err(failed)?;
    }
    let paused = store.paused().await.map_err(failed)?;
    store.close().await;

    describe(&mut text, &report);
    if let Some(pause) = paused {
        let until = pause.until.map_or("until it is resumed".to_owned(), |until| format!("until {until}"));
        let _ = writeln!(text, "queue              paused {until}");
    }
    if let Some(redis) = redis {
        let _ = match redis.queue().len().await {
            Ok(length) => writeln!(text, "queue length       {length}"),
            Err(error) => writeln!(text, "queue length       unknown: {error}"),
        };
    }
    let _ = writeln!(text, "findings           {}", report.issues.len());
    for finding in report.issues.iter().take(SHOWN) {
        let _ = writeln!(text, "  {} {}", finding.order_id, finding.kind);
    }
    console::print(&text)?;
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
