//! Group commit: many callers, one transaction.
//!
//! Callers hand in groups of items; a task gathers whatever waits and flushes it as one batch, as
//! soon as a writer is free. There is no timer: at low load a batch is one group and nobody waits,
//! at high load a batch is what came in while the last one was being written.
//!
//! Nothing is taken before the other side is ready: while the database is away groups only wait, and
//! a caller whose deadline passes knows that nothing was done.
//!
//! A flush that panics is repeated for each of its groups alone, so that only the group that causes the
//! panic fails.
//!
//! A flush runs in its own task. A caller that goes away (a client that hangs up) therefore never
//! cuts a write in half; if its group was not taken yet, it is left out.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use telemetry::panics;

/// Limits of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A batch is closed once its items weigh so much; a group is never split.
    pub(crate) size: usize,
    /// Groups that wait before new ones are refused.
    pub(crate) backlog: usize,
    /// Flushes that run side by side.
    pub(crate) writers: usize,
    /// How long a caller waits.
    pub(crate) deadline: Duration,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Too many groups wait. Nothing was done.
    Overloaded,
    /// The deadline passed before the group was taken, or the batch is closed. Nothing was done.
    NotDone,
    /// The deadline passed after the group was taken.
    Unknown,
    /// The flush panicked, also when it was repeated for this group alone.
    Panicked,
}

/// Whether a flush has seen its items before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It has not.
    First,
    /// It has, panicked, and may have carried them out.
    AfterPanic,
}

/// Hands groups of `T` to one flush function, which answers an `R` for each item.
pub(crate) struct Batch<T, R> {
    sender: mpsc::Sender<Request<T, R>>,
    deadline: Duration,
}

impl<T, R> Clone for Batch<T, R> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), deadline: self.deadline }
    }
}

struct Request<T, R> {
    items: Vec<T>,
    /// Whether the caller has given up or the group was taken; whoever is first decides.
    state: Arc<AtomicU8>,
    answer: oneshot::Sender<Vec<R>>,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl<T: Clone + Send + Sync + 'static, R: Send + 'static> Batch<T, R> {
    /// Starts the gathering task on `tasks`. It ends when every clone of the batch is dropped and
    /// what was handed in is flushed. `weigh` says how many rows an item is. `ready` is waited for
    /// before each flush. `flush` must answer exactly one `R` for each item, in order; it is told whether
    /// it has seen the items before and panicked, and may have carried them out.
    pub(crate) fn start<G, Ready, F, Fut>(
        limits: Limits,
        tasks: &TaskTracker,
        weigh: fn(&T) -> usize,
        ready: G,
        flush: F,
    ) -> Self
    where
        G: Fn() -> Ready + Send + 'static,
        Ready: Future<Output = ()> + Send + 'static,
        F: Fn(Arc<[T]>, Attempt) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Vec<R>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(limits.backlog);
        tasks.spawn(gather(receiver, limits, tasks.clone(), weigh, ready, flush));
        Self { sender, deadline: limits.deadline }
    }

    /// Whether the next group would be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.sender.capacity() == 0
    }

    /// Hands in a group and waits for its answers.
    pub(crate) async fn submit(&self, items: Vec<T>) -> Result<Vec<R>, Failure> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let state = Arc::new(AtomicU8::new(WAITING));
        let (answer, answered) = oneshot::channel();
        let request = Request { items, state: state.clone(), answer };
        self.sender.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Failure::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Failure::NotDone,
        })?;
        // Also when this future is dropped: a group that nobody waits for is not worth a write.
        let withdraw = Withdraw(&state);
        match tokio::time::timeout(self.deadline, answered).await {
            Ok(Ok(results)) => Ok(results),
            Ok(Err(_)) => Err(Failure::Panicked),
            Err(_) if withdraw.now() => Err(Failure::NotDone),
            Err(_) => Err(Failure::Unknown),
        }
    }
}

struct Withdraw<'a>(&'a AtomicU8);

impl Withdraw<'_> {
    /// Whether the group was still waiting, and now never will be taken.
    fn now(&self) -> bool {
        self.0.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        self.now();
    }
}

async fn gather<T, R, G, Ready, F, Fut>(
    mut receiver: mpsc::Receiver<Request<T, R>>,
    limits: Limits,
    tasks: TaskTracker,
    weigh: fn(&T) -> usize,
    ready: G,
    flush: F,
) where
    T: Clone + Send + Sync + 'static,
    R: Send + 'static,
    G: Fn() -> Ready,
    Ready: Future<Output = ()>,
    F: Fn(Arc<[T]>, Attempt) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Vec<R>> + Send + 'static,
{
    let writers = Arc::new(Semaphore::new(limits.writers));
    while let Some(first) = receiver.recv().await {
        let Ok(writer) = writers.clone().acquire_owned().await else { return };
        ready().await;
        let mut groups = Vec::new();
        let mut weight = 0;
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            let taken = request.state.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() {
                weight += request.items.iter().map(weigh).sum::<usize>();
                answers.push(request.answer);
                groups.push(request.items);
            }
            next = if weight < limits.size { receiver.try_recv().ok() } else { None };
        }
        if groups.is_empty() {
            continue;
        }
        let flush = flush.clone();
        tasks.spawn(async move {
            let results = flush_groups(groups, &flush).await;
            drop(writer);
            for (results, answer) in results.into_iter().zip(answers) {
                // Without results the sender is dropped, which says so. A caller that is gone does not want
                // its answer.
                if let Some(results) = results {
                    let _ = answer.send(results);
                }
            }
        });
    }
}

