//! The contract of the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use broker::QueueEnd;
use tokio::time::Instant;

use crate::adapters::{Adapter, DEADLINE, count_by_quantity, eventually, jobs, within_deadline};

const NO_WAIT: Duration = Duration::ZERO;

pub(crate) async fn jobs_are_pulled_in_push_order(Adapter { queue, .. }: Adapter) {
    // More jobs than one command takes, in several pushes.
    let all = jobs(0..1_300);
    assert_eq!(queue.push(&all[..700], QueueEnd::Back).await.unwrap(), 700);
    assert_eq!(queue.push(&all[700..], QueueEnd::Back).await.unwrap(), 1_300);
    assert_eq!(queue.len().await.unwrap(), 1_300);

    let mut pulled = Vec::new();
    while pulled.len() < all.len() {
        let more = queue.pull(100_000, DEADLINE).await.unwrap();
        assert!(!more.is_empty(), "the queue ended after {} jobs", pulled.len());
        pulled.extend(more);
    }
    assert_eq!(pulled, all);
    assert_eq!(queue.len().await.unwrap(), 0);
}

pub(crate) async fn front_jobs_are_pulled_first(Adapter { queue, .. }: Adapter) {
    let all = jobs(0..700);
    queue.push(&all[400..], QueueEnd::Back).await.unwrap();
    // More jobs than one command takes.
    assert_eq!(queue.push(&all[..400], QueueEnd::Front).await.unwrap(), 700);
    let mut pulled = Vec::new();
    while pulled.len() < all.len() {
        let more = queue.pull(100_000, DEADLINE).await.unwrap();
        assert!(!more.is_empty(), "the queue ended after {} jobs", pulled.len());
        pulled.extend(more);
    }
    assert_eq!(pulled, all);
}

pub(crate) async fn pull_returns_at_most_max_jobs(Adapter { queue, .. }: Adapter) {
    let all = jobs(0..5);
    queue.push(&all, QueueEnd::Back).await.unwrap();
    assert_eq!(queue.pull(2, NO_WAIT).await.unwrap(), all[..2]);
    assert_eq!(queue.len().await.unwrap(), 3);
    assert_eq!(queue.pull(1, DEADLINE).await.unwrap(), all[2..3]);
    // A pull does not wait for further jobs.
    assert_eq!(queue.pull(10, DEADLINE).await.unwrap(), all[3..]);
}

pub(crate) async fn pull_with_max_0_returns_immediately(Adapter { queue, .. }: Adapter) {
    queue.push(&jobs(0..1), QueueEnd::Back).await.unwrap();
    assert_eq!(queue.pull(0, Duration::MAX).await.unwrap(), []);
    assert_eq!(queue.len().await.unwrap(), 1);
}

pub(crate) async fn empty_push_changes_nothing(Adapter { queue, .. }: Adapter) {
    assert_eq!(queue.push(&[], QueueEnd::Back).await.unwrap(), 0);
    assert_eq!(queue.len().await.unwrap(), 0);
    assert_eq!(queue.pull(1, NO_WAIT).await.unwrap(), []);
}

pub(crate) async fn pull_waits_for_the_first_job(Adapter { queue, .. }: Adapter) {
    let all = jobs(0..1);
    let puller = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pull(10, Duration::MAX).await }
    });
    // The result must not depend on the order of the pull and the push.
    tokio::task::yield_now().await;
    queue.push(&all, QueueEnd::Back).await.unwrap();
    assert_eq!(within_deadline("the waiting pull", puller).await.unwrap().unwrap(), all);
}

pub(crate) async fn pull_returns_after_its_wait(Adapter { queue, .. }: Adapter) {
    // Longer than one blocking command.
    let wait = Duration::from_millis(1_200);
    let started = Instant::now();
    let pulled = within_deadline("the pull without jobs", queue.pull(10, wait)).await.unwrap();
    assert_eq!(pulled, []);
    assert!(started.elapsed() >= wait, "the pull returned after {:?}", started.elapsed());
}

pub(crate) async fn each_job_goes_to_one_puller(Adapter { queue, .. }: Adapter) {
    const JOBS: usize = 2_000;
    let pulled = Arc::new(AtomicUsize::new(0));
    let pullers: Vec<_> = (1..=8)
        .map(|max| {
            let (queue, pulled) = (queue.clone(), pulled.clone());
            tokio::spawn(async move {
                let mut mine = Vec::new();
                while pulled.load(Ordering::SeqCst) < JOBS {
                    let more = queue.pull(max, Duration::from_millis(200)).await.unwrap();
                    pulled.fetch_add(more.len(), Ordering::SeqCst);
                    mine.extend(more);
                }
                mine
            })
        })
        .collect();
    let all = jobs(0..JOBS as u64);
    for some in all.chunks(37) {
        queue.push(some, QueueEnd::Back).await.unwrap();
    }
    let mut got = Vec::new();
    for puller in pullers {
        let mine = within_deadline("all jobs", puller).await.unwrap();
        assert!(mine.is_sorted_by_key(|job| job.quantity), "a puller got jobs out of order");
        got.extend(mine);
    }
    assert_eq!(count_by_quantity(&got), count_by_quantity(&all));
}

pub(crate) async fn cancelled_pull_loses_no_jobs(Adapter { queue, .. }: Adapter) {
    let all = jobs(0..60);
    let mut got = Vec::new();
    for (n, job) in all.iter().enumerate() {
        // Each pull is polled once and then dropped, each time at a different point of its progress.
        let mut pull = queue.pull(3, Duration::MAX);
        if let Poll::Ready(jobs) = futures_util::poll!(&mut pull) {
            got.extend(jobs.unwrap());
        } else if n % 3 == 0 {
            drop(pull);
            queue.push(std::slice::from_ref(job), QueueEnd::Back).await.unwrap();
            continue;
        }
        queue.push(std::slice::from_ref(job), QueueEnd::Back).await.unwrap();
        for _ in 0..n {
            tokio::task::yield_now().await;
        }
    }
    eventually("every job is in the queue again", async || {
        got.extend(queue.pull(100, Duration::from_millis(100)).await.unwrap());
        got.len() >= all.len()
    })
    .await;
    assert_eq!(count_by_quantity(&got), count_by_quantity(&all));
    assert_eq!(queue.len().await.unwrap(), 0);
}

pub(crate) async fn each_kind_has_a_separate_queue(Adapter { queue, .. }: Adapter) {
    let all = jobs(0..3);
    let (refund, other) = (queue.of_kind(&"refund".parse().unwrap()), queue.of_kind(&"x".parse().unwrap()));
    refund.push(&all[..2], QueueEnd::Back).await.unwrap();
    queue.push(&all[2..], QueueEnd::Back).await.unwrap();
    let same = other.of_kind(&"refund".parse().unwrap());
    let lengths = (queue.len().await.unwrap(), same.len().await.unwrap(), other.len().await.unwrap());
    assert_eq!(lengths, (1, 2, 0));
    assert_eq!(other.pull(10, NO_WAIT).await.unwrap(), []);
    assert_eq!(same.pull(10, DEADLINE).await.unwrap(), all[..2]);
    assert_eq!(other.of_kind(&domain::Kind::default()).pull(10, DEADLINE).await.unwrap(), all[2..]);
}
