//! `orders queue`: pause, resume, status.

use serde_json::{Value, json};

use super::api::{Api, requested_by};
use crate::cli::{PauseArgs, QueueCommand};
use crate::console;
use crate::error::Error;

/// Runs the command, and prints the state of the queue afterwards.
pub(super) async fn run(command: QueueCommand) -> Result<(), Error> {
    let queue = match &command {
        QueueCommand::Pause(PauseArgs { until, requester, api }) => {
            let body = json!({"until": until, "requestedBy": requested_by(requester)});
            Api::new(api)?.post("/queue/pause", &body).await?
        }
        QueueCommand::Resume(api) => Api::new(api)?.post("/queue/resume", &json!({})).await?,
        QueueCommand::Status(api) => Api::new(api)?.get("/queue", &[]).await?,
    };
    console::print(&describe(&queue))
}

fn describe(queue: &Value) -> String {
    let text = |name: &str| queue[name].as_str().unwrap_or_default();
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
    for status in ["pending", "processing", "completed", "failed", "cancelled"] {
        if !counts.is_null() {
            lines.push((status, show_count(&counts[status], &counts["limit"])));
        }
    }
    if queue["paused"] == true {
        let until = match text("pausedUntil") {
            "" => "until it is resumed".to_owned(),
            until => format!("until {until}"),
        };
        lines.push(("paused", format!("since {}, {until}", text("pausedAt"))));
        if !text("pausedBy").is_empty() {
            lines.push(("paused by", text("pausedBy").to_owned()));
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
        assert_eq!(describe(&running), "state         running\nworkers       2\nin the queue  3\n");
        let counts = json!({"pending": 5, "processing": 0, "completed": 100_000, "failed": 0, "cancelled": 0, "limit": 100_000});
        let alone = describe(&json!({"paused": false, "length": 3, "workers": 0, "counts": counts}));
        assert!(alone.starts_with("state         no worker is connected"), "{alone}");
        assert!(
            alone.contains("completed     100000 or more\n") && alone.contains("pending       5\n"),
            "{alone}"
        );
        let paused =
            json!({"paused": true, "pausedAt": "A", "pausedUntil": "B", "pausedBy": "ann", "length": null});
        let shown = describe(&paused);
        assert!(
            shown.contains("since A, until B") && shown.contains("ann") && shown.contains("unknown"),
            "{shown}"
        );
    }
}
