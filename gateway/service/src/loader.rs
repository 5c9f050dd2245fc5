//! Loads keys that are requested together in one statement.
//!
//! A list of events with their orders, or of orders with their events, costs one or two queries instead of one per
//! line. Callers that may see the same orders share a statement.
//!
//! One loader serves the whole gateway: an order that a thousand subscribers request with its change is read once.
//! Nothing is cached: every caller receives the order as read by a query that began after its request. There is no task
//! and no timer. The first caller yields to the scheduler a few times, then loads all registered keys; callers that
//! register meanwhile form the next batch.
//!
//! Hand-written: the DataLoader of async-graphql batches within one request and waits for a timer, and ultra-batch
//! 0.3.0 was not measured.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Order, OrderEvent, OrderId, Principal, Scope, TenantId};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::orders::Orders;
use gateway_store::{FoundOrders, Outputs, Timelines};

/// Maximum number of times that a caller yields to others.
const MAX_YIELDS: usize = 4;

type Answer<V> = Result<Option<V>, Error>;
/// The value of each key, or the error of this key.
type Loaded<K, V> = HashMap<K, Result<V, Error>>;
type Load<K, V> =
    dyn Fn(Arc<Principal>, Vec<K>) -> BoxFuture<'static, Result<Loaded<K, V>, Error>> + Send + Sync;

/// Loads orders by their ids.
pub type OrderLoader = Loader<OrderId, Arc<Order>>;
/// Loads the events of an order with a sequence above the given one, oldest first.
pub type EventLoader = Loader<(OrderId, u32), Vec<Arc<OrderEvent>>>;

/// Loads what the workers of orders have produced. The caller has read the orders.
pub type OutputsLoader = Loader<OrderId, Outputs>;

/// A key and its caller. Equal keys of callers that may see the same orders are one key.
#[derive(Clone)]
struct CallerKey<K> {
    principal: Arc<Principal>,
    key: K,
}

impl<K> CallerKey<K> {
    /// Returns the tenant whose orders the caller may see; `None` for all.
    fn tenant(&self) -> Option<&TenantId> {
        (!self.principal.all_tenants).then_some(&self.principal.tenant)
    }
}

impl<K: PartialEq> PartialEq for CallerKey<K> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.tenant() == other.tenant()
    }
}

impl<K: Eq> Eq for CallerKey<K> {}

impl<K: Hash> Hash for CallerKey<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.tenant().hash(state);
    }
}

/// Creates a loader of orders.
pub fn orders(orders: &Orders) -> OrderLoader {
    let orders = orders.clone();
    Loader::new(orders.config().batch_size, move |principal, ids| {
        let orders = orders.clone();
        by_shard(
            orders.clone(),
            ids,
            |id| *id,
            move |ids| {
                let (orders, principal) = (orders.clone(), principal.clone());
                async move {
                    let FoundOrders { orders, unreadable } = orders.get_many(&principal, &ids).await?;
                    let orders = orders.into_iter().map(|order| (order.id, Ok(Arc::new(order))));
                    let unreadable = unreadable.into_iter().map(|one| (one.order_id, Err(one.into())));
                    Ok(orders.chain(unreadable).collect())
                }
                .boxed()
            },
        )
        .boxed()
    })
}

/// Creates a loader of results and checkpoints.
pub fn outputs(orders: &Orders) -> OutputsLoader {
    let orders = orders.clone();
    Loader::new(orders.config().batch_size, move |_, ids| {
        let orders = orders.clone();
        by_shard(
            orders.clone(),
            ids,
            |id| *id,
            move |ids| {
                let orders = orders.clone();
                async move {
                    let outputs = orders.outputs_of_many(&ids).await?;
                    Ok(outputs.into_iter().map(|(id, outputs)| (id, Ok(outputs))).collect())
                }
                .boxed()
            },
        )
        .boxed()
    })
}

/// Creates a loader of timelines.
pub fn events(orders: &Orders) -> EventLoader {
    let orders = orders.clone();
    Loader::new(orders.config().batch_size, move |principal: Arc<Principal>, cursors: Vec<(OrderId, u32)>| {
        let (orders, all) = (orders.clone(), orders.clone());
        let load = move |cursors: Vec<(OrderId, u32)>| {
            load_events(orders.clone(), principal.clone(), cursors).boxed()
        };
        by_shard(all, cursors, |(id, _)| *id, load).boxed()
    })
}

