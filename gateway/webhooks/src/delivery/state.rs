//! The state of a delivery.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{EndpointId, OrderId, Principal, Timestamp};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use gateway_service::Error as ServiceError;
use gateway_service::event_log::{EventPage, LogWatch};
use gateway_store::{
    DeliveryState, Error as StoreError, SavedProgress, WebhookAttempt, WebhookEndpoint, WebhookHealth,
    WebhookMessage, WebhookNotice,
};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use webhook::Outcome;

use super::health::Health;
use super::queue::{Item, Queue, Source};
use super::reader::Reader;
use super::schedule;
use super::stored::{MAX_WAITING, Stored};
use crate::Webhooks;
use crate::body::Message;
use crate::principal::events_reader;
use crate::send::Target;

/// Interval of saving a cursor that has passed events without a delivery.
pub(super) const IDLE_SAVE: Duration = Duration::from_secs(5);
/// Pause after a failure of the database.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of waiting messages that are read: the maximum, and those that were on their way.
pub(super) const MAX_READ: u32 = MAX_WAITING as u32 * 3;

/// Why a delivery has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The gateway stops, or the endpoint is disabled: it can be given back.
    Released,
    /// Another gateway holds the endpoint, or it was removed.
    Lost,
}

/// The parts of a delivery that its holder provides.
pub(crate) struct Parts {
    pub(crate) webhooks: Webhooks,
    pub(crate) id: EndpointId,
    pub(crate) holder: i64,
    /// The end of the lease.
    pub(crate) lease: watch::Receiver<Instant>,
    /// A user has changed the endpoint.
    pub(crate) changed: Arc<Notify>,
    pub(crate) stop: CancellationToken,
}

/// What is being sent.
pub(super) enum Sending {
    Item(Item),
    Stored(WebhookMessage),
}

impl Sending {
    pub(super) fn order(&self) -> Option<OrderId> {
        match self {
            Self::Item(item) => Some(item.order),
            Self::Stored(message) => message.event.map(|(order, ..)| order),
        }
    }
}

/// The end of a send.
pub(super) struct Sent {
    pub(super) what: Sending,
    /// The message and the outcome; `None` if the lease ended.
    pub(super) result: Option<(Message, Outcome)>,
}

/// What is to be saved.
#[derive(Default)]
pub(super) struct Unsaved {
    pub(super) messages: Vec<WebhookMessage>,
    pub(super) delivered: Vec<String>,
    pub(super) attempts: Vec<WebhookAttempt>,
    pub(super) notice: Option<WebhookNotice>,
    /// The orders whose next message waits for the save.
    pub(super) orders: Vec<OrderId>,
    /// Whether something else has changed, such as the health.
    pub(super) is_changed: bool,
}

impl Unsaved {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.delivered.is_empty()
            && self.attempts.is_empty()
            && self.orders.is_empty()
            && self.notice.is_none()
            && !self.is_changed
    }

    /// Puts back what could not be saved.
    pub(super) fn restore(&mut self, mut before: Self) {
        before.messages.append(&mut self.messages);
        before.delivered.append(&mut self.delivered);
        before.attempts.append(&mut self.attempts);
        before.orders.append(&mut self.orders);
        before.notice = self.notice.take().or(before.notice);
        before.is_changed |= self.is_changed;
        *self = before;
    }
}

pub(super) type Saving = BoxFuture<'static, (Unsaved, Result<SavedProgress, StoreError>)>;
pub(super) type Fetching = BoxFuture<'static, (Source, Result<EventPage, ServiceError>)>;

/// The time of a delivery: the database's time at its start, and what has passed since. A clock of the database that is set
/// back or forward later neither delays nor hurries a pause.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started_at: Timestamp,
    started: Instant,
}

impl Clock {
    pub(super) fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }
}

