//! Creates, lists, changes and removes endpoints, and sends single messages to them.

use std::time::Duration;

use domain::{
    Currency, EndpointId, EndpointState, OrderId, Principal, Scope, TenantId, WebhookFormat, WebhookPayload,
    WebhookTypes, strings,
};
use gateway_store::{
    EndpointChange, EndpointSettings, EndpointUpdate, KeyActor, MessageCounts, WebhookAttempt,
    WebhookEndpoint, WebhookMessage,
};
use webhook::{EndpointUrl, Secret};

use crate::Webhooks;
use crate::body;
use crate::error::WebhookError;
use crate::limits::{
    DEFAULT_CONCURRENCY, MAX_CONCURRENCY, MAX_CUSTOMER, MAX_DESCRIPTION, MAX_OVERLAP, MAX_RATE,
};
use crate::principal::events_reader;
use crate::secrets::EndpointSecrets;
use crate::send::{Target, send_now};

/// Tries of a change that another user has overtaken.
const TRIES: usize = 5;

/// An endpoint to create.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Where messages are sent.
    pub url: String,
    /// A note of its user.
    pub description: String,
    /// The types of messages.
    pub types: WebhookTypes,
    /// Only events of orders of this customer.
    pub customer: Option<String>,
    /// Only events of orders in this currency.
    pub currency: Option<Currency>,
    /// What a body contains.
    pub payload: WebhookPayload,
    /// The form of a body.
    pub format: WebhookFormat,
    /// Maximum number of requests in a second.
    pub rate_per_s: Option<u32>,
    /// Maximum number of requests at once.
    pub concurrency: u32,
    /// The secret; a random one if absent.
    pub secret: Option<String>,
}

impl NewEndpoint {
    /// Returns an endpoint for every event, with the defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            description: String::new(),
            types: WebhookTypes::DEFAULT,
            customer: None,
            currency: None,
            payload: WebhookPayload::Full,
            format: WebhookFormat::Standard,
            rate_per_s: None,
            concurrency: DEFAULT_CONCURRENCY,
            secret: None,
        }
    }
}

/// Changes of an endpoint: `None` keeps a value, `Some(None)` removes it.
#[derive(Debug, Clone, Default)]
pub struct EndpointChanges {
    /// Where messages are sent.
    pub url: Option<String>,
    /// A note of its user.
    pub description: Option<String>,
    /// The types of messages.
    pub types: Option<WebhookTypes>,
    /// Only events of orders of this customer.
    pub customer: Option<Option<String>>,
    /// Only events of orders in this currency.
    pub currency: Option<Option<Currency>>,
    /// What a body contains.
    pub payload: Option<WebhookPayload>,
    /// The form of a body.
    pub format: Option<WebhookFormat>,
    /// Maximum number of requests in a second.
    pub rate_per_s: Option<Option<u32>>,
    /// Maximum number of requests at once.
    pub concurrency: Option<u32>,
}

impl From<&NewEndpoint> for EndpointChanges {
    fn from(new: &NewEndpoint) -> Self {
        Self {
            url: Some(new.url.clone()),
            description: Some(new.description.clone()),
            types: Some(new.types),
            customer: Some(new.customer.clone()),
            currency: Some(new.currency),
            payload: Some(new.payload),
            format: Some(new.format),
            rate_per_s: Some(new.rate_per_s),
            concurrency: Some(new.concurrency),
        }
    }
}

/// A rotation of the secret.
#[derive(Debug, Clone)]
pub struct RotateSecret {
    /// The new secret; a random one if absent.
    pub secret: Option<String>,
    /// The time for which the old one signs as well.
    pub overlap: Duration,
}

/// An endpoint and its secret, which is shown once.
#[derive(Debug)]
pub struct CreatedEndpoint {
    /// The endpoint.
    pub endpoint: EndpointStatus,
    /// The secret.
    pub secret: Secret,
}

/// An endpoint with its progress.
#[derive(Debug, Clone)]
pub struct EndpointStatus {
    /// The stored endpoint.
    pub endpoint: WebhookEndpoint,
    /// Events of the log after its cursor, of all types and tenants: at most as many are not delivered.
    pub lag_events: u64,
    /// The age of the oldest of them.
    pub lag: Duration,
    /// Messages that are sent besides.
    pub messages: MessageCounts,
}

