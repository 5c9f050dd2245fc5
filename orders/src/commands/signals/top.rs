//! `orders top`: one screen with rates, depth, workers and error classes, redrawn each second.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use domain::Timestamp;

use super::stats::{by_class, seconds, show_seconds};
use super::workers::{WORKERS, workers};
use crate::cli::TopArgs;
use crate::commands::api::Api;
use crate::console;
use crate::error::Error;
use crate::output::{Format, Item, render_table, words};
use crate::values::now;

/// Interval between two frames.
const INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of workers on the screen.
const SHOWN_WORKERS: usize = 15;
/// Time over which rates are shown, in seconds.
const WINDOW_SECONDS: f64 = 60.0;

/// What a frame shows.
struct Frame {
    queue: Item,
    stats: Item,
    workers: Item,
    /// The pending order that was created first.
    oldest: Option<Item>,
}

/// Prints frames until Ctrl-C, or one frame.
pub(crate) async fn run(args: TopArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    if args.once || !std::io::stdout().is_terminal() {
        let frame = read(&api).await?;
        return console::print(&show(&frame, now()));
    }
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut has_frame = false;
    loop {
        ticks.tick().await;
        let screen = match read(&api).await {
            Ok(frame) => show(&frame, now()),
            // The gateway may be back in a second.
            Err(error) if has_frame && error.is_unavailable() => format!("{error}\n"),
            Err(error) => return Err(error),
        };
        has_frame = true;
        // From the top, each line without the rest of the previous frame, then nothing below.
        let lines: String = screen.lines().map(|line| format!("{line}\u{1b}[K\n")).collect();
        console::print(&format!("\u{1b}[H{lines}\u{1b}[J"))?;
    }
}

async fn read(api: &Api) -> Result<Frame, Error> {
    let stats = [("window", "1m".to_owned()), ("step", "10s".to_owned())];
    let oldest =
        [("status", "pending".to_owned()), ("sort", "createdAt".to_owned()), ("limit", "1".to_owned())];
    let (queue, stats, workers, oldest) = tokio::try_join!(
        api.get("/queue", &[]),
        api.get("/stats", &stats),
        api.get("/workers", &[]),
        api.get_page("/orders", &oldest),
    )?;
    Ok(Frame { queue, stats, workers, oldest: oldest.0.into_iter().next() })
}

fn show(frame: &Frame, now: Timestamp) -> String {
    let Frame { queue, stats, workers: page, oldest } = frame;
    let totals: Item = stats["totals"].clone().into();
    let rate = |name: &str| totals[name].as_f64().unwrap_or_default() / WINDOW_SECONDS;
    let mut screen = String::new();
    let state = if queue["paused"] == true { "paused" } else { "running" };
    let _ = writeln!(screen, "orders  {now}  {state}  {} workers\n", words(&queue["workers"]));
    let names = ["accepted", "started", "completed", "failed", "retried"];
    let rates: Vec<String> = names.iter().map(|name| format!("{name} {:.1}/s", rate(name))).collect();
    let _ = writeln!(screen, "last minute   {}", rates.join("   "));
    let counts = &queue["counts"];
    let depth: Vec<String> = ["pending", "processing", "failed"]
        .iter()
        .filter(|name| !counts[**name].is_null())
        .map(|name| format!("{name} {}", counts[*name]))
        .collect();
    let _ =
        writeln!(screen, "now           {}   in the queue {}", depth.join("   "), words(&queue["length"]));
    let age = oldest.as_ref().and_then(|order| order["createdAt"].as_str()?.parse::<Timestamp>().ok()).map(
        |created| {
            let micros = now.as_micros().saturating_sub(created.as_micros()).max(0);
            show_seconds(micros as f64 / 1_000_000.0)
        },
    );
    let _ = writeln!(screen, "oldest        {}", age.unwrap_or_else(|| "no order is pending".to_owned()));
    for (name, head) in [("wait", "wait"), ("handling", "handling")] {
        let shown = match seconds(&totals, name, "p50Seconds") {
            none if none.is_empty() => "-".to_owned(),
            p50 => format!(
                "p50 {p50}   p95 {}   p99 {}",
                seconds(&totals, name, "p95Seconds"),
                seconds(&totals, name, "p99Seconds")
            ),
        };
        let _ = writeln!(screen, "{head:<14}{shown}");
    }
    for (name, head) in [("failedByClass", "failed"), ("retriedByClass", "retried")] {
        let classes = by_class(&totals, name);
        let _ = writeln!(screen, "{head:<14}{}", if classes.is_empty() { "-" } else { &classes });
    }
    let mut shown = workers(page);
    shown.truncate(SHOWN_WORKERS);
    let _ = writeln!(screen);
    if shown.is_empty() {
        let _ = writeln!(screen, "{}", WORKERS.none);
    } else {
        screen.push_str(&render_table(Format::Table, &WORKERS, &shown));
    }
    screen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_frame_shows_rates_depth_age_and_workers() {
        let now: Timestamp = "2026-01-31T12:00:10Z".parse().unwrap();
        let frame = Frame {
            queue: json!({"paused": false, "workers": 2, "length": 7, "counts": {"pending": 9, "processing": 3, "failed": 1}}).into(),
            stats: json!({"totals": {"accepted": 600, "started": 0, "completed": 60, "failed": 6, "retried": 0,
                "wait": {"p50Seconds": 0.1, "p95Seconds": 0.2, "p99Seconds": 0.3}, "handling": null,
                "failedByClass": [{"errorClass": "http_503", "count": 6}], "retriedByClass": []}}).into(),
            workers: json!({"workers": [{"name": "packer-2", "state": "connected", "inFlight": 3}]}).into(),
            oldest: Some(json!({"createdAt": "2026-01-31T12:00:00Z"}).into()),
        };
        let shown = show(&frame, now);
        for part in [
            "running  2 workers\n",
            "accepted 10.0/s   started 0.0/s   completed 1.0/s   failed 0.1/s",
            "pending 9   processing 3   failed 1   in the queue 7\n",
            "oldest        10.0s\n",
            "wait          p50 100ms   p95 200ms   p99 300ms\n",
            "handling      -\n",
            "failed        http_503 6\n",
            "packer-2  connected",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
