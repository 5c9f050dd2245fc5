//! Tenants: a request for an order of another tenant has the same result as one for an unknown id.

use std::fmt::Debug;
use std::sync::Arc;

use domain::query::{Filter, Sort};
use domain::{IdempotencyKey, LeaseToken, OrderId, Outcome, Principal, Scope, Scopes, Status, TenantId};
use futures_util::{FutureExt, StreamExt};
use gateway::service::feed::{FeedItem, WatchFrom};
use gateway::service::orders::{Actor, BulkCancel, ListQuery, Redrive, Take};
use gateway::service::{Config, Error, Service, ServiceParts};
use gateway::store::Retention;

use crate::dispatch::claim;
use crate::harness::{Backend, On};
use crate::on_both;

/// A caller with every scope in one tenant.
fn bound(tenant: &str) -> Arc<Principal> {
    let (name, tenant) = (format!("key:{tenant}").into(), tenant.parse::<TenantId>().unwrap());
    Arc::new(Principal { name, tenant, all_tenants: false, ..Principal::anonymous() })
}

pub(crate) async fn service(backend: &Backend) -> Service {
    let (queue, bus) = (backend.queue.clone(), backend.bus.clone());
    let parts = ServiceParts { config: Config::default(), store: backend.gateway_store().await, queue, bus };
    Service::start(parts).await.unwrap()
}

fn draft(item: &str) -> domain::Draft {
    domain::Draft {
        item: Some(item.to_owned()),
        quantity: Some(1),
        price: Some("1".into()),
        customer: Some("Ann".into()),
        ..domain::Draft::default()
    }
}

async fn create(service: &Service, caller: &Principal, count: usize) -> Vec<OrderId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(service.orders.create(caller, draft("Tea"), None).await.unwrap().order.id);
    }
    ids
}

/// The number of requests that [`request`] knows.
const REQUESTS: u32 = 10;

/// Sends one kind of request for an order, and returns everything that the caller learns.
async fn request(service: &Service, caller: &Arc<Principal>, kind: u32, id: OrderId) -> String {
    let (orders, lease) = (&service.orders, LeaseToken::from_i64(7).unwrap());
    let seen = |result: &dyn Debug| format!("{result:?}").replace(&id.to_string(), "ID");
    match kind {
        0 => seen(&orders.get(caller, id).await),
        1 => seen(&orders.events(caller, id, 0).await),
        2 => seen(&orders.with_lease(caller, id).await),
        3 => seen(&service.feed.watch(caller, id, WatchFrom::After(0)).await.map(|_| ())),
        4 => seen(&orders.cancel(caller, id, &Actor::default(), None).await),
        5 => {
            let actor = Actor::default();
            seen(&orders.redrive(caller, id, &actor, None).await)
        }
        6 => seen(&orders.start_attempts(caller, None, &[(id, lease)]).await),
        7 => seen(&orders.heartbeat(caller, &[(id, lease)]).await),
        8 => seen(&orders.finish(caller, vec![(id, lease, Outcome::Completed)]).await),
        9 => {
            let loader = gateway::service::loader::orders(orders);
            seen(&loader.load(caller, Scope::OrdersRead, id).await)
        }
        _ => unreachable!("there are {REQUESTS} kinds"),
    }
}

on_both!(random_requests_for_orders_of_another_tenant_find_nothing, |on| async move {
    let backend = Backend::new(on).await;
    let service = service(&backend).await;
    let (a, b) = (bound("a"), bound("b"));
    let ids = create(&service, &a, 20).await;
    let mut unknown = Vec::new();
    for kind in 0..REQUESTS {
        unknown.push(request(&service, &b, kind, OrderId::new(backend.store.now())).await);
    }
    let (service, b) = (&service, &b);
    let requests = (0..10_000).map(|_| {
        let (kind, id) = (rand::random_range(0..REQUESTS), ids[rand::random_range(0..ids.len())]);
        async move { (kind, request(service, b, kind, id).await) }
    });
    let seen: Vec<(u32, String)> = futures_util::stream::iter(requests).buffer_unordered(8).collect().await;
    for (kind, seen) in seen {
        assert_eq!(seen, unknown[kind as usize], "request {kind}");
    }
    // Nothing changed, and the owner sees all of it.
    for id in ids {
        assert_eq!(service.orders.get(&a, id).await.unwrap().version, 1);
    }
});

