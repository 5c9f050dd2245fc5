//! Single messages of an endpoint: tests, events that are sent again, and the records of what was sent.

use domain::{EndpointId, OrderId, Principal};
use gateway_store::{WebhookAttempt, WebhookEndpoint, WebhookMessage};

use crate::Webhooks;
use crate::body;
use crate::error::WebhookError;
use crate::principal::events_reader;
use crate::send::{Target, send_now};

impl Webhooks {
    /// Sends `webhook.ping` to an endpoint now, also to a disabled one, and returns the attempt.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn test(&self, caller: &Principal, id: EndpointId) -> Result<WebhookAttempt, WebhookError> {
        let endpoint = self.find(caller, id).await?;
        let now = self.0.store.now();
        let message = body::ping(&endpoint, format!("ping-{}", OrderId::new(now)), now);
        self.send(&endpoint, &message).await
    }

    /// Sends an event to an endpoint again now, whatever the endpoint selects, and returns the attempt.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn resend(
        &self,
        caller: &Principal,
        id: EndpointId,
        event_id: &str,
    ) -> Result<WebhookAttempt, WebhookError> {
        let endpoint = self.find(caller, id).await?;
        let no_event = || WebhookError::NoEvent(event_id.chars().take(64).collect());
        let (order, sequence) = parse_event_id(event_id).ok_or_else(no_event)?;
        let tenant = events_reader(&endpoint);
        let event = self.0.event_log.event(&tenant, order, sequence).await?.ok_or_else(no_event)?;
        self.send(&endpoint, &body::event(&endpoint, &event)).await
    }

    /// Reads up to `limit` attempts of an endpoint before one, newest first.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn attempts(
        &self,
        caller: &Principal,
        id: EndpointId,
        succeeded: Option<bool>,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<WebhookAttempt>, WebhookError> {
        self.find(caller, id).await?;
        Ok(self.0.store.webhook_attempts(id, succeeded, before, limit).await?)
    }

    /// Reads up to `limit` messages of an endpoint that wait for another attempt or have failed, by their ids.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn messages(
        &self,
        caller: &Principal,
        id: EndpointId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<WebhookMessage>, WebhookError> {
        self.find(caller, id).await?;
        Ok(self.0.store.webhook_messages(id, after, limit).await?)
    }

    async fn send(
        &self,
        endpoint: &WebhookEndpoint,
        message: &body::Message,
    ) -> Result<WebhookAttempt, WebhookError> {
        let target = Target::new(endpoint, &self.0.config);
        if !target.has_secrets() {
            return Err(WebhookError::WrongSecretKey);
        }
        Ok(send_now(&self.0.store, &self.0.client, &target, endpoint.id, message).await?)
    }
}

/// Parses the id of an event: the order and the sequence.
fn parse_event_id(id: &str) -> Option<(OrderId, u32)> {
    let (order, sequence) = id.rsplit_once('-')?;
    let is_number = sequence.bytes().all(|byte| byte.is_ascii_digit());
    Some((order.parse().ok()?, sequence.parse().ok().filter(|sequence| *sequence > 0 && is_number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_parsed() {
        let order: OrderId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(parse_event_id(&format!("{order}-3")), Some((order, 3)));
        for id in [
            "",
            "-1",
            &order.to_string(),
            &format!("{order}-0"),
            &format!("{order}-+1"),
            &format!("{order}-x"),
        ] {
            assert_eq!(parse_event_id(id), None, "{id}");
        }
        let wait = crate::send::TIMEOUT_OF_USER.as_secs();
        limits_page::row("test or resend of a webhook message", &format!("{wait} s"));
    }
}