/// The delivery to one endpoint.
pub(crate) struct Delivery {
    pub(super) parts: Parts,
    pub(super) endpoint: WebhookEndpoint,
    pub(super) target: Target,
    pub(super) principal: Arc<Principal>,
    pub(super) live: Reader,
    pub(super) replay: Option<(Timestamp, Reader)>,
    pub(super) queue: Queue,
    pub(super) stored: Stored,
    pub(super) health: Health,
    pub(super) clock: Clock,
    pub(super) log: LogWatch,
    /// Whether the live reader has seen the end of the log.
    pub(super) is_at_end: bool,
    pub(super) sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    pub(super) fetching: Option<Fetching>,
    /// The reader whose events were read last.
    pub(super) last_read: Source,
    /// Whether the page being read is to be dropped.
    pub(super) drops_page: bool,
    pub(super) saving: Option<Saving>,
    pub(super) unsaved: Unsaved,
    /// Whether the queue was dropped, and the readers begin again when nothing is being sent.
    pub(super) restarts: bool,
    pub(super) tries: HashMap<String, u32>,
    pub(super) saved_cursor: u64,
    pub(super) next_save: Instant,
    pub(super) next_idle_save: Instant,
    pub(super) next_fetch: Instant,
    pub(super) next_send: Instant,
}

impl Delivery {
    /// Reads the state of the endpoint. `None` if this gateway does not hold it.
    pub(crate) async fn load(parts: Parts) -> Result<Option<Self>, StoreError> {
        let inner = &parts.webhooks.0;
        let Some(state) = inner.store.webhook_delivery(parts.holder, parts.id, MAX_READ).await? else {
            return Ok(None);
        };
        let DeliveryState { endpoint, acked, replay_acked, waiting } = state;
        let keys = &inner.config.secret_keys;
        if let Some(secrets) = keys.reencrypt(endpoint.id, &endpoint.secrets) {
            inner.store.reencrypt_webhook_secrets(endpoint.id, &endpoint.secrets, &secrets).await?;
        }
        let principal = events_reader(&endpoint);
        let replay = endpoint.replay.map(|replay| {
            (replay.started_at, Reader::new(replay.position, &replay_acked, Some(replay.last)))
        });
        let now = Instant::now();
        let clock = Clock { started_at: inner.store.now(), started: now };
        Ok(Some(Self {
            target: Target::new(&endpoint, &inner.config),
            principal: Arc::new(principal),
            live: Reader::new(endpoint.position, &acked, None),
            replay,
            queue: Queue::default(),
            stored: Stored::new(waiting),
            health: Health::new(health_of(&endpoint, clock.now())),
            clock,
            log: inner.event_log.watch(),
            is_at_end: false,
            sending: FuturesUnordered::new(),
            fetching: None,
            last_read: Source::Replay,
            drops_page: false,
            saving: None,
            unsaved: Unsaved::default(),
            restarts: false,
            tries: HashMap::new(),
            saved_cursor: endpoint.position,
            next_save: now,
            next_idle_save: now + IDLE_SAVE,
            next_fetch: now,
            next_send: now,
            endpoint,
            parts,
        }))
    }

    pub(super) fn settle_position(&mut self, source: Source, position: u64) {
        match source {
            Source::Live => self.live.settle(position),
            Source::Replay => {
                if let Some((_, reader)) = &mut self.replay {
                    reader.settle(position);
                }
            }
        }
    }

    /// Drops the queue, so that the readers begin again after what is being sent.
    pub(super) fn restart(&mut self) {
        self.queue.clear();
        self.restarts = true;
    }
}

/// Returns the health with which a delivery begins. A probe that is further away than any pause was set by a clock that was
/// ahead.
pub(super) fn health_of(endpoint: &WebhookEndpoint, now: Timestamp) -> WebhookHealth {
    WebhookHealth {
        state: endpoint.state,
        disabled_reason: endpoint.disabled_reason,
        failing_since: endpoint.failing_since,
        failures: endpoint.failures,
        warnings: endpoint.warnings,
        last_error: endpoint.last_error.clone(),
        due_at: endpoint.due_at.min(now + schedule::MAX_RETRY_AFTER),
    }
}
