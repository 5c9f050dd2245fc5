//! The jobs of a stream.

use domain::{LeaseToken, OrderId, OrderMap, TenantId};
use gateway_service::claims::AssignedJob;
use proto::v1;
use tokio::time::{Duration, Instant};

/// The jobs of a stream.
#[derive(Default)]
pub(super) struct Running {
    jobs: OrderMap<Job>,
    /// The number of the latest Jobs message that the worker has received.
    received: u64,
    /// The worker or the gateway is shutting down: no further jobs are sent.
    pub(super) is_draining: bool,
    /// The stream has ended. Jobs that are sent now do not reach the worker.
    pub(super) is_closed: bool,
}

struct Job {
    token: LeaseToken,
    /// The start, if it was on this stream.
    since: Option<Instant>,
    /// The number of its Jobs message; 0 if the worker has certainly received it.
    number: u64,
    /// `None` until the order of a resumed job is read.
    attempt: Option<AttemptOf>,
    progress: LatestProgress,
}

/// The order and the attempt of a job.
#[derive(Clone)]
pub(super) struct AttemptOf {
    pub(super) tenant: TenantId,
    pub(super) number: u32,
}

/// The progress of a job.
#[derive(Default)]
struct LatestProgress {
    published_at: Option<Instant>,
    /// The latest one, if it is not published.
    waiting: Option<Box<v1::Progress>>,
}

/// The progress of a job that can be published now.
pub(super) struct DueProgress {
    pub(super) order_id: OrderId,
    pub(super) attempt: AttemptOf,
    pub(super) progress: v1::Progress,
}

impl Running {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Adds a job that is sent in the Jobs message with this number.
    pub(super) fn add(&mut self, job: &AssignedJob, number: u64) {
        let attempt = AttemptOf { tenant: job.order.tenant_id.clone(), number: job.order.attempt };
        let since = Some(Instant::now());
        let progress = LatestProgress::default();
        let added = Job { token: job.lease, since, number, attempt: Some(attempt), progress };
        self.jobs.insert(job.order.id, added);
    }

    /// Adds a job of an earlier stream.
    pub(super) fn resume(&mut self, id: OrderId, token: LeaseToken) {
        let progress = LatestProgress::default();
        self.jobs.insert(id, Job { token, since: None, number: 0, attempt: None, progress });
    }

    /// Sets the attempt of a resumed job.
    pub(super) fn identify(&mut self, id: OrderId, attempt: AttemptOf) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.attempt = Some(attempt);
        }
    }

    /// Records that the worker has received the messages up to this number.
    pub(super) fn confirm_messages(&mut self, received: u64) {
        self.received = self.received.max(received);
    }

    /// A worker that names a job has received it.
    pub(super) fn confirm<'l>(&mut self, leases: impl Iterator<Item = &'l v1::Lease>) {
        for lease in leases {
            if let Some(job) = lease.parse().ok().and_then(|(id, _)| self.jobs.get_mut(&id)) {
                job.number = 0;
            }
        }
    }

    /// Removes the jobs that the worker has not confirmed, and returns their leases.
    pub(super) fn take_unconfirmed(&mut self) -> Vec<(OrderId, LeaseToken)> {
        let received = self.received;
        let unconfirmed = self.jobs.extract_if(|_, job| job.number > received);
        unconfirmed.map(|(id, job)| (id, job.token)).collect()
    }

    /// Removes a job. Returns the time since its start, if it has started on this stream.
    pub(super) fn forget(&mut self, id: OrderId, token: LeaseToken) -> Option<Duration> {
        let is_same = self.jobs.get(&id).is_some_and(|job| job.token == token);
        let job = if is_same { self.jobs.remove(&id) } else { None };
        job?.since.map(|since| since.elapsed())
    }

    /// Removes the job of a cancelled order, and returns its lease.
    pub(super) fn cancel(&mut self, id: OrderId) -> Option<v1::Lease> {
        self.jobs.remove(&id).map(|job| v1::Lease::new(id, job.token))
    }

    pub(super) fn leases(&self) -> Vec<(OrderId, LeaseToken)> {
        self.jobs.iter().map(|(id, job)| (*id, job.token)).collect()
    }

    /// Keeps the latest progress of a job of this stream.
    pub(super) fn set_progress(&mut self, progress: v1::Progress) {
        let Some(Ok((id, token))) = progress.lease.as_ref().map(v1::Lease::parse) else { return };
        if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.token == token) {
            job.progress.waiting = Some(Box::new(progress));
        }
    }

    /// Takes the progress that can be published: one of each job in each interval. Returns whether further ones wait.
    pub(super) fn due_progress(&mut self, interval: Duration) -> (Vec<DueProgress>, bool) {
        let now = Instant::now();
        let (mut due, mut waits) = (Vec::new(), false);
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| job.progress.waiting.is_some()) {
            let is_due = job.progress.published_at.is_none_or(|at| now >= at + interval);
            match (&job.attempt, is_due) {
                (Some(attempt), true) => {
                    job.progress.published_at = Some(now);
                    due.extend(job.progress.waiting.take().map(|progress| DueProgress {
                        order_id: *id,
                        attempt: attempt.clone(),
                        progress: *progress,
                    }));
                }
                _ => waits = true,
            }
        }
        (due, waits)
    }
}