async fn load_events(
    orders: Orders,
    principal: Arc<Principal>,
    cursors: Vec<(OrderId, u32)>,
) -> Result<Loaded<(OrderId, u32), Vec<Arc<OrderEvent>>>, Error> {
    // Requests of one order after different sequences share one read.
    let mut firsts: HashMap<OrderId, u32> = HashMap::new();
    for (id, after) in &cursors {
        firsts.entry(*id).and_modify(|first| *first = (*first).min(*after)).or_insert(*after);
    }
    let firsts: Vec<(OrderId, u32)> = firsts.into_iter().collect();
    let mut timelines: HashMap<OrderId, Vec<Arc<OrderEvent>>> = HashMap::new();
    let Timelines { events, unreadable } = orders.events_of_many(&principal, &firsts).await?;
    for event in events {
        timelines.entry(event.order_id).or_default().push(event);
    }
    let unreadable: HashMap<OrderId, Error> =
        unreadable.into_iter().map(|one| (one.order_id, one.into())).collect();
    let timeline = |(id, after): (OrderId, u32)| {
        if let Some(error) = unreadable.get(&id) {
            return ((id, after), Err(error.clone()));
        }
        let events = timelines.get(&id).into_iter().flatten();
        ((id, after), Ok(events.filter(|event| event.sequence > after).cloned().collect()))
    };
    Ok(cursors.into_iter().map(timeline).collect())
}

/// Loads the keys of each shard of the database, so that one that does not respond fails its own keys only.
async fn by_shard<K: Copy + Eq + Hash, V>(
    orders: Orders,
    keys: Vec<K>,
    id: impl Fn(&K) -> OrderId,
    load: impl Fn(Vec<K>) -> BoxFuture<'static, Result<Loaded<K, V>, Error>>,
) -> Result<Loaded<K, V>, Error> {
    let mut parts = orders.by_shard(keys, |key| id(key).slot());
    if parts.len() == 1 {
        return load(parts.pop().unwrap_or_default()).await;
    }
    let loads = parts.into_iter().map(|part| {
        let loading = load(part.clone());
        async move { (part, loading.await) }
    });
    let mut all = HashMap::new();
    for (part, loaded) in join_all(loads).await {
        match loaded {
            Ok(loaded) => all.extend(loaded),
            Err(error) => all.extend(part.into_iter().map(|key| (key, Err(error.clone())))),
        }
    }
    Ok(all)
}

/// Loads values in batches. Cheap to clone.
pub struct Loader<K, V>(Arc<Inner<K, V>>);

struct Inner<K, V> {
    load: Box<Load<K, V>>,
    batch_size: usize,
    /// Number of registered requests.
    registered: AtomicU64,
    waiting: Mutex<Waiting<K, V>>,
    loading: tokio::sync::Mutex<()>,
}

type Waiting<K, V> = HashMap<CallerKey<K>, Vec<oneshot::Sender<Answer<V>>>>;