fn everything() -> ListQuery {
    let filter = Filter::default();
    ListQuery { filter, sort: Sort::default(), after: None, before: None, take: Take::First(100) }
}

on_both!(lists_counts_searches_and_bulk_redrives_are_of_one_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let service = service(&backend).await;
    let (a, b) = (bound("a"), bound("b"));
    let (of_a, of_b) = (create(&service, &a, 5).await, create(&service, &b, 3).await);
    for (caller, ids) in [(&a, &of_a), (&b, &of_b)] {
        let mut newest_first = ids.clone();
        newest_first.sort_unstable_by(|one, other| other.cmp(one));
        for filter in [
            Filter::default(),
            Filter { customer: Some("Ann".into()), ..Filter::default() },
            Filter { statuses: vec![Status::Pending], ..Filter::default() },
            Filter { item_contains: Some("tea".into()), ..Filter::default() },
        ] {
            let listed = backend.store.list_ids(caller, &filter, None, 100).await.unwrap();
            assert_eq!(listed, newest_first, "{filter:?}");
        }
        let page = service.orders.list(caller, everything(), usize::MAX).await.unwrap();
        assert_eq!(page.items.len(), ids.len());
        let counts = service.orders.counts(caller).await.unwrap();
        assert_eq!((counts.of(Status::Pending), counts.ready), (ids.len() as u32, ids.len() as u32));
    }
    // A cursor of one tenant is only a position in the list of another one.
    let after = of_a.iter().max().copied();
    let listed = backend.store.list_ids(&b, &Filter::default(), after, 100).await.unwrap();
    assert!(listed.iter().all(|id| of_b.contains(id)));
    let requester = Actor::default();
    let redrive = Redrive {
        filter: Filter::default(),
        after: None,
        limit: 100,
        dry_run: true,
        start_at: None,
        rate: None,
        requester,
        reason: None,
    };
    // No order has failed; the statement of the list is bound to the tenant as well.
    assert_eq!(service.orders.redrive_all(&b, &redrive).await.unwrap().orders, []);
    let groups = service.orders.dead_letter_groups(&b, &Filter::default()).await.unwrap();
    assert_eq!((groups.groups.len(), groups.orders, groups.complete), (0, 0, true));
    let cancel = BulkCancel {
        filter: Filter::default(),
        after: None,
        limit: 100,
        dry_run: false,
        requester: Actor::default(),
        reason: None,
    };
    let cancelled = service.orders.cancel_all(&b, &cancel).await.unwrap().orders;
    assert!(cancelled.len() == of_b.len() && cancelled.iter().all(|id| of_b.contains(id)), "{cancelled:?}");
    assert_eq!(service.orders.counts(&a).await.unwrap().of(Status::Pending), of_a.len() as u32);
});

on_both!(an_idempotency_key_belongs_to_one_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let service = service(&backend).await;
    let (a, b) = (bound("a"), bound("b"));
    let key = || Some("the-key".parse::<IdempotencyKey>().unwrap());
    let create = |caller: Arc<Principal>, item: &'static str| {
        let orders = service.orders.clone();
        async move { orders.create(&caller, draft(item), key()).await }
    };
    // In one batch and in several.
    let (first, second) = tokio::join!(create(a.clone(), "Tea"), create(b.clone(), "Coffee"));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(!first.replayed && !second.replayed);
    for (caller, item, created) in [(&a, "Tea", &first), (&b, "Coffee", &second)] {
        let again = create(caller.clone(), item).await.unwrap();
        assert!(again.replayed);
        assert_eq!((again.order.id, &again.order.tenant_id), (created.order.id, &caller.tenant));
    }
    let reused = create(b.clone(), "Tea").await;
    assert!(matches!(reused, Err(Error::KeyReused)), "{reused:?}");
});

