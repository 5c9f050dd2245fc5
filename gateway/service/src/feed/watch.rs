//! A subscriber of one order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::{OrderEvent, OrderId, Principal, Progress, Status};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use super::topics::{TopicEvents, Topics};
use crate::error::Error;
use gateway_store::{FoundOrders, Store, Timelines};

/// The first event that a subscriber of one order receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchFrom {
    /// The latest event.
    Latest,
    /// The event after this sequence; 0 is the first event.
    After(u32),
}

/// What a subscriber of one order receives.
#[derive(Debug, Clone)]
pub enum WatchItem {
    /// The next event.
    Event(Arc<OrderEvent>),
    /// Progress after this event, which the subscriber has received before, or from which it began.
    Progress(Arc<OrderEvent>, Arc<Progress>),
}

impl WatchItem {
    /// Returns the event.
    pub fn into_event(self) -> Arc<OrderEvent> {
        match self {
            Self::Event(event) | Self::Progress(event, _) => event,
        }
    }
}

/// Maximum number of reads of the database before a subscriber receives the error.
const MAX_READS: u32 = 5;
/// The pause before the second read; each further pause is twice as long.
const READ_PAUSE: Duration = Duration::from_millis(200);

struct Watch {
    store: Store,
    topics: Arc<Topics>,
    principal: Arc<Principal>,
    id: OrderId,
    /// The sequence of the last delivered event.
    last: u32,
    /// The next events.
    ready: VecDeque<Arc<OrderEvent>>,
    /// Of a subscriber that wants progress: the last event, and the last progress.
    reported: Option<Reported>,
    /// `None` only while it is being dropped.
    recent: Option<watch::Receiver<TopicEvents>>,
    /// The latest sequence, when the subscriber begins after a later one.
    ahead_of: Option<u32>,
    ended: bool,
}

/// What a subscriber that wants progress has received.
#[derive(Default)]
struct Reported {
    event: Option<Arc<OrderEvent>>,
    /// Progress that was reported before the subscription.
    earlier: Option<Arc<Progress>>,
    latest: Option<Arc<Progress>>,
}

impl Reported {
    /// Returns the progress of the present attempt, unless the subscriber has received it.
    fn next(&mut self, in_topic: Option<&Arc<Progress>>) -> Option<WatchItem> {
        let event = self.event.as_ref().filter(|event| event.status == Status::Processing)?;
        let progress = in_topic.or(self.earlier.as_ref())?;
        if progress.attempt != event.attempt || self.latest.as_ref() == Some(progress) {
            return None;
        }
        let item = WatchItem::Progress(event.clone(), progress.clone());
        self.latest = Some(progress.clone());
        Some(item)
    }
}

/// `progress` is `None` for a subscriber that wants no progress, and otherwise contains the latest one.
pub(super) async fn watch(
    store: Store,
    topics: Arc<Topics>,
    principal: Arc<Principal>,
    id: OrderId,
    cursor: WatchFrom,
    progress: Option<Option<Arc<Progress>>>,
) -> Result<BoxStream<'static, Result<WatchItem, Error>>, Error> {
    // Attached before the database is read: events of the meantime are in the topic.
    let recent = Some(topics.attach(id));
    let ready = VecDeque::new();
    let reported = progress.map(|earlier| Reported { earlier, ..Reported::default() });
    let (last, ahead_of, ended) = (0, None, false);
    let mut watch = Watch { store, topics, principal, id, last, ready, reported, recent, ahead_of, ended };
    let store = &watch.store;
    let FoundOrders { mut orders, mut unreadable } = store.find(&watch.principal, &[id]).await?;
    if let Some(unreadable) = unreadable.pop() {
        return Err(unreadable.into());
    }
    let latest = orders.pop().ok_or(Error::NotFound(id))?;
    watch.last = match cursor {
        WatchFrom::Latest => latest.version.saturating_sub(1),
        WatchFrom::After(sequence) => sequence,
    };
    if watch.last < latest.version {
        watch.ready = read(store, &watch.principal, id, watch.last).await?.into();
    } else {
        watch.ahead_of = Some(latest.version).filter(|version| *version < watch.last);
        watch.ended = latest.status.is_final();
        if let Some(reported) = &mut watch.reported {
            let before = latest.version.saturating_sub(1);
            reported.event = read(store, &watch.principal, id, before).await?.into_iter().next();
        }
    }
    watch.topics.reached(id, latest.version);
    Ok(stream::unfold(watch, |mut watch| async move { watch.next().await.map(|item| (item, watch)) }).boxed())
}

impl Watch {
    async fn next(&mut self) -> Option<Result<WatchItem, Error>> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                if event.sequence <= self.last {
                    continue;
                }
                self.last = event.sequence;
                // A failed order may have been redriven since; then further events are ready.
                self.ended = event.status.is_final() && self.ready.is_empty();
                if let Some(reported) = &mut self.reported {
                    reported.event = Some(event.clone());
                }
                return Some(Ok(WatchItem::Event(event)));
            }
            let recent = self.recent.as_mut()?;
            let (next, hole) = recent.borrow_and_update().after(self.last);
            if !next.is_empty() {
                self.ready.extend(next);
            } else if hole {
                // Boxed, so that a waiting subscriber keeps no memory for a query.
                match Box::pin(self.read()).await {
                    Ok(events) => self.ready.extend(events),
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            } else if let Some(item) =
                self.reported.as_mut().and_then(|reported| reported.next(recent.borrow().progress.as_ref()))
            {
                return Some(Ok(item));
            } else if recent.borrow().is_gone() {
                // Removed by retention, or by a restore of an older backup.
                self.ended = true;
                return Some(Err(Error::NotFound(self.id)));
            } else if self.ahead_of.is_some_and(|seen| recent.borrow().is_final_since(seen)) {
                // The order became final before the requested sequence.
                return None;
            } else if recent.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Reads the missing events. They exist: the later events were committed after them.
    async fn read(&self) -> Result<Vec<Arc<OrderEvent>>, Error> {
        let mut pause = READ_PAUSE;
        for _ in 1..MAX_READS {
            match self.store.timelines(&self.principal, &[(self.id, self.last)]).await {
                Ok(Timelines { events, .. }) if !events.is_empty() => return Ok(events),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, order_id = %self.id, "failed to read events"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        read(&self.store, &self.principal, self.id, self.last).await
    }
}

async fn read(
    store: &Store,
    principal: &Principal,
    id: OrderId,
    after: u32,
) -> Result<Vec<Arc<OrderEvent>>, Error> {
    let Timelines { events, mut unreadable } = store.timelines(principal, &[(id, after)]).await?;
    match unreadable.pop() {
        Some(unreadable) => Err(unreadable.into()),
        None => Ok(events),
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(recent) = self.recent.take() {
            self.topics.detach(self.id, recent);
        }
    }
}
