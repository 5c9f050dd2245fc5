//! Fair share: tenants with due orders share the capacity of the queue.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use broker::Job;
use domain::{Draft, OrderId, Priority, TenantId};
use gateway::Config;
use gateway::store::{DueTenants, FairClaim, NewOrder};
use sqlx::{Connection, MySqlConnection};

use crate::harness::{Backend, On, eventually};
use crate::on_both;
use crate::schema::reads;

const GUARD: Duration = Duration::from_secs(600);

async fn insert_with(backend: &Backend, tenant: &str, count: usize, draft: Draft) -> HashSet<OrderId> {
    let now = backend.store.now();
    let draft = Draft { item: Some("Laptop".into()), quantity: Some(1), price: Some("1.00".into()), ..draft };
    let content = draft.check(domain::Currency::USD).unwrap();
    let tenant: TenantId = tenant.parse().unwrap();
    let order = |id: &OrderId| NewOrder::new(*id, tenant.clone(), content.clone(), now).into();
    let mut all = HashSet::new();
    for begin in (0..count).step_by(500) {
        let ids = OrderId::new(now).consecutive(500.min(count - begin));
        backend.store.insert(ids.iter().map(order).collect()).await.unwrap();
        all.extend(ids);
    }
    assert_eq!(all.len(), count);
    all
}

async fn insert(backend: &Backend, tenant: &str, count: usize) -> HashSet<OrderId> {
    insert_with(backend, tenant, count, Draft::default()).await
}

async fn pass(backend: &Backend, limit: u32, tenants: &mut DueTenants) -> FairClaim {
    backend.store.claim_fairly(limit, GUARD, tenants).await.unwrap().expect("the queue is not paused")
}

fn ids(claim: &FairClaim) -> Vec<OrderId> {
    let jobs = claim.claimed.iter().flat_map(|claimed| claimed.front.iter().chain(&claimed.back));
    jobs.map(|job| job.order_id).collect()
}

/// Claims until a pass states that no more orders are due.
async fn claim_all(backend: &Backend, limit: u32, tenants: &mut DueTenants) -> Vec<OrderId> {
    let mut all = Vec::new();
    loop {
        let claim = pass(backend, limit, tenants).await;
        all.extend(ids(&claim));
        if !claim.more {
            return all;
        }
    }
}

on_both!(a_backlog_delays_another_tenant_by_one_pass, |on| async move {
    let backend = Backend::new(on).await;
    let mut tenants = DueTenants::default();
    let large = insert(&backend, "large", 3_000).await;
    assert_eq!(ids(&pass(&backend, 100, &mut tenants).await).len(), 100, "it is alone");
    let small = insert(&backend, "small", 10).await;
    // Without this a search for tenants is used for 100 ms.
    tenants.restart();
    let claim = pass(&backend, 100, &mut tenants).await;
    let claimed = ids(&claim);
    assert!(claim.more && claimed.iter().filter(|id| small.contains(id)).count() == 10);
    assert_eq!(claimed.iter().filter(|id| large.contains(id)).count(), 50);
    // The capacity that a tenant does not use is that of the others in the next pass.
    let claim = pass(&backend, 100, &mut tenants).await;
    assert_eq!(ids(&claim).iter().filter(|id| large.contains(id)).count(), 100);
});

on_both!(a_tenant_alone_gets_the_full_capacity, |on| async move {
    let backend = Backend::new(on).await;
    let mut tenants = DueTenants::default();
    // A tenant whose orders are scheduled has no due ones.
    let later = (backend.store.now() + Duration::from_secs(3_600)).to_string();
    insert_with(&backend, "later", 5, Draft { process_after: Some(later), ..Draft::default() }).await;
    for tenant in ["default", "z", "a"] {
        let alone = insert(&backend, tenant, 300).await;
        tenants.restart();
        let claim = pass(&backend, 200, &mut tenants).await;
        let owners: Vec<String> =
            claim.claimed.iter().map(|claimed| claimed.tenant.as_ref().unwrap().to_string()).collect();
        assert_eq!((ids(&claim).len(), claim.more, owners), (200, true, vec![tenant.to_owned()]));
        let rest = claim_all(&backend, 200, &mut tenants).await;
        assert!(rest.len() == 100 && rest.iter().all(|id| alone.contains(id)));
    }
});

