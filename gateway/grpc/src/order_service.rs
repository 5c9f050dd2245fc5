//! The calls for one order: a status change, a read, or the stream of its events.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use domain::{ErrorCode, JsonText, LeaseToken, OrderId, Outcome, Principal, Scope, WorkerName};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use proto::v1;
use proto::v1::order_service_server::OrderService;
use telemetry::panics;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::lease_tokens::LeaseTokens;
use crate::message_body::HeldBytes;
use crate::state::State;
use crate::status::{
    from_problem, invalid, invalid_field, refuse, to_status, token_of_other, token_required,
};
use crate::worker_stream;
use gateway_http::auth::{self, Credential};
use gateway_service::Error;
use gateway_service::feed::WatchFrom;
use gateway_service::loader::{self, OrderLoader};

/// Maximum length of an unknown status in the error message, in characters.
///
/// The message is sent as a header, and clients reject long headers.
const MAX_SHOWN_STATUS: usize = 100;

pub(super) struct Service {
    state: State,
    tokens: LeaseTokens,
    /// Reads the orders of concurrent responses together.
    loader: OrderLoader,
}

#[tonic::async_trait]
impl OrderService for Service {
    type WorkStream = BoxStream<'static, Result<v1::GatewayMessage, Status>>;
    type WatchOrderStream = BoxStream<'static, Result<v1::OrderEvent, Status>>;

    async fn update_status(
        &self,
        request: Request<v1::UpdateStatusRequest>,
    ) -> Result<Response<v1::UpdateStatusResponse>, Status> {
        let principal = caller(request.extensions())?;
        contained(self.update(&principal, request.into_inner())).await.map(Response::new)
    }

    async fn work(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let held = request.extensions().get::<Arc<HeldBytes>>().cloned();
        let principal = caller(request.extensions())?;
        let credential =
            request.extensions().get::<Credential>().cloned().unwrap_or(Credential::Authorization(None));
        let caller = worker_stream::Caller { principal, credential };
        Ok(Response::new(worker_stream::serve(self.state.clone(), caller, request.into_inner(), held)))
    }

    async fn get_order(&self, request: Request<v1::GetOrderRequest>) -> Result<Response<v1::Order>, Status> {
        let principal = caller(request.extensions())?;
        contained(async {
            let id = proto::parse_order_id(&request.into_inner().order_id).map_err(invalid_field)?;
            Ok(Response::new(self.order_with_outputs(&principal, id).await?))
        })
        .await
    }

    async fn watch_order(
        &self,
        request: Request<v1::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let principal = caller(request.extensions())?;
        contained(self.watch(&principal, request.into_inner())).await.map(Response::new)
    }
}

/// Turns a panic into the error of its call.
pub(super) async fn contained<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    panics::catch_async("grpc", call).await.unwrap_or_else(|panicked| Err(to_status(panicked.into())))
}

/// Returns the caller of a request, which the limits of the call have authenticated.
pub(super) fn caller(extensions: &Extensions) -> Result<Arc<Principal>, Status> {
    auth::principal(extensions).map_err(|problem| from_problem(&problem))
}

impl Service {
    pub(super) fn new(state: State) -> Self {
        let loader = loader::orders(&state.orders);
        Self { state, tokens: LeaseTokens::new(), loader }
    }

    async fn update(
        &self,
        principal: &Arc<Principal>,
        request: v1::UpdateStatusRequest,
    ) -> Result<v1::UpdateStatusResponse, Status> {
        let id = proto::parse_order_id(&request.order_id).map_err(invalid_field)?;
        let lease = match request.lease_token.as_str() {
            "" => None,
            text => {
                let shown =
                    text.parse::<LeaseToken>().map_err(|error| invalid(format!("leaseToken: {error}")))?;
                // A token that cannot be unmasked is passed on as it is: no order has it.
                Some(self.state.orders.keys().mask_token(id, shown).unwrap_or(shown))
            }
        };
        let reason = |default: &str| match request.reason.as_str() {
            "" => default.to_owned(),
            given => given.to_owned(),
        };
        let class = (!request.error_class.is_empty()).then(|| request.error_class.clone());
        match request.status.as_str() {
            "processing" => self.start(principal, &request.worker_id, id, lease).await,
            "completed" => {
                let result = request.result.as_deref().map(|result| proto::parse_json("result", result));
                let result = result.transpose().map_err(invalid_field)?;
                let outcome = result.map_or(Outcome::Completed, Outcome::CompletedWith);
                self.report(principal, id, lease, outcome).await
            }
            "failed" => {
                let reason = reason("the worker reported a failure");
                self.report(principal, id, lease, Outcome::Failed { reason, class }).await
            }
            "pending" => {
                let reason = reason("the worker asked for another attempt");
                self.report(principal, id, lease, Outcome::Retry { reason, class, after: None }).await
            }
            other => Err(invalid(format!(
                "status: '{}' cannot be reported; expected processing, completed, failed or pending",
                other.chars().take(MAX_SHOWN_STATUS).collect::<String>()
            ))),
        }
    }

