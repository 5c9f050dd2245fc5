//! What happens to every gRPC call, whatever it asks for: limits, and a last line of defence against panics.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use futures_util::FutureExt;
use futures_util::future::Either;
use tonic::Status;
use tower::layer::layer_fn;
use tower::{Service, service_fn};

use super::status::refusal;
use crate::config::HttpLimits;
use crate::http::heads;
use crate::{App, Error, panics};

/// What all calls share.
struct Calls {
    limits: HttpLimits,
}

/// Puts the limits around the routes.
pub(super) fn limited(routes: Router, app: &App) -> Router {
    let calls = Arc::new(Calls { limits: app.config.http.clone() });
    routes.layer(layer_fn(move |mut route: Route| {
        let calls = calls.clone();
        service_fn(move |request: Request| calls.around(&mut route, request).map(Ok::<_, Infallible>))
    }))
}

impl Calls {
    fn around(&self, route: &mut Route, request: Request) -> impl Future<Output = Response> + Send + use<> {
        if let Err(problem) = heads::check(&request, self.limits.head_bytes, self.limits.target_bytes) {
            return Either::Left(std::future::ready(refusal(&problem)));
        }
        let call = panics::contained("grpc", route.call(request));
        Either::Right(call.map(|outcome| match outcome {
            Ok(Ok(response)) => response,
            Err(panicked) => Status::from(Error::from(panicked)).into_http(),
        }))
    }
}
