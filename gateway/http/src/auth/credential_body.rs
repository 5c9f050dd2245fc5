//! The body of a stream, which ends when the credential of its request is no longer valid.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::Frame;

use super::{Auth, Credential};
use crate::problem::Problem;

/// A body that ends with the credential of its request.
struct CredentialBody {
    body: Body,
    refused: BoxFuture<'static, Problem>,
    last: fn(&Problem) -> Frame<Bytes>,
    is_ended: bool,
}

impl Auth {
    /// Ends the body of a stream when the credential of its request is no longer valid.
    ///
    /// `last` builds the last frame, from which the client learns the reason.
    pub fn bind_stream(
        &self,
        response: Response,
        credential: Credential,
        last: fn(&Problem) -> Frame<Bytes>,
    ) -> Response {
        if !self.is_required() {
            return response;
        }
        end_stream(response, self.clone().until_ended(credential), last)
    }
}

/// Ends the body of a stream with the frame that `last` builds from the problem of `refused`.
pub(crate) fn end_stream(
    response: Response,
    refused: impl Future<Output = Problem> + Send + 'static,
    last: fn(&Problem) -> Frame<Bytes>,
) -> Response {
    let refused = Box::pin(refused);
    response.map(|body| Body::new(CredentialBody { body, refused, last, is_ended: false }))
}

impl hyper::body::Body for CredentialBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(problem) = self.refused.as_mut().poll(cx) {
            self.is_ended = true;
            // Its handler ends as if the client had disconnected.
            self.body = Body::empty();
            return Poll::Ready(Some(Ok((self.last)(&problem))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use domain::{ErrorCode, Principal};
    use futures_util::StreamExt;
    use http::HeaderValue;
    use http_body_util::BodyExt;

    use super::*;
    use crate::auth::{Sessions, Verdict, Verifier};

    #[derive(Default)]
    struct Revocable(AtomicBool);

    impl Verifier for Revocable {
        fn cached(&self, authorization: Option<&[u8]>) -> Option<Verdict> {
            assert_eq!(authorization, Some(&b"Bearer x"[..]));
            Some(match self.0.load(Ordering::Relaxed) {
                true => Err(Problem::new(ErrorCode::Unauthenticated, "revoked")),
                false => Ok(Arc::new(Principal::anonymous())),
            })
        }

        fn verify<'a>(&'a self, _: Option<&'a [u8]>) -> BoxFuture<'a, Verdict> {
            unreachable!("every verdict is cached")
        }
    }

    fn last(problem: &Problem) -> Frame<Bytes> {
        Frame::data(Bytes::from(problem.code().as_str()))
    }

    #[tokio::test(start_paused = true)]
    async fn stream_ends_with_its_credential() {
        let verifier = Arc::new(Revocable::default());
        let auth = Auth::required(verifier.clone(), Sessions::new(&[0; 32]));
        let events = futures_util::stream::iter([Ok::<_, axum::Error>("event")]);
        let body = Body::from_stream(events.chain(futures_util::stream::pending()));
        let authorization = Credential::Authorization(Some(HeaderValue::from_static("Bearer x")));
        let mut body = auth.bind_stream(Response::new(body), authorization, last).into_body();
        let mut next = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
        assert_eq!(next().await.unwrap(), "event");
        verifier.0.store(true, Ordering::Relaxed);
        assert_eq!(next().await.unwrap(), "token_expired");
        assert_eq!(next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_without_authentication_has_the_end_of_its_handler() {
        let response =
            Auth::off().bind_stream(Response::new(Body::from("all")), Credential::Authorization(None), last);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "all");
        let auth = Auth::required(Arc::new(Revocable::default()), Sessions::new(&[0; 32]));
        let authorization = Credential::Authorization(Some(HeaderValue::from_static("Bearer x")));
        let response = auth.bind_stream(Response::new(Body::from("all")), authorization, last);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "all");
    }
}
