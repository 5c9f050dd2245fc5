//! A long backlog: 200,000 orders wait in the database, and two gateways dispatch them.

use std::collections::HashSet;
use std::time::Duration;

use domain::{Draft, OrderId};
use gateway::Config;
use gateway::store::{CreateRequest, NewOrder};

use crate::ALONE;
use crate::harness::{Backend, eventually};

const BACKLOG: usize = 200_000;
const AT_ONCE: usize = 1_000;
/// Jobs that are checked; with this visibility timeout none of them may be delivered twice.
const PULLED: usize = 40_000;
const GUARD: Duration = Duration::from_secs(3_600);
const WINDOW: u32 = 500;
/// The limit of memory growth during dispatch; the backlog itself would be several times that.
const GROWTH_BYTES: u64 = 24 * 1024 * 1024;

async fn fill(backend: &Backend) {
    let draft =
        Draft { item: Some("Laptop".into()), quantity: Some(1), price: Some("1".into()), ..Draft::default() };
    let content = draft.check(domain::Currency::USD).unwrap();
    for _ in 0..BACKLOG / AT_ONCE {
        let created_at = backend.store.now();
        let order = |id| NewOrder::new(id, domain::TenantId::default(), content.clone(), created_at);
        let orders = OrderId::new(created_at).consecutive(AT_ONCE).into_iter().map(order).collect();
        backend.store.insert([CreateRequest { orders, idempotency: None }].into()).await.unwrap();
    }
}

/// The memory that this process has, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

crate::on_both!(a_backlog_is_dispatched_once_and_costs_no_memory, |on| async move {
    let _alone = ALONE.lock().await;
    let backend = Backend::new(on).await;
    fill(&backend).await;
    let config = || {
        let mut config = Config::default();
        config.service.visibility_timeout = GUARD;
        config.service.max_queue_depth = WINDOW;
        config
    };
    let gateways = (backend.gateway(config()).await, backend.gateway(config()).await);
    let mut seen = HashSet::with_capacity(PULLED + 2 * AT_ONCE);
    let mut longest = 0;
    // From the first jobs on: the memory of two started gateways does not depend on the backlog.
    let mut before = None;
    while seen.len() < PULLED {
        longest = longest.max(backend.queue.len().await.unwrap());
        let jobs = eventually("more jobs", || async {
            let jobs = backend.queue.pull(AT_ONCE, Duration::from_millis(200)).await.ok()?;
            (!jobs.is_empty()).then_some(jobs)
        })
        .await;
        before.get_or_insert_with(memory);
        for job in jobs {
            assert!(seen.insert(job.order_id), "{} is pushed again within its guard", job.order_id);
        }
    }
    // Two gateways may read the length at the same moment, and each fills the capacity that it read.
    assert!(longest <= u64::from(2 * WINDOW), "{longest} jobs in a queue of {WINDOW}");
    let grown = memory().saturating_sub(before.expect("jobs were pulled"));
    assert!(grown < GROWTH_BYTES, "{grown} bytes more");
    gateways.0.stop().await;
    gateways.1.stop().await;
});
