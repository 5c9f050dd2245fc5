//! One delivery of an event to the handler, and the mark of its effect.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::retry::Retry;
use crate::session::{Lost, Session};

/// One delivery of an event: its mark, and the end of the subscriber.
pub struct Delivery {
    id: String,
    marks: Marks,
    stop: CancellationToken,
}

/// Where the mark is stored.
enum Marks {
    Session(Arc<Session>),
    Memory(Mutex<String>),
}

impl Delivery {
    pub(crate) fn new(event: &Event, session: Arc<Session>, stop: CancellationToken) -> Self {
        Self { id: event.id.clone(), marks: Marks::Session(session), stop }
    }

    /// Creates a delivery without a gateway, whose mark is in memory. For tests of handlers.
    pub fn detached(event: &Event) -> Self {
        let marks = Marks::Memory(Mutex::new(String::new()));
        Self { id: event.id.clone(), marks, stop: CancellationToken::new() }
    }

    /// Stores durably that the effect of this event begins now.
    ///
    /// For an effect that cannot be repeated, such as an e-mail: the handler sets the mark, and then causes the effect. If
    /// the process ends in between, the next delivery [`is_marked`](Self::is_marked), and the handler does not cause it
    /// again. So the effect happens at most once; it is lost if the process ended between the mark and the effect.
    ///
    /// # Errors
    /// [`Retry`] if the lease of the reader is lost. The effect must not begin.
    pub async fn mark(&self) -> Result<(), Retry> {
        self.set_mark(self.id.clone()).await
    }

    /// Removes the mark, after the effect has failed for certain.
    ///
    /// # Errors
    /// [`Retry`] if the lease of the reader is lost.
    pub async fn clear_mark(&self) -> Result<(), Retry> {
        self.set_mark(String::new()).await
    }

    /// Returns whether the effect of this event has begun, in this or an earlier process.
    pub fn is_marked(&self) -> bool {
        match &self.marks {
            Marks::Session(session) => session.mark() == self.id,
            Marks::Memory(mark) => *mark.lock().unwrap_or_else(PoisonError::into_inner) == self.id,
        }
    }

    /// Returns a token that fires when the subscriber shuts down. The handler then has
    /// [`Config::shutdown_timeout`](crate::Config::shutdown_timeout) to finish, and may ignore it.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.stop
    }

    async fn set_mark(&self, mark: String) -> Result<(), Retry> {
        match &self.marks {
            Marks::Session(session) => {
                let committed = session.commit(Some(mark), false).await;
                committed.map_err(|Lost| Retry::new("the lease of the reader is lost"))
            }
            Marks::Memory(stored) => {
                *stored.lock().unwrap_or_else(PoisonError::into_inner) = mark;
                Ok(())
            }
        }
    }
}
