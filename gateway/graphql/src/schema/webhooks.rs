//! Queries and mutations of webhook endpoints.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};
use domain::{InvalidEndpointId, Scope};
use gateway_webhooks::{RecoveryRange, WebhookError};

use crate::errors::{bad_input, webhook_error};
use crate::request::RequestId;
use crate::schema::list::{DEFAULT_PAGE, size};
use crate::schema::webhook_input::{
    CreateWebhookEndpointInput, RecoverEventsInput, ResendEventInput, RotateWebhookSecretInput,
    UpdateWebhookEndpointInput, WebhookEndpointInput,
};
use crate::schema::webhook_payloads::{
    DeleteWebhookEndpointPayload, RecoverEventsPayload, WebhookAttemptPayload, WebhookEndpointPayload,
    WebhookSecretPayload, payload, read_id,
};
use crate::schema::webhook_types::{WebhookEndpoint, WebhookEndpointConnection};
use crate::services::{Services, caller};

/// Queries of webhook endpoints.
#[derive(Default)]
pub(crate) struct WebhookQuery;

/// Queries of webhook endpoints.
#[Object]
impl WebhookQuery {
    /// Returns webhook endpoints, sorted by id. Requires the scope `webhooks:manage`.
    async fn webhook_endpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size: 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Cursor: `endCursor` of the previous page.")] after: Option<String>,
    ) -> Option<Result<WebhookEndpointConnection>> {
        Some(endpoints(ctx, first, after.as_deref()).await)
    }

    /// Returns a webhook endpoint by its id; null if it does not exist. Requires the scope `webhooks:manage`.
    async fn webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the endpoint.")] id: ID,
    ) -> Option<Result<WebhookEndpoint>> {
        // A string that is not the id of an endpoint identifies none.
        let id = id.parse().ok()?;
        match services(ctx).webhooks.get(caller(ctx), id).await {
            Ok(status) => Some(Ok(status.into())),
            Err(WebhookError::NotFound(_)) => None,
            Err(error) => Some(Err(webhook_error(error))),
        }
    }
}

async fn endpoints(
    ctx: &Context<'_>,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<WebhookEndpointConnection> {
    let limit = size("first", first.unwrap_or(DEFAULT_PAGE))?;
    let id = after.map(str::parse).transpose();
    let id = id.map_err(|error: InvalidEndpointId| bad_input(format!("after is {error}")))?;
    let mut found = services(ctx).webhooks.list(caller(ctx), id, limit + 1).await.map_err(webhook_error)?;
    let has_next_page = found.len() > limit as usize;
    found.truncate(limit as usize);
    let nodes = found.into_iter().map(WebhookEndpoint::from).collect();
    Ok(WebhookEndpointConnection::new(nodes, has_next_page, after.is_some()))
}

/// Mutations of webhook endpoints.
#[derive(Default)]
pub(crate) struct WebhookMutation;

