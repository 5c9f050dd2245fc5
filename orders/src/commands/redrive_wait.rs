//! Waits until redriven orders are final, by the event log: its end is read before the redrive, so no event is missed.

use std::collections::HashSet;

use super::api::Api;
use crate::console;
use crate::error::Error;
use crate::output::{Item, Progress, words};

/// Events in one request.
const PAGE: u32 = 1_000;
/// Time for which a gateway waits for an event, in seconds: the interval of the progress without events.
const WAIT: u32 = 5;

/// The redriven orders that are not final, if the user waits for them.
pub(super) struct RedriveWait {
    /// Position in the event log; `None` without a wait.
    cursor: Option<String>,
    open: HashSet<String>,
    total: u64,
    counts: Counts,
}

/// How the orders ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    completed: u64,
    failed: u64,
    cancelled: u64,
}

impl RedriveWait {
    /// Begins before the redrive.
    pub(super) async fn begin(api: &Api, waits: bool) -> Result<Self, Error> {
        let cursor = match waits {
            true => {
                let page = api.get("/events", &[("from", "end".to_owned())]).await?;
                Some(words(&page["next"]))
            }
            false => None,
        };
        Ok(Self { cursor, open: HashSet::new(), total: 0, counts: Counts::default() })
    }

    /// Adds a redriven order.
    pub(super) fn add(&mut self, id: &str) {
        if self.cursor.is_some() && self.open.insert(id.to_owned()) {
            self.total += 1;
        }
    }

    /// Waits until every order is final. An order that failed again is a failure of the command.
    pub(super) async fn finish(mut self, api: &Api) -> Result<(), Error> {
        let Some(mut cursor) = self.cursor.take() else { return Ok(()) };
        let mut progress = Progress::start();
        while !self.open.is_empty() {
            let query = [
                ("after", cursor),
                ("types", "order.completed,order.failed,order.cancelled".to_owned()),
                ("limit", PAGE.to_string()),
                ("wait", WAIT.to_string()),
            ];
            let page = api.get("/events", &query).await?;
            self.apply(&page);
            cursor = words(&page["next"]);
            let done = self.total - self.open.len() as u64;
            progress.show(done, self.total, || self.describe());
        }
        progress.finish();
        console::explain(&format!("{}\n", self.describe()));
        match self.counts.failed {
            0 => Ok(()),
            failed => Err(Error::failed(format!("{failed} of {} orders have failed again", self.total))
                .hint("`orders dead-letters groups` shows the reasons")),
        }
    }

    /// Removes the orders that a page of events shows as final.
    fn apply(&mut self, page: &Item) {
        for event in page["events"].as_array().into_iter().flatten() {
            let data = &event["data"];
            if !data["orderId"].as_str().is_some_and(|id| self.open.remove(id)) {
                continue;
            }
            match data["status"].as_str() {
                Some("completed") => self.counts.completed += 1,
                Some("failed") => self.counts.failed += 1,
                _ => self.counts.cancelled += 1,
            }
        }
    }

    fn describe(&self) -> String {
        let Counts { completed, failed, cancelled } = self.counts;
        format!("{completed} completed, {failed} failed, {cancelled} cancelled, {} open", self.open.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_redriven_orders_count() {
        let mut wait = RedriveWait {
            cursor: Some("c".to_owned()),
            open: HashSet::new(),
            total: 0,
            counts: Counts::default(),
        };
        for id in ["a", "b", "c", "c"] {
            wait.add(id);
        }
        let event = |id: &str, status: &str| json!({"data": {"orderId": id, "status": status}});
        wait.apply(
            &json!({"events": [event("a", "completed"), event("x", "failed"), event("a", "failed")]}).into(),
        );
        wait.apply(&json!({"events": [event("b", "failed")]}).into());
        assert_eq!(wait.describe(), "1 completed, 1 failed, 0 cancelled, 1 open");
        assert_eq!(wait.total, 3);
    }
}
