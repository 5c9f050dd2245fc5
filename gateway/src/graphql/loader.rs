//! Loads orders together that are asked for together, so that a list of events with their orders
//! costs one query and not one for each event.
//!
//! One loader serves the whole gateway: a change that a thousand subscribers want with its order is
//! read once. Nothing is kept: whoever asks gets the order as it is in a query that began after
//! that. There is no task and no timer. Whoever comes first waits one turn of the scheduler for the
//! others, then asks for all; those who come meanwhile are the next batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Order, OrderId};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::Error;

type Answer = Result<Option<Arc<Order>>, Error>;
type Load = dyn Fn(Vec<OrderId>) -> BoxFuture<'static, Result<Vec<Order>, Error>> + Send + Sync;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct OrderLoader(Arc<Inner>);

struct Inner {
    load: Box<Load>,
    batch_size: usize,
    waiting: Mutex<HashMap<OrderId, Vec<oneshot::Sender<Answer>>>>,
    turn: tokio::sync::Mutex<()>,
}

impl OrderLoader {
    /// `load` answers those of at most `batch_size` orders that exist.
    pub(crate) fn new(
        batch_size: usize,
        load: impl Fn(Vec<OrderId>) -> BoxFuture<'static, Result<Vec<Order>, Error>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            load: Box::new(load),
            batch_size: batch_size.max(1),
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// One order; `None` when there is none.
    pub(crate) async fn load(&self, id: OrderId) -> Answer {
        loop {
            let mut mine = self.ask(id);
            tokio::task::yield_now().await;
            let turn = tokio::select! {
                biased;
                answer = &mut mine => match answer {
                    Ok(answer) => return answer,
                    // Whoever loaded for us was cancelled. Ask again.
                    Err(_) => continue,
                },
                turn = self.0.turn.lock() => turn,
            };
            // Answered between our last look and our turn, or still waiting like those with us.
            match mine.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => self.load_waiting().await,
            }
            drop(turn);
            if let Ok(answer) = mine.try_recv() {
                return answer;
            }
        }
    }

    fn ask(&self, id: OrderId) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.lock().entry(id).or_default().push(sender);
        receiver
    }

    async fn load_waiting(&self) {
        let mut waiting: Vec<_> = std::mem::take(&mut *self.lock()).into_iter().collect();
        while !waiting.is_empty() {
            let batch = waiting.split_off(waiting.len().saturating_sub(self.0.batch_size));
            let loaded = (self.0.load)(batch.iter().map(|(id, _)| *id).collect()).await;
            let loaded: Result<HashMap<_, _>, _> =
                loaded.map(|orders| orders.into_iter().map(|order| (order.id, Arc::new(order))).collect());
            for (id, senders) in batch {
                let answer = loaded.as_ref().map(|orders| orders.get(&id).cloned()).map_err(Error::clone);
                for sender in senders {
                    // Nobody listens any more when the client left; that is fine.
                    let _ = sender.send(answer.clone());
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OrderId, Vec<oneshot::Sender<Answer>>>> {
        // No code that can panic runs under this lock.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use domain::{Currency, Money, Status, Timestamp};
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    fn order(id: OrderId) -> Order {
        let now = Timestamp::from_micros(1);
        Order {
            id,
            tenant_id: "default".into(),
            external_reference: None,
            customer: None,
            line_items: vec![],
            total: Money::zero(Currency::USD),
            quantity: 0,
            status: Status::Pending,
            version: 1,
            attempt: 0,
            failures: 0,
            max_attempts: 5,
            priority: domain::Priority::Normal,
            process_after: None,
            reason: None,
            error_class: None,
            created_at: now,
            updated_at: now,
        }
    }

    fn ids(count: i64) -> Vec<OrderId> {
        (0..count).map(|n| OrderId::new(Timestamp::from_micros(n * 1_000))).collect()
    }

    fn counting(batch_size: usize) -> (OrderLoader, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let loader = OrderLoader::new(batch_size, move |ids| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                Ok(ids.into_iter().map(order).collect())
            }
            .boxed()
        });
        (loader, calls)
    }

    #[tokio::test]
    async fn those_who_ask_together_share_one_query() {
        let (loader, calls) = counting(100);
        let ids = ids(20);
        let twice = ids.iter().chain(&ids);
        let answers = join_all(twice.map(|id| loader.load(*id))).await;
        for (answer, id) in answers.into_iter().zip(ids.iter().chain(&ids)) {
            assert_eq!(answer.unwrap().unwrap().id, *id);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_batch_has_its_limit() {
        let (loader, calls) = counting(8);
        join_all(ids(20).into_iter().map(|id| loader.load(id))).await;
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn somebody_takes_over_when_the_one_who_loads_leaves() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let loader = OrderLoader::new(100, move |ids| {
            let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Ok(ids.into_iter().map(order).collect())
            }
            .boxed()
        });
        let ids = ids(2);
        let mut leaves = Box::pin(loader.load(ids[0]));
        let mut waits = Box::pin(loader.load(ids[1]));
        // Both ask, then the first one loads for both and is left in the middle of it.
        for polled in [&mut leaves, &mut waits] {
            assert!(polled.now_or_never().is_none());
        }
        assert!((&mut leaves).now_or_never().is_none());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        drop(leaves);
        assert_eq!(waits.await.unwrap().unwrap().id, ids[1]);
    }
}
