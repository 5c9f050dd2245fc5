//! The loop of a subscriber: takes the lease, reads pages, handles their events and commits. After a lost lease, it takes a new
//! one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::LeaseToken;
use proto::v1;
use telemetry::LogThrottle;
use tokio::select;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::calls::{Calls, Commit, Refusal};
use crate::config::{Config, OnExpired};
use crate::error::Error;
use crate::event::Event;
use crate::handler::EventHandler;
use crate::metrics;
use crate::run_handler::run_handler;
use crate::session::{Lost, Session};

/// The maximum pause between two attempts to take a lease. It is short, because the holder can end its lease early.
const MAX_TAKE_PAUSE: Duration = Duration::from_secs(5);
/// The minimum of it.
const MIN_TAKE_PAUSE: Duration = Duration::from_millis(100);
/// The pause after a lost lease.
const LOST_PAUSE: Duration = Duration::from_millis(500);
/// The maximum duration of the last commit, at shutdown.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// The reason why the work of a session ended.
enum Ended {
    Stopped,
    Lost,
}

pub(crate) struct Worker {
    config: Config,
    calls: Arc<Calls>,
    handler: Arc<dyn EventHandler>,
    session: Mutex<Option<Arc<Session>>>,
}

impl Worker {
    pub(crate) fn new(config: Config, calls: Calls, handler: Arc<dyn EventHandler>) -> Self {
        Self { config, calls: Arc::new(calls), handler, session: Mutex::new(None) }
    }

    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let stopping = async {
            shutdown.await;
            stop.cancel();
            sleep(self.config.shutdown_timeout).await;
        };
        let result = select! {
            result = self.work(&stop) => result,
            () = stopping => {
                tracing::warn!("the handler did not end within the shutdown timeout, its event is delivered again");
                Ok(())
            }
        };
        self.config.health.set_lease(false);
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = session {
            match timeout(RELEASE_TIMEOUT, session.commit(None, true)).await {
                Ok(Ok(())) => {}
                Ok(Err(Lost)) | Err(_) => {
                    tracing::warn!("failed to commit the last cursor, its events are delivered again");
                }
            }
        }
        result
    }

    /// Takes the lease again and again.
    async fn work(&self, stop: &CancellationToken) -> Result<(), Error> {
        loop {
            let Some((session, page)) = self.take(stop).await? else { return Ok(()) };
            let session = Arc::new(session);
            self.hold(Some(session.clone()));
            let ended = select! {
                () = session.keep() => Ended::Lost,
                ended = self.pages(&session, page, stop) => ended?,
            };
            match ended {
                Ended::Stopped => return Ok(()),
                Ended::Lost => {
                    self.hold(None);
                    metrics::count_lost_lease(&self.config.reader);
                    tracing::warn!(
                        reader = self.config.reader,
                        "the lease of the reader is lost, taking it again"
                    );
                    select! {
                        () = sleep(LOST_PAUSE) => {}
                        () = stop.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    fn hold(&self, session: Option<Arc<Session>>) {
        self.config.health.set_lease(session.is_some());
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    /// Waits for the lease, and returns it with the first page. `None` if the subscriber stops.
    async fn take(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<(Session, v1::ReadEventsResponse)>, Error> {
        let (holder, log) = (LeaseToken::random().to_string(), LogThrottle::default());
        loop {
            let read = select! {
                read = self.calls.read(&holder) => read,
                () = stop.cancelled() => return Ok(None),
            };
            let left = match read {
                Ok((page, sent_at)) => {
                    let session = Session::new(self.calls.clone(), holder, self.config.lease, &page, sent_at);
                    tracing::info!(reader = self.config.reader, "this process has the lease of the reader");
                    return Ok(Some((session, page)));
                }
                Err(Refusal::Leased(left)) => left,
                Err(Refusal::Stale) => Duration::ZERO,
                Err(Refusal::Expired(oldest)) => {
                    self.check_expired(&oldest)?;
                    let commit = Commit { cursor: oldest, ..Commit::default() };
                    match self.calls.commit(&holder, commit).await {
                        Err(Refusal::Final(message)) => return Err(Error::Refused(message)),
                        // The next read tells what has happened.
                        Ok(_) | Err(Refusal::Leased(_) | Refusal::Stale | Refusal::Expired(_)) => continue,
                    }
                }
                Err(Refusal::Final(message)) => return Err(Error::Refused(message)),
            };
            if let Some(more) = log.allow() {
                tracing::info!(
                    reader = self.config.reader,
                    more,
                    "another process has the lease of the reader, waiting"
                );
            }
            select! {
                () = sleep(left.clamp(MIN_TAKE_PAUSE, MAX_TAKE_PAUSE)) => {}
                () = stop.cancelled() => return Ok(None),
            }
        }
    }

    /// Decides whether to continue after events that are missing.
    fn check_expired(&self, oldest: &str) -> Result<(), Error> {
        if self.config.on_expired == OnExpired::Stop {
            return Err(Error::Expired { oldest: oldest.to_owned() });
        }
        let reader = &self.config.reader;
        tracing::error!(reader, oldest, "events are missing for the reader, continuing with the oldest one");
        Ok(())
    }

    /// Handles pages until the lease is lost or the subscriber stops.
    async fn pages(
        &self,
        session: &Arc<Session>,
        mut page: v1::ReadEventsResponse,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        loop {
            if let Some(ended) = self.page(session, page, stop).await? {
                return Ok(ended);
            }
            let read = select! {
                read = self.calls.read(&session.holder) => read,
                () = stop.cancelled() => return Ok(Ended::Stopped),
            };
            page = match read {
                Ok((page, sent_at)) => {
                    session.renewed(sent_at);
                    page
                }
                Err(Refusal::Leased(_) | Refusal::Stale) => return Ok(Ended::Lost),
                Err(Refusal::Expired(oldest)) => {
                    self.check_expired(&oldest)?;
                    v1::ReadEventsResponse { next: oldest, ..v1::ReadEventsResponse::default() }
                }
                Err(Refusal::Final(message)) => return Err(Error::Refused(message)),
            };
        }
    }

    async fn page(
        &self,
        session: &Arc<Session>,
        page: v1::ReadEventsResponse,
        stop: &CancellationToken,
    ) -> Result<Option<Ended>, Error> {
        let reader = &self.config.reader;
        for event in page.events {
            let (cursor, event) = (event.cursor.clone(), Event::parse(event)?);
            if !run_handler(&self.config, &*self.handler, &event, session, stop).await {
                return Ok(Some(Ended::Stopped));
            }
            session.applied(cursor);
            if session.is_commit_due(self.config.commit_interval)
                && session.commit(None, false).await.is_err()
            {
                return Ok(Some(Ended::Lost));
            }
        }
        if !page.next.is_empty() {
            session.applied(page.next);
        }
        if session.is_commit_due(Duration::ZERO) && session.commit(None, false).await.is_err() {
            return Ok(Some(Ended::Lost));
        }
        metrics::set_lag(reader, 0.0);
        Ok(None)
    }
}
