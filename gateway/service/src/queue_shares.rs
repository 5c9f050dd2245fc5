//! The tenants whose jobs are in the queue, as far as this gateway has pushed them.
//!
//! A tenant that was alone may have filled the queue before others have orders. A tenant overtakes if at least half of
//! the queue belongs to tenants with at least [`DOMINANCE`] times as many jobs. It has fewer jobs than its share then,
//! and pushes to the front only until it has a part of the queue itself. With equal tenants the queue stays first in,
//! first out.
//!
//! Only the place of a job depends on this. Jobs of other gateways are not known one by one. They count as jobs of a
//! large tenant, as soon as this gateway knows more than one tenant.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::{Job, Queue, QueueEnd};
use domain::TenantId;

/// How many times as many jobs tenants must have to be overtaken.
const DOMINANCE: u64 = 4;

/// The tenants of the last pushed jobs, as many as are in the queue. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct QueueShares(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Numbers of jobs, in the order in which they were pushed.
    pushed: VecDeque<(TenantId, u64)>,
    /// The sum for each tenant.
    jobs: HashMap<TenantId, u64>,
    total: u64,
    /// Whether jobs of more than one tenant were pushed.
    several: bool,
    last: Option<TenantId>,
}

impl QueueShares {
    /// Sets the number of jobs in the queue: older jobs than that have left it.
    pub(crate) fn observe(&self, length: u64) {
        let mut state = self.lock();
        while state.total > length {
            let excess = state.total - length;
            let Some((tenant, jobs)) = state.pushed.pop_front() else { break };
            let gone = jobs.min(excess);
            if gone < jobs {
                state.pushed.push_front((tenant.clone(), jobs - gone));
            }
            state.total -= gone;
            if let Some(left) = state.jobs.get_mut(&tenant) {
                *left -= gone;
                if *left == 0 {
                    state.jobs.remove(&tenant);
                }
            }
        }
    }

    /// Adds jobs of a tenant, before they are pushed to a queue of this length. Returns whether they overtake others.
    pub(crate) fn add(&self, tenant: &TenantId, jobs: u64, length: u64) -> bool {
        let mut state = self.lock();
        let overtakes = state.overtakes(tenant, jobs, length);
        match state.pushed.back_mut() {
            Some((last, count)) if last == tenant => *count += jobs,
            _ => state.pushed.push_back((tenant.clone(), jobs)),
        }
        *state.jobs.entry(tenant.clone()).or_default() += jobs;
        state.total += jobs;
        overtakes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn overtakes(&mut self, tenant: &TenantId, jobs: u64, length: u64) -> bool {
        self.several |= self.last.as_ref().is_some_and(|last| last != tenant);
        if !self.several {
            self.last.get_or_insert_with(|| tenant.clone());
            return false;
        }
        let own = self.jobs.get(tenant).copied().unwrap_or_default() + jobs;
        let is_large = |jobs: u64| jobs >= own.saturating_mul(DOMINANCE);
        let unknown = length.saturating_sub(self.total);
        let others = self.jobs.iter().filter(|(other, _)| *other != tenant).map(|(_, jobs)| *jobs);
        let large: u64 = others.chain([unknown]).filter(|jobs| is_large(*jobs)).sum();
        large > 0 && 2 * large >= self.total.max(length)
    }
}

/// The jobs of one push, by their place in the queue.
#[derive(Default)]
pub(crate) struct Placement {
    high: Vec<Job>,
    overtaking: Vec<Job>,
    back: Vec<Job>,
}

impl Placement {
    /// Adds jobs of high priority, for the front of the queue.
    pub(crate) fn add_high(&mut self, jobs: impl IntoIterator<Item = Job>) {
        self.high.extend(jobs);
    }

    /// Adds other jobs, behind those of high priority if they overtake, and otherwise for the back of the queue.
    pub(crate) fn add(&mut self, jobs: impl IntoIterator<Item = Job>, overtakes: bool) {
        if overtakes { &mut self.overtaking } else { &mut self.back }.extend(jobs);
    }

    /// Returns all jobs.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.high.iter().chain(&self.overtaking).chain(&self.back)
    }

    /// Returns the number of jobs.
    pub(crate) fn len(&self) -> u64 {
        self.jobs().count() as u64
    }

    /// Pushes the jobs; returns the length of the queue.
    pub(crate) async fn push(&self, queue: &dyn Queue) -> Result<u64, broker::Error> {
        let overtaking = queue.push(&self.overtaking, QueueEnd::Front).await?;
        let high = queue.push(&self.high, QueueEnd::Front).await?;
        Ok(queue.push(&self.back, QueueEnd::Back).await?.max(high).max(overtaking))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn a_tenant_with_few_jobs_overtakes_one_that_fills_the_queue() {
        let (shares, [a, b]) = (QueueShares::default(), ["a", "b"].map(tenant));
        assert!(!shares.add(&a, 600, 0) && !shares.add(&a, 400, 600), "it is alone");
        assert!(shares.add(&b, 10, 1_000));
        assert!(!shares.add(&a, 10, 1_010), "it fills the queue");
        // It overtakes until it has a part of the queue.
        assert!(shares.add(&b, 240, 1_020));
        assert!(!shares.add(&b, 10, 1_260));
        // The oldest jobs leave the queue first.
        shares.observe(270);
        assert!(!shares.add(&b, 10, 270));
        shares.observe(0);
        assert!(!shares.add(&b, 10, 0));
    }

    #[test]
    fn the_only_tenant_of_several_gateways_overtakes_nothing() {
        let (shares, a) = (QueueShares::default(), tenant("a"));
        for length in [900, 1_000, 0, 500] {
            shares.observe(length);
            assert!(!shares.add(&a, 10, length));
        }
    }

    #[test]
    fn jobs_of_other_gateways_count_as_those_of_a_large_tenant() {
        let (shares, [a, b]) = (QueueShares::default(), ["a", "b"].map(tenant));
        shares.add(&a, 10, 0);
        shares.observe(900);
        assert!(shares.add(&b, 10, 900));
    }

    #[test]
    fn equal_tenants_do_not_overtake_each_other() {
        let shares = QueueShares::default();
        let names: Vec<TenantId> = (0..100).map(|n| tenant(&format!("t{n}"))).collect();
        for (n, name) in names.iter().chain(&names).chain(&names).enumerate() {
            shares.observe(n as u64);
            assert!(!shares.add(name, 1, n as u64), "{n}");
        }
    }
}
