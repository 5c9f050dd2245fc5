//! The requests of the worker to a gateway, and the events that the worker gets from the client.

use std::time::Duration;

use domain::{LeaseToken, OrderId, Outcome};
use proto::v1::{self, WorkerMessage, worker_message};

/// One attempt of one order, as the gateway identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LeaseKey {
    pub(crate) order_id: OrderId,
    pub(crate) token: LeaseToken,
}

impl LeaseKey {
    /// Parses a lease. `None` if this worker cannot have drawn it.
    pub(crate) fn parse(lease: &v1::Lease) -> Option<Self> {
        let (order_id, token) = lease.parse().ok()?;
        Some(Self { order_id, token })
    }

    pub(crate) fn of_attempt(attempt: &v1::Attempt) -> Option<Self> {
        let order_id = attempt.order.as_ref()?.order_id.clone();
        Self::parse(&v1::Lease { order_id, lease_token: attempt.lease_token.clone() })
    }

    fn to_message(self) -> v1::Lease {
        v1::Lease::new(self.order_id, self.token)
    }
}

/// A request of the worker, with at most [`proto::MAX_BATCH`] entries.
#[derive(Debug)]
pub(crate) enum Request {
    Start(Vec<LeaseKey>),
    Heartbeats(Vec<LeaseKey>),
    Finish(Vec<(LeaseKey, Outcome)>),
}

/// An event for the worker.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream was opened, for the first time or as a replacement.
    Connected { heartbeat_interval: Duration },
    /// The stream was lost. Requests without a response are kept.
    Disconnected,
    /// The response, or a part of it, to a Start of these leases.
    ///
    /// Leases without an entry in `attempts` were refused. The first part has the response time.
    Started { leases: Vec<LeaseKey>, attempts: Vec<v1::Attempt>, more: bool, response_time: Option<Duration> },
    /// The response, or a part of it, to a Finish of this number of reports; all that were not refused are recorded.
    Finished { reports: usize, refused: Vec<v1::Refused>, more: bool },
    /// Lost leases: their heartbeats were refused, or their orders were cancelled.
    LeasesLost(Vec<v1::Lease>),
}

impl Request {
    pub(crate) fn to_message(&self, request_id: u64) -> WorkerMessage {
        use worker_message::Message;
        let messages = |leases: &[LeaseKey]| leases.iter().map(|lease| lease.to_message()).collect();
        let message = match self {
            Self::Start(leases) => Message::Start(v1::Start { leases: messages(leases) }),
            Self::Heartbeats(leases) => Message::Heartbeats(v1::Heartbeats { leases: messages(leases) }),
            Self::Finish(reports) => {
                let report = |(lease, outcome): &(LeaseKey, Outcome)| {
                    v1::Report::new(lease.order_id, lease.token, outcome.clone())
                };
                Message::Finish(v1::Finish { reports: reports.iter().map(report).collect() })
            }
        };
        WorkerMessage { request_id, message: Some(message) }
    }
}