impl Webhooks {
    /// Creates an endpoint of the caller's tenant. It receives the events from now on.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn create(
        &self,
        caller: &Principal,
        new: NewEndpoint,
        request_id: Option<String>,
    ) -> Result<CreatedEndpoint, WebhookError> {
        caller.require(Scope::WebhooksManage)?;
        self.check_log()?;
        let (store, keys) = (&self.0.store, &self.0.config.secret_keys);
        let secret = parse_secret(new.secret.as_deref())?;
        self.check(&EndpointChanges::from(&new))?;
        let settings = EndpointSettings {
            description: new.description,
            url: new.url,
            types: new.types,
            customer: new.customer,
            currency: new.currency,
            payload: new.payload,
            format: new.format,
            rate_per_s: new.rate_per_s,
            concurrency: new.concurrency,
        };
        let now = store.now();
        let id = EndpointId::new(now);
        let secrets = keys.seal(id, &EndpointSecrets::new(&secret)).ok_or(WebhookError::NoSecretKey)?;
        let endpoint = WebhookEndpoint {
            id,
            tenant: caller.tenant.clone(),
            settings,
            secrets,
            created_at: now,
            created_by: caller.name.to_string(),
            version: 1,
            state: EndpointState::Active,
            disabled_reason: None,
            failing_since: None,
            failures: 0,
            warnings: 0,
            last_error: None,
            due_at: domain::Timestamp::from_micros(0),
            position: self.end_of_log().await?,
            replay: None,
        };
        match store.create_webhook_endpoint(&endpoint, &actor(caller, request_id)).await? {
            EndpointChange::Done => {}
            EndpointChange::LimitReached => return Err(WebhookError::LimitReached),
            EndpointChange::NotFound | EndpointChange::Changed => return Err(WebhookError::Busy),
        }
        self.0.changed.notify_one();
        Ok(CreatedEndpoint { endpoint: self.status(endpoint).await?, secret })
    }

    /// Reads up to `limit` endpoints of the caller's tenant after one, by their ids.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn list(
        &self,
        caller: &Principal,
        after: Option<EndpointId>,
        limit: u32,
    ) -> Result<Vec<EndpointStatus>, WebhookError> {
        caller.require(Scope::WebhooksManage)?;
        let found = self.0.store.webhook_endpoints(tenant(caller), after, limit).await?;
        let mut list = Vec::with_capacity(found.len());
        for endpoint in found {
            list.push(self.status(endpoint).await?);
        }
        Ok(list)
    }

    /// Returns an endpoint.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn get(&self, caller: &Principal, id: EndpointId) -> Result<EndpointStatus, WebhookError> {
        let endpoint = self.find(caller, id).await?;
        self.status(endpoint).await
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn update(
        &self,
        caller: &Principal,
        id: EndpointId,
        changes: &EndpointChanges,
        request_id: Option<String>,
    ) -> Result<EndpointStatus, WebhookError> {
        caller.require(Scope::WebhooksManage)?;
        self.check(changes)?;
        self.change(caller, id, request_id, |endpoint| {
            let mut settings = endpoint.settings.clone();
            let EndpointChanges {
                url,
                description,
                types,
                customer,
                currency,
                payload,
                format,
                rate_per_s,
                concurrency,
            } = changes.clone();
            settings.url = url.unwrap_or(settings.url);
            settings.description = description.unwrap_or(settings.description);
            settings.types = types.unwrap_or(settings.types);
            settings.customer = customer.unwrap_or(settings.customer);
            settings.currency = currency.unwrap_or(settings.currency);
            settings.payload = payload.unwrap_or(settings.payload);
            settings.format = format.unwrap_or(settings.format);
            settings.rate_per_s = rate_per_s.unwrap_or(settings.rate_per_s);
            settings.concurrency = concurrency.unwrap_or(settings.concurrency);
            Ok(EndpointUpdate::Settings(settings))
        })
        .await
    }

    /// Removes an endpoint. Removing an unknown one is [`WebhookError::NotFound`].
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn delete(
        &self,
        caller: &Principal,
        id: EndpointId,
        request_id: Option<String>,
    ) -> Result<(), WebhookError> {
        let endpoint = self.find(caller, id).await?;
        match self.0.store.delete_webhook_endpoint(&endpoint, &actor(caller, request_id)).await? {
            EndpointChange::Done => {
                self.0.changed.notify_one();
                Ok(())
            }
            _ => Err(WebhookError::NotFound(id)),
        }
    }

    /// Gives an endpoint another secret. The ones before sign as well until their end.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn rotate_secret(
        &self,
        caller: &Principal,
        id: EndpointId,
        rotation: &RotateSecret,
        request_id: Option<String>,
    ) -> Result<CreatedEndpoint, WebhookError> {
        let secret = parse_secret(rotation.secret.as_deref())?;
        if rotation.overlap > MAX_OVERLAP {
            return Err(WebhookError::Overlap);
        }
        let keys = &self.0.config.secret_keys;
        let endpoint = self
            .change(caller, id, request_id, |endpoint| {
                if keys.is_empty() {
                    return Err(WebhookError::NoSecretKey);
                }
                let before = keys.open(id, &endpoint.secrets).ok_or(WebhookError::WrongSecretKey)?;
                let now = self.0.store.now();
                let secrets = before.rotated(&secret, now, now + rotation.overlap);
                Ok(EndpointUpdate::Secrets(keys.seal(id, &secrets).ok_or(WebhookError::NoSecretKey)?))
            })
            .await?;
        Ok(CreatedEndpoint { endpoint, secret })
    }

    /// Sends messages to a disabled endpoint again, from its cursor on.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn enable(
        &self,
        caller: &Principal,
        id: EndpointId,
        request_id: Option<String>,
    ) -> Result<EndpointStatus, WebhookError> {
        self.check_log()?;
        self.change(caller, id, request_id, |_| Ok(EndpointUpdate::Enable { position: None })).await
    }

    /// Sends no more messages to an endpoint. Its cursor stays.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn disable(
        &self,
        caller: &Principal,
        id: EndpointId,
        request_id: Option<String>,
    ) -> Result<EndpointStatus, WebhookError> {
        self.change(caller, id, request_id, |_| Ok(EndpointUpdate::Disable)).await
    }

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

    pub(crate) async fn find(
        &self,
        caller: &Principal,
        id: EndpointId,
    ) -> Result<WebhookEndpoint, WebhookError> {
        caller.require(Scope::WebhooksManage)?;
        self.0.store.webhook_endpoint(tenant(caller), id).await?.ok_or(WebhookError::NotFound(id))
    }

    /// Changes an endpoint, again after another user's change.
    pub(crate) async fn change(
        &self,
        caller: &Principal,
        id: EndpointId,
        request_id: Option<String>,
        update: impl Fn(&WebhookEndpoint) -> Result<EndpointUpdate, WebhookError>,
    ) -> Result<EndpointStatus, WebhookError> {
        let actor = actor(caller, request_id);
        for _ in 0..TRIES {
            let endpoint = self.find(caller, id).await?;
            let update = update(&endpoint)?;
            match self.0.store.update_webhook_endpoint(&endpoint, &update, &actor).await? {
                EndpointChange::Done => {
                    self.0.changed.notify_one();
                    return self.get(caller, id).await;
                }
                EndpointChange::NotFound => return Err(WebhookError::NotFound(id)),
                EndpointChange::Changed | EndpointChange::LimitReached => {}
            }
        }
        Err(WebhookError::Busy)
    }

    pub(crate) async fn status(&self, endpoint: WebhookEndpoint) -> Result<EndpointStatus, WebhookError> {
        let store = &self.0.store;
        let next = store.event_log_ends().await?.next;
        let (lag_events, lag) = match store.event_log_time_after(endpoint.position).await? {
            Some(time) => (next.saturating_sub(endpoint.position + 1), store.now().since(time)),
            None => (0, Duration::ZERO),
        };
        let messages = store.webhook_message_counts(Some(endpoint.id)).await?;
        Ok(EndpointStatus { endpoint, lag_events, lag, messages })
    }

    /// Returns the position of the newest event.
    pub(crate) async fn end_of_log(&self) -> Result<u64, WebhookError> {
        Ok(self.0.event_log.newest_position().await?)
    }

    pub(crate) fn check_log(&self) -> Result<(), WebhookError> {
        match self.0.event_log.is_enabled() {
            true => Ok(()),
            false => Err(gateway_service::Error::EventLogDisabled.into()),
        }
    }

    fn check(&self, changes: &EndpointChanges) -> Result<(), WebhookError> {
        self.problems(changes).into_iter().next().map_or(Ok(()), Err)
    }

    /// Returns every value that may not be set.
    pub(crate) fn problems(&self, changes: &EndpointChanges) -> Vec<WebhookError> {
        let url = changes.url.as_deref().and_then(|url| self.check_url(url).err());
        let description = changes.description.as_deref().filter(|description| !description.is_empty());
        let description =
            description.and_then(|description| strings::validate(description, MAX_DESCRIPTION).err());
        let customer = changes.customer.as_ref().and_then(Option::as_deref);
        let customer = customer.and_then(|customer| strings::validate(customer, MAX_CUSTOMER).err());
        let is_rate = |rate| (1..=MAX_RATE).contains(&rate);
        let is_concurrency = |number| (1..=MAX_CONCURRENCY).contains(&number);
        url.into_iter()
            .chain(description.map(WebhookError::Description))
            .chain(customer.map(WebhookError::Customer))
            .chain(changes.rate_per_s.flatten().filter(|rate| !is_rate(*rate)).map(|_| WebhookError::Rate))
            .chain(
                changes
                    .concurrency
                    .filter(|number| !is_concurrency(*number))
                    .map(|_| WebhookError::Concurrency),
            )
            .collect()
    }

    fn check_url(&self, url: &str) -> Result<(), WebhookError> {
        let url = EndpointUrl::parse(url, &self.0.config.allowed_networks).map_err(WebhookError::Url)?;
        self.0.client.check(&url).map_err(|error| WebhookError::NoAuthorities(error.to_string()))
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

/// Returns the tenant whose endpoints a caller may see; `None` for those of all.
fn tenant(caller: &Principal) -> Option<&TenantId> {
    (!caller.all_tenants).then_some(&caller.tenant)
}

pub(crate) fn actor(caller: &Principal, request_id: Option<String>) -> KeyActor {
    let tenant = (!caller.all_tenants).then(|| caller.tenant.clone());
    KeyActor { name: caller.name.to_string(), tenant, request_id }
}

pub(crate) fn parse_secret(given: Option<&str>) -> Result<Secret, WebhookError> {
    given.map_or_else(|| Ok(Secret::generate()), |given| given.parse().map_err(WebhookError::Secret))
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
