//! Counts the connections of a process over all its ports, and closes idle ones.
//!
//! When all slots are taken, the connections that were idle longest are closed. Clients that hold connections without
//! using them therefore cannot exclude others. A connection with an open request, stream or websocket is never closed
//! for this reason.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::handshake::Handshakes;
use crate::Config;
use crate::address_limiter::{AddressLimiter, AddressPermit, exempt};
use crate::buffer_limits::BufferLimits;

/// Interval of the search for idle connections while a client waits for a slot.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Reciprocal of the share of all connections that one search closes.
///
/// A search reads all connections, so it closes several at once.
const CLOSED_TOGETHER: usize = 64;

/// The connections of a process and their limits, shared by all its listeners.
#[derive(Debug)]
pub struct Connections {
    pub(super) limits: Config,
    slots: Arc<Semaphore>,
    addresses: Arc<AddressLimiter>,
    open: Mutex<Open>,
    started: Instant,
    buffers: BufferLimits,
    pub(super) handshakes: Handshakes,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, Arc<Activity>>,
}

impl Connections {
    /// Creates the limits for all listeners that share the value.
    pub fn new(limits: &Config) -> Arc<Self> {
        Self::sharing(limits, BufferLimits::new(limits))
    }

    /// Creates the limits with memory budgets that other components share.
    pub fn sharing(limits: &Config, buffers: BufferLimits) -> Arc<Self> {
        Arc::new(Self {
            buffers,
            handshakes: Handshakes::default(),
            slots: Arc::new(Semaphore::new(limits.max_connections)),
            addresses: AddressLimiter::new(usize::MAX, limits.max_connections_per_address()),
            open: Mutex::default(),
            started: Instant::now(),
            limits: limits.clone(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot, and closes idle connections if none is free.
    pub(super) async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return slot;
        }
        loop {
            self.close_idle();
            // By the next search, another connection can have become idle.
            if let Ok(slot) = tokio::time::timeout(LOOK_AGAIN, self.slots.clone().acquire_owned()).await {
                return slot.expect("the semaphore is never closed");
            }
        }
    }

    /// Closes the connections that were idle longest.
    fn close_idle(&self) {
        let open = self.open();
        let mut idle: Vec<(u64, &Arc<Activity>)> =
            open.by_number.values().filter_map(|activity| Some((activity.idle_since()?, activity))).collect();
        let most = (self.limits.max_connections / CLOSED_TOGETHER).max(1).min(idle.len());
        if most == 0 {
            return;
        }
        idle.select_nth_unstable_by_key(most - 1, |(since, _)| *since);
        for (_, activity) in &idle[..most] {
            // The connection no longer counts as idle, so the next search finds another one.
            activity.running.fetch_add(1, Ordering::Relaxed);
            activity.make_room.notify_one();
            counter!("orders_http_rejections_total", "reason" => "connections").increment(1);
        }
    }

    /// Returns the address, if it has separate limits.
    pub(super) fn limited_address(&self, ip: IpAddr) -> Option<IpAddr> {
        Some(ip).filter(|ip| !exempt(*ip, &self.limits))
    }

    /// Registers a connection; `None` if its address has reached its limit.
    pub(super) fn acquire(self: &Arc<Self>, ip: IpAddr, slot: OwnedSemaphorePermit) -> Option<Connection> {
        let place = self.addresses.acquire(self.limited_address(ip)).ok()?;
        let activity = Arc::new(Activity::new(self.started, &self.buffers));
        let mut open = self.open();
        open.next += 1;
        let number = open.next;
        open.by_number.insert(number, activity.clone());
        drop(open);
        Some(Connection { connections: Arc::clone(self), number, activity, _slot: slot, _place: place })
    }
}

fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// An accepted connection; the drop releases its slot.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Arc<Connections>,
    number: u64,
    pub(super) activity: Arc<Activity>,
    _slot: OwnedSemaphorePermit,
    _place: AddressPermit,
}

impl Connection {
    /// Returns the duration of a step of [`crate::buffer_limits::ReadDeadline`].
    pub(super) fn message_timeout(&self) -> Duration {
        self.connections.limits.request_read_timeout
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.open().by_number.remove(&self.number);
    }
}

/// The activity of one connection. Its task writes it, except for the streams of HTTP/2.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Number of open requests, streams and websockets.
    running: AtomicUsize,
    /// Start of the idle time in microseconds since `started`; not valid while something is running.
    idle_since: AtomicU64,
    /// HTTP/1: the complete response is in the buffer of the connection.
    answered: AtomicBool,
    /// The client has sent the connection preface of HTTP/2.
    greeted: AtomicBool,
    /// Notified when another client needs the slot.
    pub(super) make_room: Notify,
    pub(super) buffers: BufferLimits,
    /// HTTP/1: reserved bytes of responses that the kernel has not taken yet.
    unsent: AtomicUsize,
    /// The connection is upgraded to a websocket.
    upgraded: AtomicBool,
}

impl Activity {
    fn new(started: Instant, buffers: &BufferLimits) -> Self {
        Self {
            started,
            buffers: buffers.clone(),
            unsent: AtomicUsize::new(0),
            upgraded: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            idle_since: AtomicU64::new(micros_since(started)),
            answered: AtomicBool::new(false),
            greeted: AtomicBool::new(false),
            make_room: Notify::new(),
        }
    }

    pub(super) fn begin(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        if self.running.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.idle_since.store(micros_since(self.started), Ordering::Relaxed);
        }
    }

    /// Lets the next [`Self::flushed`] end the request that [`Self::begin`] started (HTTP/1).
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Reserves bytes until the next [`Self::flushed`] (HTTP/1); `false` when they do not fit.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        let fits = self.buffers.responses.take(bytes, 0);
        if fits {
            self.unsent.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Records that the kernel has taken all written bytes.
    pub(super) fn flushed(&self) {
        if self.unsent.load(Ordering::Relaxed) > 0 {
            self.buffers.responses.release(self.unsent.swap(0, Ordering::Relaxed));
        }
        if self.answered.load(Ordering::Relaxed) {
            self.answered.store(false, Ordering::Relaxed);
            self.end();
        }
    }

    pub(super) fn greeted(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_greeted(&self) -> bool {
        self.greeted.load(Ordering::Relaxed)
    }

    fn idle_since(&self) -> Option<u64> {
        (self.running.load(Ordering::Relaxed) == 0).then(|| self.idle_since.load(Ordering::Relaxed))
    }

    /// Returns the idle time; `None` while something is running.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let since = self.idle_since()?;
        Some(Duration::from_micros(micros_since(self.started).saturating_sub(since)))
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.buffers.responses.release(*self.unsent.get_mut());
    }
}

#[cfg(test)]
impl Activity {
    pub(super) fn for_tests() -> Arc<Self> {
        Arc::new(Self::new(Instant::now(), &BufferLimits::new(&crate::Config::default())))
    }
}

/// An open request, stream or websocket of a connection; the drop ends it.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Running {
    /// Starts it.
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.begin();
        Self::begun(activity)
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.0
    }

    /// Takes over one that [`Activity::begin`] has started.
    pub(super) fn begun(activity: &Arc<Activity>) -> Self {
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
    }
}