/// The results of each group; `None` for one that makes the flush panic.
async fn flush_groups<T, R, F, Fut>(groups: Vec<Vec<T>>, flush: &F) -> Vec<Option<Vec<R>>>
where
    T: Clone,
    F: Fn(Arc<[T]>, Attempt) -> Fut,
    Fut: Future<Output = Vec<R>>,
{
    let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
    let items: Arc<[T]> = groups.into_iter().flatten().collect();
    let once = |items, attempt| panics::catch_async("batch", flush(items, attempt));
    if let Ok(results) = once(items.clone(), Attempt::First).await {
        let mut results = results.into_iter();
        return counts.into_iter().map(|count| Some(results.by_ref().take(count).collect())).collect();
    }
    let mut all = Vec::with_capacity(counts.len());
    let mut rest = &*items;
    for count in counts {
        let (group, behind) = rest.split_at(count.min(rest.len()));
        rest = behind;
        all.push(once(group.into(), Attempt::AfterPanic).await.ok());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::sync::Notify;

    fn limits() -> Limits {
        Limits { size: 4, backlog: 8, writers: 1, deadline: Duration::from_secs(5) }
    }

    /// A batch that doubles numbers. It writes down the sizes of its flushes, says when one begins and
    /// lets it end only when told to.
    struct Doubling {
        batch: Batch<u32, u32>,
        sizes: Arc<Mutex<Vec<usize>>>,
        began: Arc<Notify>,
        go: Arc<Notify>,
    }

    fn doubling(limits: Limits) -> Doubling {
        doubling_when(limits, || async {})
    }

    fn doubling_when<G, Ready>(limits: Limits, ready: G) -> Doubling
    where
        G: Fn() -> Ready + Send + 'static,
        Ready: Future<Output = ()> + Send + 'static,
    {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (log, started, gate) = (sizes.clone(), began.clone(), go.clone());
        let batch = Batch::start(
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
    async fn what_waits_is_flushed_together_and_answered_separately() {
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
    async fn a_group_that_was_not_taken_in_time_is_never_done() {
        let Doubling { batch, sizes, began, go } = doubling(limits());
        let stuck = tokio::spawn({
            let batch = batch.clone();
            async move { batch.submit(vec![1]).await }
        });
        began.notified().await;
        // The gathering task holds the next request while it waits for the writer.
        assert_eq!(batch.submit(vec![2]).await, Err(Failure::NotDone));
        assert_eq!(stuck.await.unwrap(), Err(Failure::Unknown));
        go.notify_one();
        drop(batch.submit(vec![3]));
        let last = tokio::spawn(async move { batch.submit(vec![4]).await });
        began.notified().await;
        go.notify_one();
        assert_eq!(last.await.unwrap(), Ok(vec![8]));
        assert_eq!(*sizes.lock().unwrap(), [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_readiness_is_not_done_and_the_outcome_is_known() {
        let ready = Arc::new(Notify::new());
        let wait = ready.clone();
        let Doubling { batch, sizes, began, go } = doubling_when(limits(), move || {
            let wait = wait.clone();
            async move { wait.notified().await }
        });
        assert_eq!(batch.submit(vec![1]).await, Err(Failure::NotDone));
        assert_eq!(batch.submit(vec![2]).await, Err(Failure::NotDone));
        let last = tokio::spawn(async move { batch.submit(vec![3]).await });
        tokio::task::yield_now().await;
        ready.notify_one();
        began.notified().await;
        go.notify_one();
        assert_eq!(last.await.unwrap(), Ok(vec![6]));
        assert_eq!(*sizes.lock().unwrap(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_backlog_is_refused_at_once() {
        let Doubling { batch, began, .. } = doubling(Limits { backlog: 1, ..limits() });
        let mut running = Vec::new();
        for n in 0..2 {
            let batch = batch.clone();
            running.push(tokio::spawn(async move { batch.submit(vec![n]).await }));
            if n == 0 {
                began.notified().await;
            }
            tokio::task::yield_now().await;
        }
        // One is being written, one is held by the gathering task, one fills the backlog.
        let third = batch.clone();
        running.push(tokio::spawn(async move { third.submit(vec![9]).await }));
        tokio::task::yield_now().await;
        assert_eq!(batch.submit(vec![10]).await, Err(Failure::Overloaded));
        for task in running {
            task.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_concerns_only_the_group_that_causes_it() {
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
        let limits = Limits { size: 8, ..limits() };
        let batch = Batch::start(limits, &TaskTracker::new(), |_| 1, || async {}, flush);
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
        assert_eq!(third.await.unwrap(), Err(Failure::Panicked));
        assert_eq!(fourth.await.unwrap(), Ok(vec![8]));
        let expected = [
            (vec![0], Attempt::First),
            (vec![1, 2, 13, 3, 4], Attempt::First),
            (vec![1, 2], Attempt::AfterPanic),
            (vec![13, 3], Attempt::AfterPanic),
            (vec![4], Attempt::AfterPanic),
        ];
        assert_eq!(*attempts.lock().unwrap(), expected);
        assert_eq!(batch.submit(vec![5]).await, Ok(vec![10]), "the batch goes on");
    }
}