impl<K, V> Clone for Loader<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Copy + Eq + Hash + Send, V: Clone + Send> Loader<K, V> {
    /// `load` returns the values of at most `batch_size` keys; keys without a value are absent.
    fn new(
        batch_size: usize,
        load: impl Fn(Arc<Principal>, Vec<K>) -> BoxFuture<'static, Result<Loaded<K, V>, Error>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            load: Box::new(load),
            batch_size: batch_size.max(1),
            registered: AtomicU64::new(0),
            waiting: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        }))
    }

    /// Loads one key for a caller; `None` when it has no value that the caller may see.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without the scope, and the error of the read.
    pub async fn load(&self, principal: &Arc<Principal>, scope: Scope, key: K) -> Answer<V> {
        principal.require(scope)?;
        let key = CallerKey { principal: principal.clone(), key };
        // Tokio makes a task yield after a number of ready futures. In the middle of a page, half of it would be loaded
        // by a separate statement.
        tokio::task::unconstrained(self.load_batched(key)).await
    }

    async fn load_batched(&self, key: CallerKey<K>) -> Answer<V> {
        loop {
            let mut mine = self.register(key.clone());
            self.wait_for_others().await;
            let loading = tokio::select! {
                biased;
                answer = &mut mine => match answer {
                    Ok(answer) => return answer,
                    // The caller that loaded this key was cancelled. Register again.
                    Err(_) => continue,
                },
                loading = self.0.loading.lock() => loading,
            };
            // Answered before the lock was acquired, or still registered.
            match mine.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => self.load_waiting().await,
            }
            drop(loading);
            if let Ok(answer) = mine.try_recv() {
                return answer;
            }
        }
    }

    /// Yields to the scheduler, and again while another caller registered meanwhile.
    async fn wait_for_others(&self) {
        let mut seen = None;
        for _ in 0..MAX_YIELDS {
            let registered = self.0.registered.load(Ordering::Relaxed);
            if seen == Some(registered) {
                break;
            }
            seen = Some(registered);
            tokio::task::yield_now().await;
        }
    }

    fn register(&self, key: CallerKey<K>) -> oneshot::Receiver<Answer<V>> {
        let (sender, receiver) = oneshot::channel();
        self.0.registered.fetch_add(1, Ordering::Relaxed);
        self.lock().entry(key).or_default().push(sender);
        receiver
    }

    async fn load_waiting(&self) {
        let mut callers: HashMap<Option<TenantId>, Vec<_>> = HashMap::new();
        for (key, senders) in std::mem::take(&mut *self.lock()) {
            callers.entry(key.tenant().cloned()).or_default().push((key, senders));
        }
        for mut waiting in callers.into_values() {
            while !waiting.is_empty() {
                let batch = waiting.split_off(waiting.len().saturating_sub(self.0.batch_size));
                let Some((first, _)) = batch.first() else { break };
                let keys = batch.iter().map(|(key, _)| key.key).collect();
                let loaded = (self.0.load)(first.principal.clone(), keys).await;
                for (key, senders) in batch {
                    let answer = match &loaded {
                        Ok(found) => found.get(&key.key).cloned().transpose(),
                        Err(error) => Err(error.clone()),
                    };
                    for sender in senders {
                        // The receiver is dropped when its client has disconnected.
                        let _ = sender.send(answer.clone());
                    }
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting<K, V>> {
        // No code that can panic runs under this lock.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use domain::{Currency, Money, Timestamp};
    use futures_util::future::join_all;

    use super::*;

    fn order(id: OrderId) -> Order {
        let now = Timestamp::from_micros(1);
        Order::pending(
            id,
            domain::TenantId::default(),
            domain::Content::new(Vec::new(), Money::zero(Currency::USD)),
            now,
        )
    }

    async fn load(loader: &OrderLoader, id: OrderId) -> Answer<Arc<Order>> {
        loader.load(&Arc::new(Principal::anonymous()), Scope::OrdersRead, id).await
    }

    fn ids(count: i64) -> Vec<OrderId> {
        (0..count).map(|n| OrderId::new(Timestamp::from_micros(n * 1_000))).collect()
    }

    fn counting(batch_size: usize) -> (OrderLoader, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let loader = Loader::new(batch_size, move |_, ids: Vec<OrderId>| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                Ok(ids.into_iter().map(|id| (id, Ok(Arc::new(order(id))))).collect())
            }
            .boxed()
        });
        (loader, calls)
    }

    #[tokio::test]
    async fn concurrent_requests_share_one_query() {
        let (loader, calls) = counting(100);
        let ids = ids(20);
        let twice = ids.iter().chain(&ids);
        let answers = join_all(twice.map(|id| load(&loader, *id))).await;
        for (answer, id) in answers.into_iter().zip(ids.iter().chain(&ids)) {
            assert_eq!(answer.unwrap().unwrap().id, *id);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn callers_of_two_tenants_share_no_query() {
        let (loader, calls) = counting(100);
        let tenant = |name: &str| {
            let principal =
                Principal { tenant: name.parse().unwrap(), all_tenants: false, ..Principal::anonymous() };
            Arc::new(principal)
        };
        let (one, same, other) = (tenant("a"), tenant("a"), tenant("b"));
        let id = ids(1)[0];
        let answers = [&one, &same, &other].map(|principal| loader.load(principal, Scope::OrdersRead, id));
        join_all(answers).await;
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        let none = Arc::new(Principal { scopes: domain::Scopes::NONE, ..Principal::anonymous() });
        let refused = loader.load(&none, Scope::OrdersRead, id).await;
        assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn batch_size_is_limited() {
        let (loader, calls) = counting(8);
        join_all(ids(20).into_iter().map(|id| load(&loader, id))).await;
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn waiting_caller_takes_over_when_loading_is_cancelled() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let loader = Loader::new(100, move |_, ids: Vec<OrderId>| {
            let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Ok(ids.into_iter().map(|id| (id, Ok(Arc::new(order(id))))).collect())
            }
            .boxed()
        });
        let ids = ids(2);
        let mut leaves = Box::pin(load(&loader, ids[0]));
        let mut waits = Box::pin(load(&loader, ids[1]));
        // Both register, then the first one loads for both and is dropped meanwhile.
        for polled in [&mut leaves, &mut waits] {
            assert!(polled.now_or_never().is_none());
        }
        for _ in 0..MAX_YIELDS {
            assert!((&mut leaves).now_or_never().is_none());
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        drop(leaves);
        assert_eq!(waits.await.unwrap().unwrap().id, ids[1]);
    }
}
