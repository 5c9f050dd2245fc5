//! What is reported about the run of a handler: the ids in its log lines, and its span.

use std::future::Future;
use std::sync::Arc;

use domain::Outcome;
use futures_util::FutureExt;
use futures_util::future::Either;
use telemetry::LogIds;
use telemetry::trace::{self, Span, SpanKind};

use crate::handler::Attempt;

/// Runs a handler whose log lines contain the ids of the attempt. If the trace of the order is recorded, the run is a span
/// in it, and the context of what the handler calls.
pub(crate) fn observed<F, R>(
    mut attempt: Box<Attempt>,
    worker: &Arc<str>,
    run: R,
) -> impl Future<Output = Option<Outcome>> + use<F, R>
where
    F: Future<Output = Option<Outcome>> + Send + 'static,
    R: FnOnce(Box<Attempt>) -> F,
{
    let span = trace::span(SpanKind::Consumer, "process order", attempt.trace).map(|mut span| {
        span.set("orders.id", attempt.order.id.to_string());
        span.set("orders.attempt", i64::from(attempt.number()));
        span.set("orders.worker", worker.to_string());
        span
    });
    attempt.trace = span.as_ref().and_then(Span::context).or(attempt.trace);
    let ids = LogIds {
        order_id: attempt.order.id,
        attempt: attempt.number(),
        worker: worker.clone(),
        trace: attempt.trace,
    };
    let context = span.as_ref().and_then(Span::context);
    let work = ids.scope(run(attempt));
    match context {
        None => Either::Left(work),
        Some(context) => {
            let traced = trace::scope(context, work).map(move |outcome| {
                finish(span, outcome.as_ref());
                outcome
            });
            Either::Right(traced.boxed())
        }
    }
}

/// Ends the span with the outcome; `None` if it was not needed.
fn finish(span: Option<Span>, outcome: Option<&Outcome>) {
    let Some(mut span) = span else { return };
    let (word, failure) = match outcome {
        None => ("abandoned", None),
        Some(Outcome::Completed | Outcome::CompletedWith(_)) => ("completed", None),
        Some(Outcome::Released) => ("released", None),
        Some(Outcome::Retry { reason, class, .. }) => ("retry", Some((reason, class))),
        Some(Outcome::Failed { reason, class }) => ("failed", Some((reason, class))),
    };
    span.set("orders.outcome", word);
    if let Some((reason, class)) = failure {
        span.set("error.type", class.clone().unwrap_or_else(|| "error".to_owned()));
        span.fail(reason.clone());
    }
}
