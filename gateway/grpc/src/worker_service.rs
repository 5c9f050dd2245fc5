//! The service of workers in any language.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use proto::v1;
use proto::v1::worker_service_server::WorkerService;
use tonic::{Request, Response, Status, Streaming};

use crate::claim_stream;
use crate::message_body::HeldBytes;
use crate::order_service::caller;
use crate::state::State;
use crate::worker_stream::Caller;
use gateway_http::auth::Credential;

pub(super) struct Service(State);

impl Service {
    pub(super) fn new(state: State) -> Self {
        Self(state)
    }
}

#[tonic::async_trait]
impl WorkerService for Service {
    type ClaimStream = BoxStream<'static, Result<v1::ClaimResponse, Status>>;

    async fn claim(
        &self,
        request: Request<Streaming<v1::ClaimRequest>>,
    ) -> Result<Response<Self::ClaimStream>, Status> {
        let held = request.extensions().get::<Arc<HeldBytes>>().cloned();
        let principal = caller(request.extensions())?;
        let credential =
            request.extensions().get::<Credential>().cloned().unwrap_or(Credential::Authorization(None));
        let caller = Caller { principal, credential };
        Ok(Response::new(claim_stream::serve(self.0.clone(), caller, request.into_inner(), held)))
    }
}