on_both!(the_feed_delivers_events_of_the_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let service = service(&backend).await;
    let (a, b) = (bound("a"), bound("b"));
    let feed = |caller: &Principal| service.feed.all(caller).unwrap();
    let (mut of_a, mut of_b, mut of_all) = (feed(&a), feed(&b), feed(&Principal::anonymous()));
    let (first, second) = (create(&service, &a, 1).await[0], create(&service, &b, 1).await[0]);
    for (items, ids) in
        [(&mut of_a, vec![first]), (&mut of_b, vec![second]), (&mut of_all, vec![first, second])]
    {
        for id in ids {
            let Some(FeedItem::Event(event)) = items.next().await else { panic!("an event of {id}") };
            assert_eq!(event.order_id, id);
        }
        assert!(items.next().now_or_never().is_none());
    }
});

on_both!(the_background_loops_work_for_every_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let (service, store) = (service(&backend).await, &backend.store);
    let tenants = ["a", "b", "c"].map(bound);
    let mut all = Vec::new();
    for tenant in &tenants {
        all.extend(create(&service, tenant, 2).await);
    }
    let claimed = async || {
        let claimed = claim(store, 100, std::time::Duration::ZERO).await;
        let mut ids: Vec<OrderId> = claimed.unwrap().back.iter().map(|order| order.order_id).collect();
        ids.sort_unstable();
        ids
    };
    all.sort_unstable();
    // New orders may be held by the queue already; then they are released first.
    store.release_all_unstarted().await.unwrap();
    assert_eq!(claimed().await, all);
    let limits = gateway::store::ClaimLimits {
        visibility_timeout: std::time::Duration::ZERO,
        lease: std::time::Duration::from_secs(30),
    };
    let mut expired = store.expired_claims(100, limits).await.unwrap().unstarted;
    expired.sort_unstable();
    assert_eq!(expired, all);
    for (tenant, ids) in tenants.iter().zip(all.chunks(2)) {
        for id in ids {
            // Ids of one tenant are consecutive only if they were created one after the other.
            assert!(store.exists(tenant, *id).await.unwrap());
            service.orders.cancel(tenant, *id, &Actor::default(), None).await.unwrap();
        }
    }
    let retention = Retention { finished: Some(std::time::Duration::ZERO), failed: None };
    store.refresh_clock().await.unwrap();
    let (mut removed, mut position) = (0, None);
    loop {
        let pruned = store.prune_orders(Status::Cancelled, retention, position).await.unwrap();
        removed += pruned.orders;
        position = pruned.next;
        if position.is_none() {
            break;
        }
    }
    assert_eq!(removed, all.len() as u64);
});

/// The scope of each use case.
#[tokio::test(flavor = "multi_thread")]
async fn a_use_case_requires_its_scope() {
    let backend = Backend::new(On::Embedded).await;
    let service = service(&backend).await;
    let orders = &service.orders;
    let id = create(&service, &Principal::anonymous(), 1).await[0];
    let actor = Actor::default();
    for scope in Scope::ALL {
        let without = Scope::ALL.iter().copied().filter(|each| each != scope).collect::<Vec<_>>();
        let caller = Arc::new(Principal { scopes: Scopes::of(&without), ..Principal::anonymous() });
        let forbidden = |error: Option<Error>| match error {
            Some(Error::Forbidden(missing)) => Some(missing.0),
            _ => None,
        };
        let refused = [
            (Scope::OrdersRead, forbidden(orders.get(&caller, id).await.err())),
            (Scope::OrdersRead, forbidden(orders.list(&caller, everything(), 9).await.err())),
            (Scope::OrdersRead, forbidden(orders.counts(&caller).await.err())),
            (Scope::OrdersWrite, forbidden(orders.create(&caller, draft("Tea"), None).await.err())),
            (Scope::OrdersManage, forbidden(orders.redrive(&caller, id, &actor, None).await.err())),
            (Scope::Work, forbidden(orders.start_attempts(&caller, None, &[]).await.err())),
            (Scope::EventsRead, forbidden(service.feed.all(&caller).err())),
            (Scope::Admin, forbidden(orders.pause(&caller, None, &actor).await.err())),
            (Scope::Admin, forbidden(orders.resume(&caller, &actor).await.err())),
        ];
        for (needed, refused) in refused {
            assert_eq!(refused, (needed == *scope).then_some(needed), "without {scope:?}");
        }
    }
}
