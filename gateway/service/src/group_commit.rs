//! Group commit: the items of concurrent callers become one transaction.
//!
//! Callers submit groups of items. A task collects the waiting groups and flushes them as one batch when the previous write
//! has ended: at low load a batch is one group and no group waits; at high load a batch is what was submitted during the
//! previous write. One write at a time makes larger batches, and the cost of a transaction is mostly independent of its
//! size. Further writers take over while batches are small, a write is slow or a full batch waits. At rates between the two,
//! batches begin a few milliseconds apart ([`Pace`]).
//!
//! No group is taken before the database is ready. While it is unavailable, groups only wait, and a caller whose
//! deadline passes knows that nothing was done.
//!
//! A flush that panics is repeated for each of its groups separately, so that only the group that causes the panic
//! fails.
//!
//! A flush runs in its own task. A caller that disconnects therefore never interrupts a write; if its group was not
//! taken yet, the group is dropped.
//!
//! Hand-written: ultra-batch lacks a linger policy that depends on free writers, the withdrawal of a group whose caller
//! is gone, and the repetition of each group after a panic. No measurement was made.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use telemetry::panics;

use crate::batch_turns::{Pace, Writers};

/// Limits of a group commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupCommitLimits {
    /// A batch is closed once its items reach this weight; a group is never split.
    pub(crate) size: usize,
    /// Maximum number of waiting groups; further ones are rejected.
    pub(crate) backlog: usize,
    /// Maximum number of concurrent flushes.
    pub(crate) writers: usize,
    /// How long a caller waits.
    pub(crate) deadline: Duration,
}

/// The reason why a group has no results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubmitError {
    /// The backlog is full. Nothing was done.
    Overloaded,
    /// The deadline passed before the group was taken, or the task has ended. Nothing was done.
    NotStarted,
    /// The deadline passed after the group was taken.
    OutcomeUnknown,
    /// The shard of the database does not respond. Nothing was done.
    ShardUnavailable,
    /// The flush panicked, also when it was repeated for this group only.
    Panicked,
}

/// Whether a flush receives its items for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlushAttempt {
    /// The items are new.
    First,
    /// An earlier flush of these items panicked and may have carried them out.
    AfterPanic,
}

/// Passes groups of `T` to one flush function, which returns an `R` for each item.
pub(crate) struct GroupCommit<T, R> {
    sender: mpsc::Sender<Group<T, R>>,
    deadline: Duration,
}

impl<T, R> Clone for GroupCommit<T, R> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), deadline: self.deadline }
    }
}

struct Group<T, R> {
    items: Vec<T>,
    /// Whether the caller has withdrawn the group or the task has taken it.
    ///
    /// The first of the two decides.
    state: Arc<AtomicU8>,
    answer: oneshot::Sender<Vec<R>>,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl<T: Clone + Send + Sync + 'static, R: Send + 'static> GroupCommit<T, R> {
    /// Starts the collecting task on `tasks`. It ends when every clone is dropped and all submitted groups are
    /// flushed. `weigh` returns the number of rows of an item. Each flush waits for `ready`. `flush` must return
    /// exactly one `R` for each item, in order.
    pub(crate) fn start<G, Ready, F, Fut>(
        limits: GroupCommitLimits,
        tasks: &TaskTracker,
        weigh: fn(&T) -> usize,
        ready: G,
        flush: F,
    ) -> Self
    where
        G: Fn() -> Ready + Send + 'static,
        Ready: Future<Output = ()> + Send + 'static,
        F: Fn(Arc<[T]>, FlushAttempt) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(limits.backlog);
        tasks.spawn(collect(receiver, limits, tasks.clone(), weigh, ready, flush));
        Self { sender, deadline: limits.deadline }
    }

    /// Returns whether the next group would be rejected.
    pub(crate) fn is_full(&self) -> bool {
        self.sender.capacity() == 0
    }

    /// Submits a group and waits for its results.
    pub(crate) async fn submit(&self, items: Vec<T>) -> Result<Vec<R>, SubmitError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let state = Arc::new(AtomicU8::new(WAITING));
        let (answer, answered) = oneshot::channel();
        let group = Group { items, state: state.clone(), answer };
        self.sender.try_send(group).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => SubmitError::NotStarted,
        })?;
        // Also when this future is dropped: a group without a caller is not written.
        let withdraw = Withdraw(&state);
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(results)) => Ok(results),
            Ok(Err(_)) => Err(SubmitError::Panicked),
            Err(_) if withdraw.now() => Err(SubmitError::NotStarted),
            Err(_) => Err(SubmitError::OutcomeUnknown),
        }
    }
}

struct Withdraw<'a>(&'a AtomicU8);

impl Withdraw<'_> {
    /// Withdraws the group; false if it was taken before.
    fn now(&self) -> bool {
        self.0.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        self.now();
    }
}

