//! Finds the primary among several hosts.
//!
//! With several hosts in its URL a store is connected to one of them at a time. When that one is lost or read-only, a task
//! examines all of them, and leads the pools to the first one that accepts changes. It never leaves a primary for another
//! one, and never leads to a replica, whose reads would be stale.
//!
//! A connection to a read-only server is admitted only while a search has just found that no host is the primary: reads
//! then continue on a former primary, which nothing has replaced yet.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use super::hosts::{Hosts, Role, describe, examine, primary};
use super::{Error, Inner, Outage, Shard};

/// Pause after a search that has found the primary.
const FOUND_PAUSE: Duration = Duration::from_millis(500);
/// Pause after one that has not, which is doubled up to the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Searches whenever a host is suspected, until the store is dropped or closed.
async fn follow(store: Weak<Inner>, hosts: Arc<Hosts>) {
    let mut pause = FIRST_PAUSE;
    loop {
        hosts.wanted.notified().await;
        let Some(inner) = store.upgrade() else { return };
        let found = Shard { inner }.search_for_primary(&hosts).await;
        hosts.searches.send_modify(|count| *count += 1);
        if found {
            pause = FIRST_PAUSE;
            tokio::time::sleep(FOUND_PAUSE).await;
        } else {
            hosts.wanted.notify_one();
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

impl Shard {
    /// Leads the pools to the primary. Returns whether there is one.
    async fn search_for_primary(&self, hosts: &Hosts) -> bool {
        let (list, current) = {
            let state = hosts.lock();
            (state.hosts.clone(), state.current)
        };
        let installation = self.inner.installation.get().map(|installation| installation.id);
        let found = examine(&list, installation).await;
        let next = primary(&found, current);
        let mut state = hosts.lock();
        if !Arc::ptr_eq(&state.hosts, &list) {
            // The URL was replaced meanwhile.
            return false;
        }
        state.admits_replica = next.is_none() && matches!(found.get(current), Some(Ok(Role::Replica)));
        let Some(next) = next else {
            if let Some(more) = hosts.log.allow() {
                let hosts = describe(&list, &found);
                tracing::warn!(hosts, more, "no host of the database URL is the primary");
            }
            return false;
        };
        if next != current {
            state.current = next;
            self.lead_to(&list[next].options);
            let hosts = describe(&list, &found);
            tracing::warn!(host = list[next].shown, hosts, "another host of the database URL is the primary");
        }
        true
    }

    /// Starts a search if the error shows that the host is lost or read-only.
    pub(super) fn suspect_host<T>(&self, result: &Result<T, Error>) {
        let is_lost = matches!(
            result,
            Err(Error::Unavailable(Outage::Away(_) | Outage::ReadOnly(_) | Outage::Denied(_))
                | Error::TimedOut
                | Error::CommitUnknown)
        );
        if is_lost && let Some(hosts) = &self.inner.hosts {
            hosts.suspect();
        }
    }

    /// Starts the task that searches, which ends with the store.
    pub(super) fn start_search(&self, hosts: Arc<Hosts>) {
        let store = Arc::downgrade(&self.inner);
        self.inner.search.lock().unwrap_or_else(PoisonError::into_inner).spawn(follow(store, hosts));
    }

    /// Ends the search.
    pub(super) fn end_search(&self) {
        self.inner.search.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
