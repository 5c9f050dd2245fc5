//! `orders queue`: pause, resume, status.

use domain::Timestamp;
use serde_json::{Value, json};

use super::api::{Api, requested_by};
use crate::cli::{PauseArgs, QueueCommand};
use crate::console;
use crate::error::Error;
use crate::output::{Column, Item, Layout, print_object, text, words};
use crate::values::now;

/// Runs the command, and prints the state of the queue afterwards.
pub(super) async fn run(command: QueueCommand) -> Result<(), Error> {
    let (queue, format) = match &command {
        QueueCommand::Pause(PauseArgs { until, dry_run: true, queue: args, .. }) => {
            let until = until.map(|until| until.at(now()));
            if let Some(past) = until.filter(|until| *until <= now()) {
                return Err(Error::usage(format!("the pause would end at {past}, which is over"))
                    .hint("give a later time, or a duration such as --for 15m"));
            }
            let queue = Api::new(&args.api)?.get("/queue", &[]).await?;
            console::explain(&pause_in_words(until, &queue));
            (queue, &args.format)
        }
        QueueCommand::Pause(PauseArgs { until, requester, queue: args, .. }) => {
            let body =
                json!({"until": until.map(|until| until.at(now())), "requestedBy": requested_by(requester)});
            (Api::new(&args.api)?.post("/queue/pause", &body).await?, &args.format)
        }
        QueueCommand::Resume(args) => {
            (Api::new(&args.api)?.post("/queue/resume", &json!({})).await?, &args.format)
        }
        QueueCommand::Status(args) => (Api::new(&args.api)?.get("/queue", &[]).await?, &args.format),
    };
    print_object(format.format(), &LAYOUT, &queue, describe)
}

/// Describes what a pause would do. Whether the caller has the permission is not known before.
fn pause_in_words(until: Option<Timestamp>, queue: &Item) -> String {
    let until = until.map_or("until it is resumed".to_owned(), |until| format!("until {until}"));
    let already = if queue["paused"] == true { ", in place of the present pause" } else { "" };
    let limit = &queue["counts"]["limit"];
    format!(
        "the queue would be paused {until}{already}: {} ready orders would wait, and {} in processing would finish. \
         Nothing was changed\n",
        show_count(&queue["length"], limit),
        show_count(&queue["counts"]["processing"], limit)
    )
}

const LAYOUT: Layout = Layout {
    id: "paused",
    none: "",
    columns: &[
        Column::new("PAUSED", |queue| text(queue, "paused")),
        Column::new("PAUSED UNTIL", |queue| text(queue, "pausedUntil")),
        Column::new("WORKERS", |queue| text(queue, "workers")),
        Column::new("LENGTH", |queue| text(queue, "length")),
        Column::new("OLDEST S", |queue| text(queue, "oldestReadySeconds")),
        Column::new("PENDING", |queue| words(&queue["counts"]["pending"])),
        Column::new("PROCESSING", |queue| words(&queue["counts"]["processing"])),
        Column::new("COMPLETED", |queue| words(&queue["counts"]["completed"])),
        Column::new("FAILED", |queue| words(&queue["counts"]["failed"])),
        Column::new("CANCELLED", |queue| words(&queue["counts"]["cancelled"])),
    ],
};

fn describe(queue: &Item) -> String {
    let member = |name: &str| text(queue, name);
    let mut lines = Vec::new();
    if queue["paused"] == true {
        lines.push(("state", "paused: orders are accepted but not started".to_owned()));
    } else if queue["workers"] == 0 {
        lines.push(("state", "no worker is connected: orders are accepted and wait".to_owned()));
    } else {
        lines.push(("state", "running".to_owned()));
    }
    lines.push(("workers", show_count(&queue["workers"], &Value::Null)));
    let counts = &queue["counts"];
    lines.push(("in the queue", show_count(&queue["length"], &counts["limit"])));
    if let Some(seconds) = queue["oldestReadySeconds"].as_f64() {
        let age = if seconds > 0.0 { format!("waits for {seconds:.1} s") } else { "none waits".to_owned() };
        lines.push(("oldest", age));
    }
    for status in ["pending", "processing", "completed", "failed", "cancelled"] {
        if !counts.is_null() {
            lines.push((status, show_count(&counts[status], &counts["limit"])));
        }
    }
    if queue["paused"] == true {
        let until = match member("pausedUntil").as_str() {
            "" => "until it is resumed".to_owned(),
            until => format!("until {until}"),
        };
        lines.push(("paused", format!("since {}, {until}", member("pausedAt"))));
        if !member("pausedBy").is_empty() {
            lines.push(("paused by", member("pausedBy")));
        }
    }
    lines.into_iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect()
}

/// Shows a count. A count that equals the limit is a minimum.
fn show_count(count: &Value, limit: &Value) -> String {
    match count {
        Value::Null => "unknown".to_owned(),
        count if count == limit => format!("{count} or more"),
        count => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_contains_pause_and_counts() {
        let running = json!({"paused": false, "length": 3, "workers": 2});
        let old = json!({"paused": false, "workers": 2, "oldestReadySeconds": 4.25});
        assert!(describe(&old.into()).contains("oldest        waits for 4.2 s"), "of the oldest order");
        assert_eq!(describe(&running.into()), "state         running\nworkers       2\nin the queue  3\n");
        let counts = json!({"pending": 5, "processing": 0, "completed": 100_000, "failed": 0, "cancelled": 0, "limit": 100_000});
        let alone = describe(&json!({"paused": false, "length": 3, "workers": 0, "counts": counts}).into());
        assert!(alone.starts_with("state         no worker is connected"), "{alone}");
        assert!(
            alone.contains("completed     100000 or more\n") && alone.contains("pending       5\n"),
            "{alone}"
        );
        let paused =
            json!({"paused": true, "pausedAt": "A", "pausedUntil": "B", "pausedBy": "ann", "length": null});
        let shown = describe(&paused.into());
        assert!(
            shown.contains("since A, until B") && shown.contains("ann") && shown.contains("unknown"),
            "{shown}"
        );
    }
}