async fn collect<T, R, G, Ready, F, Fut>(
    mut receiver: mpsc::Receiver<Group<T, R>>,
    limits: GroupCommitLimits,
    tasks: TaskTracker,
    weigh: fn(&T) -> usize,
    ready: G,
    flush: F,
) where
    T: Clone + Send + Sync + 'static,
    R: Send + 'static,
    G: Fn() -> Ready,
    Ready: Future<Output = ()>,
    F: Fn(Arc<[T]>, FlushAttempt) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Vec<R>> + Send + 'static,
{
    let mut writers = Writers::new(limits.writers);
    let mut pace = Pace::new();
    while let Some(first) = receiver.recv().await {
        let Some(writer) = writers.acquire(|| receiver.len() >= limits.size).await else { return };
        if let Some(until) = pace.next_batch(Instant::now()) {
            let waiting = receiver.len();
            sleep_until(until).await;
            pace.record_wait(receiver.len() > waiting);
        }
        ready().await;
        let mut groups = Vec::new();
        let mut weight = 0;
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(group) = next {
            let taken = group.state.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() {
                weight += group.items.iter().map(weigh).sum::<usize>();
                answers.push(group.answer);
                groups.push(group.items);
            }
            next = if weight < limits.size { receiver.try_recv().ok() } else { None };
        }
        if groups.is_empty() {
            continue;
        }
        pace.record_batch(Instant::now(), groups.len());
        writers.record_batch(weight);
        let flush = flush.clone();
        tasks.spawn(async move {
            let results = flush_groups(groups, &flush).await;
            drop(writer);
            for (results, answer) in results.into_iter().zip(answers) {
                // Without results the sender is dropped, which the caller sees. The caller may be gone.
                if let Some(results) = results {
                    let _ = answer.send(results);
                }
            }
        });
    }
}

