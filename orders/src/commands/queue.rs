//! `orders queue`: pause, resume, status.

use serde_json::{Value, json};

use super::api::{Api, requested_by};
use crate::cli::{PauseArgs, QueueCommand};
use crate::console;
use crate::error::Error;

/// Does it, and prints how the queue is then.
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
    let length = match &queue["length"] {
        Value::Null => "unknown: the queue cannot be reached".to_owned(),
        length => length.to_string(),
    };
    let mut lines = vec![("in the queue", length)];
    if queue["paused"] == true {
        let until = match text("pausedUntil") {
            "" => "until it is resumed".to_owned(),
            until => format!("until {until}"),
        };
        lines.insert(0, ("state", "paused: orders are accepted, none is started".to_owned()));
        lines.push(("paused", format!("since {}, {until}", text("pausedAt"))));
        if !text("pausedBy").is_empty() {
            lines.push(("paused by", text("pausedBy").to_owned()));
        }
    } else {
        lines.insert(0, ("state", "running".to_owned()));
    }
    lines.into_iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_described() {
        let running = json!({"paused": false, "length": 3});
        assert_eq!(describe(&running), "state         running\nin the queue  3\n");
        let paused =
            json!({"paused": true, "pausedAt": "A", "pausedUntil": "B", "pausedBy": "ann", "length": null});
        let shown = describe(&paused);
        assert!(
            shown.contains("since A, until B") && shown.contains("ann") && shown.contains("unknown"),
            "{shown}"
        );
    }
}
