//! Sends the mail for an event.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::Message;
use subscriber::{Delivery, Event, EventHandler, EventType, EventTypes, Retry, async_trait};
use tokio::time::Instant;

use crate::Config;
use crate::error::Error;
use crate::message::{Sender, build};
use crate::metrics::{self, Outcome};
use crate::recipients::{Addressed, MAX_STAFF, Recipients};
use crate::smtp::{Client, Failure, SmtpUrl};
use crate::templates::Templates;

/// The handler that sends one mail for each event with recipients.
pub struct EmailHandler {
    sender: Sender,
    recipients: Recipients,
    templates: Templates,
    refusal_timeout: Duration,
    client: tokio::sync::Mutex<Client>,
    /// The event that the server refuses for now, since when.
    refused: Mutex<Option<(String, Instant)>>,
    /// The server of the next mail, after its URL has changed.
    changed: Mutex<Option<SmtpUrl>>,
}

impl EmailHandler {
    /// Checks the settings and the templates. The server is not contacted.
    ///
    /// # Errors
    /// [`Error`].
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { server, sender, customer, staff, templates, refusal_timeout } = config;
        if staff.len() > MAX_STAFF {
            return Err(Error::TooManyRecipients(staff.len()));
        }
        let recipients = Recipients { customer, staff };
        let types: Vec<EventType> = EventType::ALL.into_iter().filter(|kind| recipients.has(*kind)).collect();
        if types.is_empty() {
            return Err(Error::NoRecipients);
        }
        metrics::describe();
        Ok(Self {
            templates: Templates::load(templates.as_deref(), &types)?,
            client: tokio::sync::Mutex::new(Client::new(&server, sender.0.email.domain())?),
            sender,
            recipients,
            refusal_timeout,
            refused: Mutex::new(None),
            changed: Mutex::new(None),
        })
    }

    /// Returns the types of events that have recipients.
    pub fn types(&self) -> EventTypes {
        EventType::ALL.into_iter().filter(|kind| self.recipients.has(*kind)).collect()
    }

    /// Uses another server from the next mail on.
    pub fn replace_server(&self, server: &SmtpUrl) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
    }

    /// Returns the mail for an event; `None` if there is none.
    fn mail(&self, event: &Event) -> Option<(Addressed, Message)> {
        let recipients = self.recipients.of(event);
        let Some((recipients, _order)) = recipients.zip(event.order.as_ref()) else {
            tracing::debug!(event = event.id, "no recipient of the event has an address");
            metrics::count(Outcome::NoRecipient);
            return None;
        };
        let rendered =
            self.templates.render(event).map_err(|(template, error)| format!("{template}: {error}"));
        let mail = rendered.and_then(|rendered| {
            build(&self.sender, event, &recipients, rendered).map_err(|error| error.to_string())
        });
        match mail {
            Ok(message) => Some((recipients, message)),
            Err(error) => {
                tracing::error!(event = event.id, error, "failed to render an e-mail, it is not sent");
                metrics::count(Outcome::FailedToRender);
                None
            }
        }
    }

    async fn send(
        &self,
        event: &Event,
        delivery: &Delivery,
        recipients: &Addressed,
        message: &[u8],
    ) -> Result<(), Undelivered> {
        let mut client = self.client.lock().await;
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = changed {
            client
                .replace(&server)
                .map_err(|error| Undelivered::Failed(Failure::Server(error.to_string())))?;
        }
        let prepared = client.prepare(&self.sender.0.email, &recipients.all).await;
        let prepared = prepared.map_err(Undelivered::Failed)?;
        for (_, answer) in &prepared.rejected {
            tracing::warn!(
                event = event.id,
                answer,
                "the server rejects a recipient of an e-mail, the others get it"
            );
        }
        delivery.mark().await.map_err(Undelivered::Unmarked)?;
        client.send(prepared, message).await.map_err(Undelivered::Failed)
    }

    /// Decides what follows a failure: `Ok` if the mail is given up.
    async fn after(&self, failure: Failure, event: &Event, delivery: &Delivery) -> Result<(), Retry> {
        let event = &event.id;
        match failure {
            Failure::Unknown(cause) => {
                tracing::warn!(event, cause, "the connection broke while an e-mail was sent, it may be lost");
                metrics::count(Outcome::Unknown);
                Ok(())
            }
            Failure::Rejected(answer) => {
                tracing::warn!(event, answer, "the server rejects an e-mail");
                metrics::count(Outcome::Rejected);
                Ok(())
            }
            Failure::Deferred(answer) if self.is_refused_for_long(event) => {
                tracing::error!(event, answer, "the server refuses an e-mail for too long, it is given up");
                metrics::count(Outcome::GivenUp);
                Ok(())
            }
            Failure::Deferred(cause) | Failure::Server(cause) => {
                if delivery.is_marked() {
                    delivery.clear_mark().await?;
                }
                Err(Retry::new(format!("the e-mail cannot be sent now: {cause}")))
            }
        }
    }

    fn is_refused_for_long(&self, event: &str) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match &*refused {
            Some((refused, since)) if refused == event => since.elapsed() >= self.refusal_timeout,
            _ => {
                *refused = Some((event.to_owned(), Instant::now()));
                self.refusal_timeout.is_zero()
            }
        }
    }
}

/// Why a mail was not sent.
enum Undelivered {
    Failed(Failure),
    /// The mark could not be stored, so nothing was sent.
    Unmarked(Retry),
}

#[async_trait]
impl EventHandler for EmailHandler {
    async fn handle(&self, event: &Event, delivery: &Delivery) -> Result<(), Retry> {
        if delivery.is_marked() {
            tracing::warn!(event = event.id, "the process ended while an e-mail was sent, it may be lost");
            metrics::count(Outcome::Unknown);
            return Ok(());
        }
        let Some((recipients, message)) = self.mail(event) else { return Ok(()) };
        match self.send(event, delivery, &recipients, &message.formatted()).await {
            Ok(()) => {
                metrics::count(Outcome::Sent);
                Ok(())
            }
            Err(Undelivered::Failed(failure)) => self.after(failure, event, delivery).await,
            Err(Undelivered::Unmarked(retry)) => Err(retry),
        }
    }
}