/// Returns the results of each group; `None` for one that makes the flush panic.
async fn flush_groups<T, R, F, Fut>(groups: Vec<Vec<T>>, flush: &F) -> Vec<Option<Vec<R>>>
where
    T: Clone,
    F: Fn(Arc<[T]>, FlushAttempt) -> Fut,
    Fut: Future<Output = Vec<R>>,
{
    let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
    let items: Arc<[T]> = groups.into_iter().flatten().collect();
    let once = |items, attempt| panics::catch_async("batch", flush(items, attempt));
    if let Ok(results) = once(items.clone(), FlushAttempt::First).await {
        let mut results = results.into_iter();
        return counts.into_iter().map(|count| Some(results.by_ref().take(count).collect())).collect();
    }
    let mut all = Vec::with_capacity(counts.len());
    let mut rest = &*items;
    for count in counts {
        let (group, behind) = rest.split_at(count.min(rest.len()));
        rest = behind;
        all.push(once(group.into(), FlushAttempt::AfterPanic).await.ok());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::sync::Notify;

    use crate::batch_turns::SLOW_WRITE;

    fn limits() -> GroupCommitLimits {
        GroupCommitLimits { size: 4, backlog: 8, writers: 1, deadline: Duration::from_secs(5) }
    }

    /// Doubles numbers. Records the size of each flush, signals its begin and ends it on a signal.
    struct Doubling {
        batch: GroupCommit<u32, u32>,
        sizes: Arc<Mutex<Vec<usize>>>,
        began: Arc<Notify>,
        go: Arc<Notify>,
    }

    fn doubling(limits: GroupCommitLimits) -> Doubling {
        doubling_when(limits, || async {})
    }

    fn doubling_when<G, Ready>(limits: GroupCommitLimits, ready: G) -> Doubling
    where
        G: Fn() -> Ready + Send + 'static,
        Ready: Future<Output = ()> + Send + 'static,
    {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (log, started, gate) = (sizes.clone(), began.clone(), go.clone());
        let batch = GroupCommit::start(
            limits,
            &TaskTracker::new(),
            |_| 1,
            ready,
            move |items: Arc<[u32]>, _| {
                let (log, started, gate) = (log.clone(), started.clone(), gate.clone());
                async move {
                    log.lock().unwrap().push(items.len());
                    started.notify_one();
                    gate.notified().await;
                    items.iter().map(|n| n * 2).collect()
                }
            },
        );
        Doubling { batch, sizes, began, go }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_groups_share_a_flush() {
        let Doubling { batch, sizes, began, go } = doubling(limits());
        let submit = |items| {
            let batch = batch.clone();
            tokio::spawn(async move { batch.submit(items).await })
        };
        let first = submit(vec![1]);
        began.notified().await;
        let others = [submit(vec![2, 3]), submit(vec![4])];
        tokio::task::yield_now().await;
        go.notify_one();
        assert_eq!(first.await.unwrap(), Ok(vec![2]));
        began.notified().await;
        go.notify_one();
        let [second, third] = others;
        assert_eq!(second.await.unwrap(), Ok(vec![4, 6]));
        assert_eq!(third.await.unwrap(), Ok(vec![8]));
        assert_eq!(*sizes.lock().unwrap(), [1, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_writer_takes_over_while_batches_are_small_a_write_is_slow_or_a_batch_is_full() {
        for (items, further, waited) in [(8, 1, SLOW_WRITE), (8, 5, Duration::ZERO), (1, 1, Duration::ZERO)] {
            let Doubling { batch, sizes, began, go } = doubling(GroupCommitLimits { writers: 2, ..limits() });
            let submit = |items| {
                let batch = batch.clone();
                tokio::spawn(async move { batch.submit(vec![1; items]).await })
            };
            let first = submit(items);
            began.notified().await;
            let begun = tokio::time::Instant::now();
            let others: Vec<_> = (0..further).map(|_| submit(1)).collect();
            began.notified().await;
            assert_eq!((begun.elapsed().as_millis(), sizes.lock().unwrap().len()), (waited.as_millis(), 2));
            go.notify_one();
            first.await.unwrap().unwrap();
            for other in others {
                go.notify_one();
                assert!(other.await.unwrap().is_ok());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn group_past_its_deadline_is_not_flushed() {
        let Doubling { batch, sizes, began, go } = doubling(limits());
        let stuck = tokio::spawn({
            let batch = batch.clone();
            async move { batch.submit(vec![1]).await }
        });
        began.notified().await;
        // The collecting task holds the next group while it waits for the writer.
        assert_eq!(batch.submit(vec![2]).await, Err(SubmitError::NotStarted));
        assert_eq!(stuck.await.unwrap(), Err(SubmitError::OutcomeUnknown));
        go.notify_one();
        drop(batch.submit(vec![3]));
        let last = tokio::spawn(async move { batch.submit(vec![4]).await });
        began.notified().await;
        go.notify_one();
        assert_eq!(last.await.unwrap(), Ok(vec![8]));
        assert_eq!(*sizes.lock().unwrap(), [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn group_is_not_started_while_the_database_is_unavailable() {
        let ready = Arc::new(Notify::new());
        let wait = ready.clone();
        let Doubling { batch, sizes, began, go } = doubling_when(limits(), move || {
            let wait = wait.clone();
            async move { wait.notified().await }
        });
        assert_eq!(batch.submit(vec![1]).await, Err(SubmitError::NotStarted));
        assert_eq!(batch.submit(vec![2]).await, Err(SubmitError::NotStarted));
        let last = tokio::spawn(async move { batch.submit(vec![3]).await });
        tokio::task::yield_now().await;
        ready.notify_one();
        began.notified().await;
        go.notify_one();
        assert_eq!(last.await.unwrap(), Ok(vec![6]));
        assert_eq!(*sizes.lock().unwrap(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn full_backlog_is_refused_immediately() {
        let Doubling { batch, began, .. } = doubling(GroupCommitLimits { backlog: 1, ..limits() });
        let mut running = Vec::new();
        for n in 0..2 {
            let batch = batch.clone();
            running.push(tokio::spawn(async move { batch.submit(vec![n]).await }));
            if n == 0 {
                began.notified().await;
            }
            tokio::task::yield_now().await;
        }
        // One is being written, one is held by the collecting task, one fills the backlog.
        let third = batch.clone();
        running.push(tokio::spawn(async move { third.submit(vec![9]).await }));
        tokio::task::yield_now().await;
        assert_eq!(batch.submit(vec![10]).await, Err(SubmitError::Overloaded));
        for task in running {
            task.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn panic_fails_only_its_group() {
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let (log, began, go) = (attempts.clone(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (started, gate) = (began.clone(), go.clone());
        let flush = move |items: Arc<[u32]>, attempt| {
            let (log, started, gate) = (log.clone(), started.clone(), gate.clone());
            async move {
                log.lock().unwrap().push((items.to_vec(), attempt));
                if *items == [0] {
                    started.notify_one();
                    gate.notified().await;
                }
                assert!(!items.contains(&13), "an item that makes the flush panic");
                items.iter().map(|n| n * 2).collect()
            }
        };
        let limits = GroupCommitLimits { size: 8, ..limits() };
        let batch = GroupCommit::start(limits, &TaskTracker::new(), |_| 1, || async {}, flush);
        let submit = |items| {
            let batch = batch.clone();
            tokio::spawn(async move { batch.submit(items).await })
        };
        let first = submit(vec![0]);
        began.notified().await;
        // These are taken together, while the first one is being written.
        let others = [submit(vec![1, 2]), submit(vec![13, 3]), submit(vec![4])];
        tokio::task::yield_now().await;
        go.notify_one();
        assert_eq!(first.await.unwrap(), Ok(vec![0]));
        let [second, third, fourth] = others;
        assert_eq!(second.await.unwrap(), Ok(vec![2, 4]));
        assert_eq!(third.await.unwrap(), Err(SubmitError::Panicked));
        assert_eq!(fourth.await.unwrap(), Ok(vec![8]));
        let expected = [
            (vec![0], FlushAttempt::First),
            (vec![1, 2, 13, 3, 4], FlushAttempt::First),
            (vec![1, 2], FlushAttempt::AfterPanic),
            (vec![13, 3], FlushAttempt::AfterPanic),
            (vec![4], FlushAttempt::AfterPanic),
        ];
        assert_eq!(*attempts.lock().unwrap(), expected);
        assert_eq!(batch.submit(vec![5]).await, Ok(vec![10]), "later groups are flushed");
    }
}
