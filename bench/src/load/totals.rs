//! The results of a load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::target::Response;
use crate::latency::LatencyHistogram;

/// The results of a load.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Requests whose start time came.
    pub(crate) offered: u64,
    /// Number of responses during the load by their kind.
    ///
    /// The kind is the status, the code of the problem, or the failure of the connection.
    pub(crate) responses: BTreeMap<String, u64>,
    /// Responses after the load had ended.
    pub(crate) late: u64,
    /// Accepted responses (201 for most targets) during the load.
    pub(crate) accepted: u64,
    /// The same for each second.
    pub(crate) accepted_by_second: Vec<u64>,
    /// Latencies of all accepted responses, also after the load had ended.
    pub(crate) accepted_latency: LatencyHistogram,
    /// The id and the start time of each accepted order, if [`super::Target::returns_ids`].
    pub(crate) created: Vec<(String, Instant)>,
    /// Latencies of all other responses.
    pub(crate) rejected_latency: LatencyHistogram,
    /// The duration of the load.
    pub(crate) duration: Duration,
    /// Connections that were opened.
    pub(crate) connections: u64,
}

impl Totals {
    pub(super) fn new(duration: Duration) -> Self {
        Self { duration, ..Self::default() }
    }

    /// Records a response at `now` to a request that started at `start`.
    ///
    /// `began` is the start of the load.
    pub(super) fn record(&mut self, began: Instant, start: Instant, response: &Response<'_>, now: Instant) {
        let latency = now.saturating_duration_since(start);
        let since = now.saturating_duration_since(began);
        let is_late = since >= self.duration;
        if response.accepted {
            self.accepted_latency.record(latency);
            self.created.extend(response.id.map(|id| (id.to_owned(), start)));
            if !is_late {
                self.record_accepted(since.as_secs() as usize);
            }
        } else {
            self.rejected_latency.record(latency);
        }
        if is_late {
            self.late += 1;
            return;
        }
        match self.responses.get_mut(response.kind) {
            Some(count) => *count += 1,
            None => {
                self.responses.insert(response.kind.to_owned(), 1);
            }
        }
    }

    fn record_accepted(&mut self, second: usize) {
        self.accepted += 1;
        if self.accepted_by_second.len() <= second {
            self.accepted_by_second.resize(second + 1, 0);
        }
        self.accepted_by_second[second] += 1;
    }
}
