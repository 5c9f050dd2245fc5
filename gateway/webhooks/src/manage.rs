//! Creates, lists, changes and removes endpoints, and sends single messages to them.

use std::time::Duration;

use domain::{EndpointId, EndpointState, Principal, Scope, TenantId, strings};
use gateway_store::{
    EndpointChange, EndpointSettings, EndpointUpdate, KeyActor, LogLag, MessageCounts, WebhookEndpoint,
};
use webhook::{EndpointUrl, Secret};

use crate::Webhooks;
use crate::error::WebhookError;
use crate::limits::{MAX_CONCURRENCY, MAX_CUSTOMER, MAX_DESCRIPTION, MAX_OVERLAP, MAX_RATE};
use crate::secrets::EndpointSecrets;
use crate::settings::{EndpointChanges, NewEndpoint};

/// Tries of a change that another user has overtaken.
const TRIES: usize = 5;

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
    /// How far its cursor is behind the end of the log: at most as many events are not delivered.
    pub lag: LogLag,
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
        self.change(caller, id, request_id, |_| Ok(EndpointUpdate::Enable)).await
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
        let lag = self.0.store.event_log_lag(endpoint.position).await?;
        let messages = self.0.store.webhook_message_counts(Some(endpoint.id)).await?;
        Ok(EndpointStatus { endpoint, lag, messages })
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
