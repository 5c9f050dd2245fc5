//! One lease of the reader: its commits and renewals.
//!
//! Every commit has the complete state: the cursor after the last applied event, and the mark. Commits are sent one after
//! the other. So the gateway never has an older state than the one that was sent before, also after a commit whose future
//! was dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::v1;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::calls::{Calls, Commit, Refusal};

/// The lease is renewed after this fraction of it.
const RENEWAL: u32 = 3;
/// The lease is lost; another process may continue.
#[derive(Debug)]
pub(crate) struct Lost;

/// One lease.
pub(crate) struct Session {
    calls: Arc<Calls>,
    pub(crate) holder: String,
    lease: Duration,
    state: Mutex<State>,
    /// Held while a commit is sent.
    committing: tokio::sync::Mutex<()>,
}

struct State {
    /// The end of the lease by the clock of this process: it begins with the request, so it is earlier than the gateway's.
    until: Instant,
    /// The cursor after the last applied event.
    cursor: String,
    /// The cursor of the last commit.
    committed: String,
    committed_at: Instant,
    /// The id of the event whose effect has begun.
    mark: String,
}

impl Session {
    pub(crate) fn new(
        calls: Arc<Calls>,
        holder: String,
        lease: Duration,
        page: &v1::ReadEventsResponse,
        sent_at: Instant,
    ) -> Self {
        let state = State {
            until: sent_at + lease,
            cursor: page.committed.clone(),
            committed: page.committed.clone(),
            committed_at: Instant::now(),
            mark: page.metadata.clone(),
        };
        Self { calls, holder, lease, state: Mutex::new(state), committing: tokio::sync::Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mark(&self) -> String {
        self.state().mark.clone()
    }

    pub(crate) fn applied(&self, cursor: String) {
        self.state().cursor = cursor;
    }

    pub(crate) fn renewed(&self, sent_at: Instant) {
        let mut state = self.state();
        state.until = state.until.max(sent_at + self.lease);
    }

    pub(crate) fn is_commit_due(&self, interval: Duration) -> bool {
        let state = self.state();
        state.cursor != state.committed && state.committed_at.elapsed() >= interval
    }

    /// Commits the cursor and a mark, the present one if `None`.
    pub(crate) async fn commit(&self, mark: Option<String>, release: bool) -> Result<(), Lost> {
        let _committing = self.committing.lock().await;
        let (cursor, metadata, until) = {
            let state = self.state();
            (state.cursor.clone(), mark.unwrap_or_else(|| state.mark.clone()), state.until)
        };
        let commit = Commit { cursor: cursor.clone(), metadata: metadata.clone(), release };
        let committed = timeout_at(until, self.calls.commit(&self.holder, commit)).await;
        match committed {
            Ok(Ok(sent_at)) => {
                self.renewed(sent_at);
                let mut state = self.state();
                (state.committed, state.committed_at, state.mark) = (cursor, Instant::now(), metadata);
                Ok(())
            }
            Ok(Err(Refusal::Stale | Refusal::Leased(_))) | Err(_) => Err(Lost),
            Ok(Err(refusal)) => {
                tracing::error!(?refusal, "the gateway refuses a commit");
                Err(Lost)
            }
        }
    }

    /// Renews the lease until it is lost.
    pub(crate) async fn keep(&self) {
        loop {
            let until = self.state().until;
            sleep_until(until - self.lease + self.lease / RENEWAL).await;
            if self.state().until > until {
                continue;
            }
            if self.commit(None, false).await.is_err() && self.state().until <= until {
                return;
            }
        }
    }
}
