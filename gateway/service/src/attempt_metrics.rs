//! How long orders wait and attempts run, as histograms for Prometheus.

use std::time::Duration;

use domain::transition::CLASS_LEASE_EXPIRED;
use domain::{EventType, Order, OrderEvent, Priority};
use metrics::{Histogram, histogram};

/// The outcomes of attempts.
pub(crate) const ATTEMPT_OUTCOMES: [&str; 6] =
    ["completed", "retried", "released", "expired", "failed", "cancelled"];
/// The outcomes of orders.
pub(crate) const ORDER_OUTCOMES: [&str; 3] = ["completed", "failed", "cancelled"];

// Each label is known when the program is compiled, which needs no allocation.

fn wait(priority: Priority) -> Histogram {
    match priority {
        Priority::High => histogram!("orders_wait_duration_seconds", "priority" => "high"),
        Priority::Normal => histogram!("orders_wait_duration_seconds", "priority" => "normal"),
        Priority::Low => histogram!("orders_wait_duration_seconds", "priority" => "low"),
    }
}

fn attempt(outcome: &str) -> Histogram {
    match outcome {
        "completed" => histogram!("orders_attempt_duration_seconds", "outcome" => "completed"),
        "retried" => histogram!("orders_attempt_duration_seconds", "outcome" => "retried"),
        "released" => histogram!("orders_attempt_duration_seconds", "outcome" => "released"),
        "expired" => histogram!("orders_attempt_duration_seconds", "outcome" => "expired"),
        "failed" => histogram!("orders_attempt_duration_seconds", "outcome" => "failed"),
        "cancelled" => histogram!("orders_attempt_duration_seconds", "outcome" => "cancelled"),
        _ => Histogram::noop(),
    }
}

fn completion(outcome: &str) -> Histogram {
    match outcome {
        "completed" => histogram!("orders_completion_duration_seconds", "outcome" => "completed"),
        "failed" => histogram!("orders_completion_duration_seconds", "outcome" => "failed"),
        "cancelled" => histogram!("orders_completion_duration_seconds", "outcome" => "cancelled"),
        _ => Histogram::noop(),
    }
}

/// Registers all histograms, so that they exist from the start.
pub(crate) fn register() {
    for priority in Priority::ALL {
        drop(wait(priority));
    }
    ATTEMPT_OUTCOMES.into_iter().for_each(|outcome| drop(attempt(outcome)));
    ORDER_OUTCOMES.into_iter().for_each(|outcome| drop(completion(outcome)));
}

/// Records a change. `elapsed` is the wait of a start, or the time of an attempt that has ended.
pub(crate) fn record(event: &OrderEvent, order: Option<&Order>, elapsed: Option<Duration>) {
    let kind = EventType::of(event);
    if kind == EventType::Processing {
        if let (Some(order), Some(waited)) = (order, elapsed) {
            wait(order.priority).record(waited);
        }
        return;
    }
    let outcome = match kind {
        EventType::Completed => "completed",
        EventType::Failed => "failed",
        EventType::Cancelled => "cancelled",
        EventType::Retrying => match event.error_class.as_deref() {
            None => "released",
            Some(CLASS_LEASE_EXPIRED) => "expired",
            Some(_) => "retried",
        },
        EventType::Created | EventType::Processing | EventType::Redriven => return,
    };
    if let Some(elapsed) = elapsed {
        attempt(outcome).record(elapsed);
    }
    if event.status.is_final() {
        completion(outcome).record(event.occurred_at.since(event.order_id.time()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{OrderId, Status, TenantId, Timestamp};

    #[test]
    fn each_outcome_has_its_series() {
        let event = |status, class: Option<&str>| OrderEvent {
            order_id: OrderId::first_at(Timestamp::from_micros(1_700_000_000_000_000)),
            tenant_id: TenantId::default(),
            sequence: 3,
            status,
            previous_status: Some(Status::Processing),
            attempt: 1,
            reason: None,
            error_class: class.map(str::to_owned),
            worker: None,
            occurred_at: Timestamp::from_micros(1_700_000_002_000_000),
        };
        let recorder = telemetry::recorder::builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, register);
        let zero = recorder.handle().render();
        metrics::with_local_recorder(&recorder, || {
            for (status, class) in [
                (Status::Completed, None),
                (Status::Pending, Some("http_503")),
                (Status::Pending, None),
                (Status::Pending, Some(CLASS_LEASE_EXPIRED)),
                (Status::Failed, Some("http_503")),
                (Status::Cancelled, None),
            ] {
                record(&event(status, class), None, Some(Duration::from_secs(1)));
            }
        });
        let text = recorder.handle().render();
        for outcome in ATTEMPT_OUTCOMES {
            let series = format!(r#"orders_attempt_duration_seconds_count{{outcome="{outcome}"}}"#);
            assert!(zero.contains(&format!("{series} 0")), "{zero}");
            assert!(text.contains(&format!("{series} 1")), "{text}");
        }
        for outcome in ORDER_OUTCOMES {
            let series = format!(r#"orders_completion_duration_seconds_count{{outcome="{outcome}"}}"#);
            assert!(zero.contains(&format!("{series} 0")) && text.contains(&format!("{series} 1")), "{text}");
        }
        assert!(zero.contains(r#"orders_wait_duration_seconds_count{priority="high"} 0"#), "{zero}");
    }
}