on_both!(every_tenant_gets_its_turn_for_any_capacity, |on| async move {
    let backend = Backend::new(on).await;
    let mut owners = HashMap::new();
    for n in 0..20 {
        let name = format!("t{n:02}");
        owners.extend(insert(&backend, &name, 30).await.into_iter().map(|id| (id, n)));
    }
    // The searches between the passes begin behind the last turn.
    for capacity in [1, 3, 7, 20] {
        let mut tenants = DueTenants::default();
        let mut turns = [0_u32; 20];
        let mut passes = 0;
        while turns.iter().sum::<u32>() < 60 {
            passes += 1;
            if passes % 2 == 0 {
                tenants.restart();
            }
            for id in ids(&pass(&backend, capacity, &mut tenants).await) {
                turns[owners[&id]] += 1;
            }
        }
        let (least, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
        assert!(*least >= 2 && *most <= 5, "{capacity}: {turns:?}");
    }
});

on_both!(more_tenants_than_one_search_reads_are_all_served, |on| async move {
    let backend = Backend::new(on).await;
    let mut all = HashSet::new();
    for n in 0..450 {
        all.extend(insert(&backend, &format!("t{n:03}"), 2).await);
    }
    let mut tenants = DueTenants::default();
    let claimed = claim_all(&backend, 64, &mut tenants).await;
    assert_eq!(claimed.iter().copied().collect::<HashSet<_>>(), all);
    assert_eq!(claimed.len(), all.len());
    let nothing = pass(&backend, 64, &mut tenants).await;
    assert!(ids(&nothing).is_empty() && !nothing.more);
});

on_both!(priorities_share_the_capacity_of_a_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let with = |priority: Priority| Draft { priority: Some(priority.to_string()), ..Draft::default() };
    let mut of = HashMap::new();
    for tenant in ["a", "b"] {
        for priority in Priority::ALL {
            of.insert((tenant, priority), insert_with(&backend, tenant, 50, with(priority)).await);
        }
    }
    let claim = pass(&backend, 20, &mut DueTenants::default()).await;
    let claimed = ids(&claim);
    for tenant in ["a", "b"] {
        let count = |priority| claimed.iter().filter(|id| of[&(tenant, priority)].contains(id)).count();
        assert_eq!(Priority::ALL.map(count), [6, 3, 1], "{tenant}");
    }
    assert!(claim.claimed.iter().all(|claimed| claimed.front.len() == 6));
});

fn is_of(small: &HashSet<OrderId>, jobs: &[Job]) -> usize {
    jobs.iter().filter(|job| small.contains(&job.order_id)).count()
}

on_both!(a_tenant_overtakes_a_queue_that_is_full_of_another_one, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = Config::default();
    config.service.max_queue_depth = 200;
    config.service.visibility_timeout = GUARD;
    insert(&backend, "large", 2_000).await;
    let gateway = backend.gateway(config).await;
    let full =
        || eventually("a full queue", || async { (backend.queue.len().await.ok()? == 200).then_some(()) });
    full().await;
    let small = insert(&backend, "small", 10).await;
    // Workers take 40 jobs: the next 20 orders are those of the small tenant and as many of the large one.
    let jobs = backend.queue.pull(40, Duration::ZERO).await.unwrap();
    assert_eq!((jobs.len(), is_of(&small, &jobs)), (40, 0));
    full().await;
    let mut before = 0;
    let mut found = 0;
    while found < 10 {
        let jobs = backend.queue.pull(10, Duration::ZERO).await.unwrap();
        (found, before) = (found + is_of(&small, &jobs), before + jobs.len());
        assert!(before <= 40, "{found} of the orders are among {before}");
        full().await;
    }
    gateway.stop().await;
});

/// The statements of dispatch for several tenants read few entries of a backlog.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_for_tenants_reads_one_entry_of_each() {
    let backend = Backend::new(On::Servers).await;
    insert(&backend, "large", 20_000).await;
    insert(&backend, "small", 10).await;
    let mut connection = MySqlConnection::connect(backend.url()).await.unwrap();
    // Orders that do not wait are in the index as well.
    let finish = "UPDATE orders SET stage = 'completed', due_at = 9223372036854775807 \
                  WHERE tenant_id = 'large' ORDER BY id LIMIT 10000";
    for sql in [finish, "ANALYZE TABLE orders"] {
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
    let due = |priority: &str| {
        format!(
            "(SELECT due_at FROM orders FORCE INDEX (orders_due) WHERE kind = 'default' AND priority = '{priority}' \
             AND tenant_id = tenant.name ORDER BY tenant_id, due_at LIMIT 1)"
        )
    };
    for (sql, rows) in [
        (
            format!(
                "SELECT tenant.name, {}, {}, {} FROM (SELECT tenant_id AS name, MIN(id) FROM orders \
                 FORCE INDEX (orders_by_stage) WHERE stage = 'waiting' AND tenant_id > '' GROUP BY stage, tenant_id \
                 ORDER BY stage, tenant_id LIMIT 200) tenant",
                due("high"),
                due("normal"),
                due("low")
            ),
            2,
        ),
        (
            "SELECT id, quantity, due_at FROM orders FORCE INDEX (orders_due) WHERE stage = 'waiting' \
             AND kind = 'default' AND priority = 'normal' AND tenant_id = 'small' AND due_at >= 0 AND due_at <= 9000000000000000000 \
             ORDER BY due_at LIMIT 256 FOR UPDATE SKIP LOCKED"
                .to_owned(),
            10,
        ),
        (
            "SELECT kind, MIN(priority) FROM orders FORCE INDEX (orders_due) GROUP BY kind ORDER BY kind LIMIT 100"
                .to_owned(),
            1,
        ),
        (
            "SELECT EXISTS(SELECT 1 FROM orders FORCE INDEX (orders_by_stage) WHERE stage = 'waiting' \
             AND tenant_id < 'large'), EXISTS(SELECT 1 FROM orders FORCE INDEX (orders_by_stage) \
             WHERE stage = 'waiting' AND tenant_id > 'large')"
                .to_owned(),
            1,
        ),
    ] {
        // The query of the counter itself reads as well.
        let (before, between) = (reads(&mut connection).await, reads(&mut connection).await);
        let found = sqlx::query(sqlx::AssertSqlSafe(sql.clone())).fetch_all(&mut connection).await.unwrap();
        let read = reads(&mut connection).await - between - (between - before);
        assert!(found.len() == rows && read <= 40, "{read} reads: {sql}");
    }
}
