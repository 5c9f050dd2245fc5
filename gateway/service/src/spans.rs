//! Spans of the transactions that create and change orders, for orders whose trace is recorded.

use std::time::SystemTime;

use domain::{OrderEvent, Status};
use gateway_store::{CommandOutcome, NewOrder};
use telemetry::trace::{self, SpanKind, Value};

use crate::error::Error;

/// Records the transaction that has inserted these orders.
pub(crate) fn record_insert<'o>(began: SystemTime, orders: impl Iterator<Item = &'o NewOrder> + Clone) {
    let size = Value::from(i64::try_from(orders.clone().count()).unwrap_or(i64::MAX));
    let traces = orders.filter_map(|order| order.trace);
    trace::record_batch("orders insert", began, traces, [("orders.batch.size", size)]);
}

/// Records the transaction of a batch, and each change of an order in it. The span of a change becomes the `trace` of its
/// outcome.
pub(crate) fn record_changes(began: SystemTime, results: &mut [Result<CommandOutcome, Error>]) {
    let traces = results.iter().filter_map(|result| match result {
        Ok(CommandOutcome::Changed { trace, .. }) => *trace,
        _ => None,
    });
    let size = Value::from(i64::try_from(results.len()).unwrap_or(i64::MAX));
    trace::record_batch("orders change", began, traces, [("orders.batch.size", size)]);
    for result in results {
        let Ok(CommandOutcome::Changed { event, worker, error_class, trace: Some(trace), .. }) = result
        else {
            continue;
        };
        let attributes = [
            ("orders.id", Some(event.order_id.to_string().into())),
            ("orders.tenant", Some(event.tenant_id.to_string().into())),
            ("orders.sequence", Some(i64::from(event.sequence).into())),
            ("orders.status", Some(event.status.as_str().into())),
            ("orders.attempt", Some(i64::from(event.attempt).into())),
            ("orders.worker", worker.as_ref().map(|worker| worker.to_string().into())),
            ("error.type", error_class.clone().map(Value::from)),
        ];
        let attributes = attributes.into_iter().filter_map(|(key, value)| Some((key, value?)));
        if let Some(recorded) = trace::record(SpanKind::Internal, name(event), *trace, began, attributes) {
            *trace = recorded;
        }
    }
}

fn name(event: &OrderEvent) -> &'static str {
    match (event.status, event.previous_status) {
        (Status::Processing, _) => "order start",
        (Status::Completed, _) => "order complete",
        (Status::Failed, _) => "order fail",
        (Status::Cancelled, _) => "order cancel",
        (Status::Pending, Some(Status::Processing)) => "order retry",
        (Status::Pending, _) => "order redrive",
    }
}
