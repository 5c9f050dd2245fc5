//! `orders stats`: what happened to orders, in steps of time.

use std::time::Duration;

use crate::cli::StatsArgs;
use crate::commands::api::Api;
use crate::console;
use crate::error::Error;
use crate::output::{Column, Item, Layout, print_list, text, words};
use crate::values::show_duration;

/// The columns of a step.
const BUCKETS: Layout = Layout {
    id: "at",
    none: "no gateway observed this time",
    columns: &[
        Column::new("TIME", |bucket| text(bucket, "at")),
        Column::new("ACCEPTED", |bucket| text(bucket, "accepted")),
        Column::new("STARTED", |bucket| text(bucket, "started")),
        Column::new("COMPLETED", |bucket| text(bucket, "completed")),
        Column::new("FAILED", |bucket| text(bucket, "failed")),
        Column::new("RETRIED", |bucket| text(bucket, "retried")),
        Column::new("READY", |bucket| text(bucket, "ready")),
        Column::new("WAIT P95", |bucket| seconds(bucket, "wait", "p95Seconds")),
        Column::new("HANDLING P95", |bucket| seconds(bucket, "handling", "p95Seconds")),
        Column::wide("CANCELLED", |bucket| text(bucket, "cancelled")),
        Column::wide("REDRIVEN", |bucket| text(bucket, "redriven")),
        Column::wide("WAIT P50", |bucket| seconds(bucket, "wait", "p50Seconds")),
        Column::wide("HANDLING P50", |bucket| seconds(bucket, "handling", "p50Seconds")),
        Column::wide("COMPLETION P50", |bucket| seconds(bucket, "completion", "p50Seconds")),
        Column::wide("COMPLETION P95", |bucket| seconds(bucket, "completion", "p95Seconds")),
        Column::wide("FAILED BY CLASS", |bucket| by_class(bucket, "failedByClass")),
        Column::wide("COMPLETE", |bucket| text(bucket, "complete")),
    ],
};

/// Prints the steps, and for readers the totals.
pub(crate) async fn run(args: StatsArgs) -> Result<(), Error> {
    let mut query = vec![("window", whole(args.since))];
    query.extend(args.step.map(|step| ("step", whole(step))));
    let stats = Api::new(&args.api)?.get("/stats", &query).await?;
    let format = args.format.format();
    if matches!(format, crate::output::Format::Json | crate::output::Format::JsonLines) {
        return console::print(&format!("{}\n", stats.text()));
    }
    let buckets: Vec<Item> =
        stats["buckets"].as_array().into_iter().flatten().cloned().map(Item::from).collect();
    print_list(format, &BUCKETS, &buckets)?;
    if format.is_for_readers() {
        console::print(&totals(&stats))?;
        if stats["totals"]["complete"] == false {
            console::explain("a part of this time was not observed by a gateway\n");
        }
    }
    Ok(())
}

/// Returns a duration as the API reads it.
fn whole(time: Duration) -> String {
    show_duration(Duration::from_secs(time.as_secs()))
}

fn totals(stats: &Item) -> String {
    let totals: Item = stats["totals"].clone().into();
    let names = ["accepted", "completed", "failed", "retried", "cancelled", "redriven"];
    let counts: Vec<String> = names.iter().map(|name| format!("{} {name}", text(&totals, name))).collect();
    let classes = by_class(&totals, "failedByClass");
    let classes = if classes.is_empty() { classes } else { format!("failed: {classes}\n") };
    format!("\n{}\n{classes}", counts.join(", "))
}

/// A percentile with its unit; empty without observations.
pub(super) fn seconds(bucket: &Item, name: &str, percentile: &str) -> String {
    bucket[name][percentile].as_f64().map(show_seconds).unwrap_or_default()
}

pub(super) fn show_seconds(seconds: f64) -> String {
    match seconds {
        short if short < 1.0 => format!("{:.0}ms", short * 1_000.0),
        middle if middle < 100.0 => format!("{middle:.1}s"),
        long => format!("{long:.0}s"),
    }
}

/// The classes of failures, most frequent first.
pub(super) fn by_class(bucket: &Item, name: &str) -> String {
    let classes = bucket[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = classes.iter().map(|class| format!("{} {}", words(&class["errorClass"]), class["count"]));
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_have_a_unit_and_classes_a_count() {
        assert_eq!(
            [0.0123, 0.5, 1.25, 99.0, 250.4].map(show_seconds),
            ["12ms", "500ms", "1.2s", "99.0s", "250s"]
        );
        let stats = Item::from(json!({"totals": {"accepted": 5, "completed": 3, "failed": 2, "retried": 0,
            "cancelled": 0, "redriven": 1, "wait": null,
            "failedByClass": [{"errorClass": "http_503", "count": 2}]}}));
        assert_eq!(
            totals(&stats),
            "\n5 accepted, 3 completed, 2 failed, 0 retried, 0 cancelled, 1 redriven\nfailed: http_503 2\n"
        );
        let bucket = Item::from(json!({"wait": null, "handling": {"p95Seconds": 0.25}}));
        assert_eq!(
            [seconds(&bucket, "wait", "p95Seconds"), seconds(&bucket, "handling", "p95Seconds")],
            ["", "250ms"]
        );
        assert_eq!(whole(Duration::from_secs(5_400)), "1h30m");
    }
}