/// Mutations of webhook endpoints.
#[Object]
impl WebhookMutation {
    /// Creates a webhook endpoint, which receives the events from now on. Requires the scope `webhooks:manage`.
    async fn create_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: CreateWebhookEndpointInput,
    ) -> Option<Result<WebhookSecretPayload>> {
        let webhooks = &services(ctx).webhooks;
        let create = async {
            caller(ctx).require(Scope::WebhooksManage)?;
            let new = webhooks.check_new(input.into())?;
            Ok(webhooks.create(caller(ctx), new, RequestId::of(ctx)).await?)
        };
        Some(payload(create.await))
    }

    /// Changes a webhook endpoint: the fields of the input replace its values, and other values stay. Requires the scope
    /// `webhooks:manage`.
    async fn update_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The changes.")] input: UpdateWebhookEndpointInput,
    ) -> Option<Result<WebhookEndpointPayload>> {
        let webhooks = &services(ctx).webhooks;
        let update = async {
            caller(ctx).require(Scope::WebhooksManage)?;
            let id = read_id(&input.id)?;
            let changes = webhooks.check_changes(input.into())?;
            Ok(webhooks.update(caller(ctx), id, &changes, RequestId::of(ctx)).await?)
        };
        Some(payload(update.await))
    }

    /// Removes a webhook endpoint with its messages and attempts. Requires the scope `webhooks:manage`.
    async fn delete_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: WebhookEndpointInput,
    ) -> Option<Result<DeleteWebhookEndpointPayload>> {
        let delete = async {
            let id = read_id(&input.id)?;
            services(ctx).webhooks.delete(caller(ctx), id, RequestId::of(ctx)).await?;
            Ok(DeleteWebhookEndpointPayload::done(input.id))
        };
        Some(payload(delete.await))
    }

    /// Gives a webhook endpoint another secret. The old one signs as well until the end of the overlap. Requires the
    /// scope `webhooks:manage`.
    async fn rotate_webhook_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint and the options.")] input: RotateWebhookSecretInput,
    ) -> Option<Result<WebhookSecretPayload>> {
        let rotate = async {
            let id = read_id(&input.id)?;
            let rotation = input.read()?;
            Ok(services(ctx).webhooks.rotate_secret(caller(ctx), id, &rotation, RequestId::of(ctx)).await?)
        };
        Some(payload(rotate.await))
    }

    /// Sends messages to a disabled or failing webhook endpoint again at once, from its position in the event log on.
    /// Requires the scope `webhooks:manage`.
    async fn enable_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: WebhookEndpointInput,
    ) -> Option<Result<WebhookEndpointPayload>> {
        let enable = async {
            let id = read_id(&input.id)?;
            Ok(services(ctx).webhooks.enable(caller(ctx), id, RequestId::of(ctx)).await?)
        };
        Some(payload(enable.await))
    }

    /// Sends no more messages to a webhook endpoint. It keeps its position in the event log, from which it continues when
    /// it is enabled. Requires the scope `webhooks:manage`.
    async fn disable_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: WebhookEndpointInput,
    ) -> Option<Result<WebhookEndpointPayload>> {
        let disable = async {
            let id = read_id(&input.id)?;
            Ok(services(ctx).webhooks.disable(caller(ctx), id, RequestId::of(ctx)).await?)
        };
        Some(payload(disable.await))
    }

    /// Sends a message of the type `webhook.ping` now, also to a disabled endpoint. Requires the scope
    /// `webhooks:manage`.
    async fn test_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: WebhookEndpointInput,
    ) -> Option<Result<WebhookAttemptPayload>> {
        let test = async {
            let id = read_id(&input.id)?;
            Ok(services(ctx).webhooks.test(caller(ctx), id).await?)
        };
        Some(payload(test.await))
    }

    /// Sends an event to a webhook endpoint again now, also one that its filter excludes. Requires the scope
    /// `webhooks:manage`.
    async fn resend_event(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint and the event.")] input: ResendEventInput,
    ) -> Option<Result<WebhookAttemptPayload>> {
        let resend = async {
            let id = read_id(&input.id)?;
            Ok(services(ctx).webhooks.resend(caller(ctx), id, &input.event_id).await?)
        };
        Some(payload(resend.await))
    }

    /// Delivers the events of a range to a webhook endpoint again, beside the present ones, and in place of an earlier
    /// recovery. Requires the scope `webhooks:manage`.
    async fn recover_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint and the range.")] input: RecoverEventsInput,
    ) -> Option<Result<RecoverEventsPayload>> {
        let Services { webhooks, event_log, .. } = &**services(ctx);
        let recover = async {
            let id = read_id(&input.id)?;
            let range =
                RecoveryRange { since: input.since.0, until: input.until.as_ref().map(|until| until.0) };
            let request_id = RequestId::of(ctx);
            let recovery = webhooks.recover(caller(ctx), id, range, input.dry_run, request_id).await?;
            Ok(RecoverEventsPayload::new(recovery, event_log))
        };
        Some(payload(recover.await))
    }

    /// Ends a recovery. Repeating the mutation has no effect. Requires the scope `webhooks:manage`.
    async fn stop_recovery(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: WebhookEndpointInput,
    ) -> Option<Result<WebhookEndpointPayload>> {
        let stop = async {
            let id = read_id(&input.id)?;
            Ok(services(ctx).webhooks.stop_recovery(caller(ctx), id, RequestId::of(ctx)).await?)
        };
        Some(payload(stop.await))
    }
}

fn services<'c>(ctx: &Context<'c>) -> &'c Arc<Services> {
    ctx.data_unchecked()
}