    async fn watch(
        &self,
        principal: &Arc<Principal>,
        request: v1::WatchOrderRequest,
    ) -> Result<BoxStream<'static, Result<v1::OrderEvent, Status>>, Status> {
        let id = proto::parse_order_id(&request.order_id).map_err(invalid_field)?;
        let cursor = request.after_sequence.map_or(WatchFrom::Latest, WatchFrom::After);
        let events = self.state.feed.watch(principal, id, cursor).await.map_err(to_status)?;
        // The stream ends with the order. If the gateway shuts down first, it ends with UNAVAILABLE, and the client
        // resumes at another gateway after its last sequence.
        let draining = self.state.context.draining.clone();
        let stream = futures_util::stream::unfold(Some(events), move |events| {
            let draining = draining.clone();
            async move {
                let mut events = events?;
                tokio::select! {
                    event = events.next() => match event? {
                        Ok(event) => Some((Ok(v1::OrderEvent::from(event.as_ref())), Some(events))),
                        Err(error) => Some((Err(to_status(error)), None)),
                    },
                    () = draining.cancelled() => Some((Err(to_status(Error::shutting_down())), None)),
                }
            }
        });
        // A panic during the conversion of an event ends the stream with an error.
        let stream = AssertUnwindSafe(stream)
            .catch_unwind()
            .map(|item| item.unwrap_or_else(|panic| Err(to_status(panics::record("grpc", &*panic).into()))));
        Ok(stream.boxed())
    }

    async fn order(
        &self,
        principal: &Arc<Principal>,
        scope: Scope,
        id: OrderId,
    ) -> Result<v1::Order, Status> {
        let order =
            self.loader.load(principal, scope, id).await.and_then(|order| order.ok_or(Error::NotFound(id)));
        order.map(|order| self.to_message(Arc::unwrap_or_clone(order))).map_err(to_status)
    }

    /// Reads an order with what its worker has produced.
    async fn order_with_outputs(&self, principal: &Arc<Principal>, id: OrderId) -> Result<v1::Order, Status> {
        let order = self.loader.load(principal, Scope::OrdersRead, id).await;
        let order = order.and_then(|order| order.ok_or(Error::NotFound(id))).map_err(to_status)?;
        let outputs = self.state.orders.outputs(&order).await.map_err(to_status)?;
        let progress = self.state.feed.progress(&order);
        let text = |json: Option<JsonText>| json.map(|json| json.as_str().to_owned());
        Ok(v1::Order {
            result: text(outputs.result),
            checkpoint: text(outputs.checkpoint),
            progress: progress.map(|progress| v1::OrderProgress::from(&*progress)),
            ..self.to_message(Arc::unwrap_or_clone(order))
        })
    }

    fn to_message(&self, order: domain::Order) -> v1::Order {
        v1::Order::new(order, &self.state.orders.queue_snapshot())
    }

    async fn start(
        &self,
        principal: &Arc<Principal>,
        worker: &str,
        id: OrderId,
        lease: Option<LeaseToken>,
    ) -> Result<v1::UpdateStatusResponse, Status> {
        let worker = WorkerName::clean(worker);
        let (order, lease) = match lease {
            // With the token of its attempt, `processing` is a heartbeat.
            Some(lease) => {
                single_result(self.state.orders.heartbeat(principal, &[(id, lease)]).await)?;
                (self.order(principal, Scope::Work, id).await?, lease)
            }
            None => {
                let lease = self.tokens.token_for(id, self.lease_tag(principal));
                (
                    single_result(
                        self.state.orders.start_attempts(principal, worker.as_ref(), &[(id, lease)]).await,
                    )?
                    .into(),
                    lease,
                )
            }
        };
        let lease_ms = self.state.orders.config().rules.lease.as_millis();
        Ok(v1::UpdateStatusResponse {
            order: Some(order),
            lease_token: self.state.orders.keys().mask_token(id, lease).unwrap_or(lease).to_string(),
            lease_ms: u64::try_from(lease_ms).unwrap_or(u64::MAX),
        })
    }

    fn lease_tag(&self, principal: &Principal) -> u32 {
        self.state.orders.keys().lease_tag(&principal.name)
    }

    async fn report(
        &self,
        principal: &Arc<Principal>,
        id: OrderId,
        lease: Option<LeaseToken>,
        outcome: Outcome,
    ) -> Result<v1::UpdateStatusResponse, Status> {
        let lease = match lease {
            Some(lease) => lease,
            None if self.state.config.tokenless_reports != Some(true) => return Err(token_required()),
            None => {
                let wanted = match &outcome {
                    Outcome::Completed | Outcome::CompletedWith(_) => domain::Status::Completed,
                    Outcome::Failed { .. } => domain::Status::Failed,
                    Outcome::Retry { .. } | Outcome::Released => domain::Status::Pending,
                };
                let (order, lease) = self.state.orders.with_lease(principal, id).await.map_err(to_status)?;
                if self.state.context.auth.is_required()
                    && !lease.is_some_and(|lease| lease.has_tag(self.lease_tag(principal)))
                {
                    return Err(token_of_other());
                }
                match lease {
                    Some(lease) if order.status == domain::Status::Processing => lease,
                    // A repeated report succeeds.
                    _ if order.status == wanted => return Ok(report_response(self.to_message(order))),
                    _ => {
                        return Err(refuse(
                            ErrorCode::OrderNotProcessing,
                            format!(
                                "the order is {} and cannot become {wanted} without being processed",
                                order.status
                            ),
                        ));
                    }
                }
            }
        };
        single_result(self.state.orders.finish(principal, vec![(id, lease, outcome)]).await)?;
        Ok(report_response(self.order(principal, Scope::Work, id).await?))
    }
}

fn report_response(order: v1::Order) -> v1::UpdateStatusResponse {
    v1::UpdateStatusResponse { order: Some(order), ..v1::UpdateStatusResponse::default() }
}

/// Returns the result of a batch of one entry.
fn single_result<T>(results: Result<Vec<Result<T, Error>>, Error>) -> Result<T, Status> {
    let result = results.and_then(|mut results| results.pop().unwrap_or(Err(Error::Internal)));
    result.map_err(to_status)
}
