//! The messages to the worker: responses first, then jobs.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::Stream;
use proto::v1::claim_response::Message as Response;
use proto::{MAX_BATCH, v1};
use tokio::sync::mpsc;
use tonic::Status;

use super::control::{Control, response};
use super::session::Session;
use gateway_service::claims::AssignedJob;

/// Size of the orders after which a Jobs message ends. It may exceed it by one order.
const JOBS_BYTES: usize = 256 * 1024;

/// The connection polls it when it can send, so jobs of a slow connection wait here.
pub(super) struct Messages {
    control: mpsc::Receiver<Control>,
    jobs: mpsc::UnboundedReceiver<Vec<AssignedJob>>,
    session: Arc<Session>,
    unsent: VecDeque<AssignedJob>,
    /// The number of the latest Jobs message.
    sent: u64,
}

impl Stream for Messages {
    type Item = Result<v1::ClaimResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(control) = self.control.poll_recv(context) {
            return Poll::Ready(control.flatten());
        }
        loop {
            if self.unsent.is_empty() {
                match self.jobs.poll_recv(context) {
                    Poll::Ready(Some(jobs)) => self.unsent.extend(jobs),
                    // No further jobs are assigned; the stream ends with the control messages.
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                }
                while self.unsent.len() < MAX_BATCH
                    && let Ok(jobs) = self.jobs.try_recv()
                {
                    self.unsent.extend(jobs);
                }
            }
            if let Some(jobs) = self.next_jobs() {
                return Poll::Ready(Some(Ok(response(Response::Jobs(jobs)))));
            }
            self.undeliver_unsent();
        }
    }
}

impl Messages {
    pub(super) fn new(
        control: mpsc::Receiver<Control>,
        jobs: mpsc::UnboundedReceiver<Vec<AssignedJob>>,
        session: Arc<Session>,
    ) -> Self {
        Self { control, jobs, session, unsent: VecDeque::new(), sent: 0 }
    }

    /// Returns jobs that were not sent to the queue.
    fn undeliver_unsent(&mut self) {
        let leases: Vec<_> = self.unsent.drain(..).map(|job| (job.order.id, job.lease)).collect();
        if !leases.is_empty() {
            self.session.spawn_undeliver(leases);
        }
    }

    /// Takes the jobs of one message, which run on this stream from now on. `None` if no further jobs are sent.
    fn next_jobs(&mut self) -> Option<v1::Jobs> {
        let session = self.session.clone();
        let mut started = session.starting()?;
        self.sent += 1;
        let number = self.sent;
        let mut bytes = 0;
        let mut jobs = Vec::new();
        while bytes < JOBS_BYTES
            && jobs.len() < MAX_BATCH
            && let Some(job) = self.unsent.pop_front()
        {
            bytes += job.order.approximate_bytes();
            bytes += job.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.as_str().len());
            started.add(&job, number);
            let AssignedJob { order, lease, trace, checkpoint } = job;
            jobs.push(v1::Attempt {
                order: Some((*order).into()),
                lease_token: lease.to_string(),
                traceparent: trace.map(|trace| trace.to_string()),
                checkpoint: checkpoint.map(|checkpoint| checkpoint.as_str().to_owned()),
            });
        }
        Some(v1::Jobs { number, jobs })
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.jobs.close();
        while let Ok(jobs) = self.jobs.try_recv() {
            self.unsent.extend(jobs);
        }
        self.undeliver_unsent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limits_page::{bytes, row};

    #[test]
    fn the_limits_are_documented() {
        row("message with jobs for a worker, and one more order", &bytes(JOBS_BYTES));
    }
}
