//! Conversions between the messages and the types of the domain.

use std::time::Duration;

use domain::waiting::QueueSnapshot;
use domain::{
    Content, Currency, ErrorCode, JsonText, Kind, LeaseToken, LineItem, Metadata, Money, Order, OrderEvent,
    OrderId, Outcome, Priority, Progress, Status, Timestamp, WorkerName, money,
};

use crate::v1;

/// A message that violates the interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidMessage {
    code: ErrorCode,
    field: &'static str,
    problem: String,
}

impl InvalidMessage {
    fn new(field: &'static str, problem: impl ToString) -> Self {
        Self { code: ErrorCode::InvalidInput, field, problem: problem.to_string() }
    }

    /// Returns the error code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }
}

/// Parses an order id.
///
/// # Errors
/// The string is not an order id.
pub fn parse_order_id(value: &str) -> Result<OrderId, InvalidMessage> {
    value.parse().map_err(|error| InvalidMessage {
        code: ErrorCode::InvalidOrderId,
        ..InvalidMessage::new("orderId", error)
    })
}

impl v1::Order {
    /// Creates the message for an order, with its wait.
    pub fn new(order: Order, queue: &QueueSnapshot) -> Self {
        let waiting = order.waiting(queue);
        Self {
            waits_for: waiting.map(|waiting| waiting.waits_for.to_string()),
            next_attempt_at: waiting.and_then(|waiting| waiting.next_attempt_at).map(|at| at.to_string()),
            ..order.into()
        }
    }
}

/// Creates the message for an order that a worker processes. Such an order does not wait.
impl From<Order> for v1::Order {
    fn from(order: Order) -> Self {
        let code = order.code().to_string();
        let content = order.content;
        Self {
            code,
            order_id: order.id.to_string(),
            status: order.status.as_str().to_owned(),
            line_items: content.line_items.into_iter().map(Into::into).collect(),
            currency: content.total.currency().code().to_owned(),
            total: content.total.to_string(),
            quantity: content.quantity,
            customer: content.customer,
            external_reference: content.external_reference,
            sequence: order.version,
            attempt: order.attempt,
            failures: order.failures,
            max_attempts: content.max_attempts,
            reason: order.reason,
            created_at: order.created_at.to_string(),
            updated_at: order.updated_at.to_string(),
            priority: content.priority.as_str().to_owned(),
            process_after: content.process_after.map(|at| at.to_string()),
            kind: content.kind.to_string(),
            error_class: order.error_class,
            worker: order.worker.map(|worker| worker.to_string()),
            traceparent: order.trace.map(|trace| trace.to_string()),
            metadata: content
                .metadata
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            replaces: order.replaces.map(|id| id.to_string()),
            replaced_by: order.replaced_by.map(|id| id.to_string()),
            waits_for: None,
            next_attempt_at: None,
            result: None,
            checkpoint: None,
            progress: None,
        }
    }
}

impl From<LineItem> for v1::LineItem {
    fn from(line: LineItem) -> Self {
        Self { item: line.item, quantity: line.quantity, price: line.price.to_string() }
    }
}

/// Parses the message that a worker receives. The message has no tenant, which only gateways know.
impl TryFrom<v1::Order> for Order {
    type Error = InvalidMessage;

    fn try_from(order: v1::Order) -> Result<Self, InvalidMessage> {
        let currency: Currency =
            order.currency.parse().map_err(|e: money::Error| InvalidMessage::new("currency", e))?;
        let parse_amount = |field, value: &str| {
            Money::parse(value, currency).map_err(|error| InvalidMessage::new(field, error))
        };
        let parse_time = |field, value: &str| {
            value.parse::<Timestamp>().map_err(|error| InvalidMessage::new(field, error))
        };
        let line_items = order.line_items.into_iter().map(|line| {
            Ok(LineItem {
                price: parse_amount("price", &line.price)?,
                item: line.item,
                quantity: line.quantity,
            })
        });
        let created_at = parse_time("createdAt", &order.created_at)?;
        let next_attempt_at =
            order.next_attempt_at.map(|value| parse_time("nextAttemptAt", &value)).transpose()?;
        Ok(Self {
            id: parse_order_id(&order.order_id)?,
            tenant_id: domain::TenantId::default(),
            content: Content {
                external_reference: order.external_reference,
                customer: order.customer,
                line_items: line_items.collect::<Result<_, InvalidMessage>>()?,
                total: parse_amount("total", &order.total)?,
                quantity: order.quantity,
                max_attempts: order.max_attempts,
                priority: parse_priority(&order.priority)?,
                process_after: order
                    .process_after
                    .map(|value| parse_time("processAfter", &value))
                    .transpose()?,
                kind: parse_kind(&order.kind)?,
                metadata: Metadata::check(order.metadata.into_iter().collect())
                    .map_err(|problems| InvalidMessage::new("metadata", problems.join("; ")))?,
            },
            status: parse_status(&order.status)?,
            version: order.sequence,
            attempt: order.attempt,
            failures: order.failures,
            not_before: next_attempt_at.unwrap_or(created_at),
            reason: order.reason,
            error_class: order.error_class,
            worker: order.worker.as_deref().and_then(WorkerName::clean),
            trace: order.traceparent.as_deref().and_then(|trace| trace.parse().ok()),
            replaces: order.replaces.as_deref().map(parse_order_id).transpose()?,
            replaced_by: order.replaced_by.as_deref().map(parse_order_id).transpose()?,
            created_at,
            updated_at: parse_time("updatedAt", &order.updated_at)?,
        })
    }
}

/// Parses JSON of a worker.
///
/// # Errors
/// It is not JSON, or is too long.
pub fn parse_json(field: &'static str, value: &str) -> Result<JsonText, InvalidMessage> {
    JsonText::parse(value).map_err(|error| InvalidMessage::new(field, error))
}

fn parse_status(value: &str) -> Result<Status, InvalidMessage> {
    value.parse().map_err(|error| InvalidMessage::new("status", error))
}

/// Parses a kind. A gateway of a version without kinds sends an empty string.
fn parse_kind(value: &str) -> Result<Kind, InvalidMessage> {
    if value.is_empty() {
        return Ok(Kind::default());
    }
    value.parse().map_err(|error| InvalidMessage::new("kind", error))
}

/// Parses a priority. A gateway of a version without priorities sends an empty string.
fn parse_priority(value: &str) -> Result<Priority, InvalidMessage> {
    if value.is_empty() {
        return Ok(Priority::default());
    }
    value.parse().map_err(|error| InvalidMessage::new("priority", error))
}

impl From<&OrderEvent> for v1::OrderEvent {
    fn from(event: &OrderEvent) -> Self {
        Self {
            order_id: event.order_id.to_string(),
            sequence: event.sequence,
            status: event.status.to_string(),
            previous_status: event.previous_status.map(|status| status.to_string()),
            attempt: event.attempt,
            reason: event.reason.clone(),
            error_class: event.error_class.clone(),
            worker: event.worker.as_ref().map(ToString::to_string),
            occurred_at: event.occurred_at.to_string(),
        }
    }
}

impl From<&Progress> for v1::OrderProgress {
    fn from(progress: &Progress) -> Self {
        Self {
            attempt: progress.attempt,
            percent: progress.percent.map(u32::from),
            note: progress.note.clone(),
            reported_at: progress.reported_at.to_string(),
        }
    }
}

impl v1::Lease {
    /// Creates the message for a lease.
    pub fn new(order_id: OrderId, token: LeaseToken) -> Self {
        Self { order_id: order_id.to_string(), lease_token: token.to_string() }
    }

    /// Parses the order id and the token.
    ///
    /// # Errors
    /// One of them is invalid.
    pub fn parse(&self) -> Result<(OrderId, LeaseToken), InvalidMessage> {
        let id = parse_order_id(&self.order_id)?;
        let token = self.lease_token.parse().map_err(|error| InvalidMessage::new("leaseToken", error))?;
        Ok((id, token))
    }
}

impl v1::Report {
    /// Creates the report of one attempt.
    pub fn new(order_id: OrderId, token: LeaseToken, outcome: Outcome) -> Self {
        use v1::report::Outcome as Message;
        let outcome = match outcome {
            Outcome::Completed => Message::Completed(v1::Completed { result: None }),
            Outcome::CompletedWith(result) => {
                Message::Completed(v1::Completed { result: Some(result.as_str().to_owned()) })
            }
            Outcome::Retry { reason, class, after } => Message::Retry(v1::Retry {
                reason,
                error_class: class.unwrap_or_default(),
                after_ms: after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            }),
            Outcome::Failed { reason, class } => {
                Message::Failed(v1::Failed { reason, error_class: class.unwrap_or_default() })
            }
            Outcome::Released => Message::Released(v1::Released {}),
        };
        Self { lease: Some(v1::Lease::new(order_id, token)), outcome: Some(outcome) }
    }

    /// Parses the order id, the token and the outcome.
    ///
    /// # Errors
    /// A field is missing or invalid.
    pub fn parse(self) -> Result<(OrderId, LeaseToken, Outcome), InvalidMessage> {
        use v1::report::Outcome as Message;
        let (order_id, token) =
            self.lease.as_ref().ok_or_else(|| InvalidMessage::new("lease", "is required"))?.parse()?;
        let outcome = match self.outcome.ok_or_else(|| InvalidMessage::new("outcome", "is required"))? {
            Message::Completed(v1::Completed { result: None }) => Outcome::Completed,
            Message::Completed(v1::Completed { result: Some(result) }) => {
                Outcome::CompletedWith(parse_json("result", &result)?)
            }
            Message::Retry(retry) => Outcome::Retry {
                reason: retry.reason,
                class: non_empty(retry.error_class),
                after: retry.after_ms.map(Duration::from_millis),
            },
            Message::Failed(failed) => {
                Outcome::Failed { reason: failed.reason, class: non_empty(failed.error_class) }
            }
            Message::Released(v1::Released {}) => Outcome::Released,
        };
        Ok((order_id, token, outcome))
    }
}

fn non_empty(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order() -> Order {
        let currency = Currency::USD;
        let now = Timestamp::from_micros(1_700_000_000_000_001);
        let price = Money::from_minor(129_999, currency);
        let content = Content {
            external_reference: Some("A-1".into()),
            priority: Priority::High,
            process_after: Some(now),
            metadata: Metadata::check(vec![("channel".into(), "web".into())]).unwrap(),
            ..Content::new(
                vec![LineItem { item: "Laptop".into(), quantity: 2, price }],
                Money::from_minor(259_998, currency),
            )
        };
        Order {
            status: Status::Processing,
            version: 2,
            attempt: 1,
            error_class: Some("card_declined".into()),
            ..Order::pending(OrderId::new(now), domain::TenantId::default(), content, now)
        }
    }

    #[test]
    fn order_converts_to_a_message_and_back() {
        let order = order();
        assert_eq!(Order::try_from(v1::Order::from(order.clone())), Ok(order));
    }

    #[test]
    fn message_has_the_wait_of_the_order() {
        let order = Order { status: Status::Pending, error_class: None, ..order() };
        let before = order.not_before - Duration::from_secs(1);
        let queue = QueueSnapshot { now: before, paused_at: None, paused_until: None };
        let message = v1::Order::new(order.clone(), &queue);
        assert_eq!(message.waits_for.as_deref(), Some("schedule"));
        assert_eq!(message.next_attempt_at, Some(order.not_before.to_string()));
        let message = v1::Order::new(order.clone(), &QueueSnapshot { now: order.not_before, ..queue });
        assert_eq!((message.waits_for.as_deref(), message.next_attempt_at), (Some("worker"), None));
        let message = v1::Order::new(Order { status: Status::Processing, ..order }, &queue);
        assert_eq!((message.waits_for, message.next_attempt_at), (None, None));
    }

    #[test]
    fn report_converts_to_a_message_and_back() {
        let (id, token) = (order().id, LeaseToken::random());
        for outcome in [
            Outcome::Completed,
            Outcome::CompletedWith(JsonText::parse("{\"a\":1}").unwrap()),
            Outcome::Released,
            Outcome::Failed { reason: "no".into(), class: None },
            Outcome::Retry {
                reason: "later".into(),
                class: Some("busy".into()),
                after: Some(Duration::from_secs(3)),
            },
        ] {
            let report = v1::Report::new(id, token, outcome.clone());
            assert_eq!(report.parse(), Ok((id, token, outcome)));
        }
    }

    #[test]
    fn error_names_the_invalid_field() {
        let message = v1::Order { total: "1.234".into(), ..v1::Order::from(order()) };
        assert!(Order::try_from(message).unwrap_err().to_string().starts_with("total: "));
        let report = v1::Report { lease: None, outcome: None };
        assert_eq!(report.parse().unwrap_err().to_string(), "lease: is required");
    }

    /// Generates strings close to valid field values.
    fn field_values() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "00000000000000ff",
            "USD",
            "CLF",
            "9223372036854775807",
            "-1",
            "1.5",
            "1e9999",
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:59:59Z",
            "processing",
            "completed",
            "high",
            "",
            "é",
        ]);
        prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => any::<String>()]
    }

    proptest! {
        #[test]
        fn no_report_panics(
            (order_id, lease_token, reason, error_class) in (field_values(), field_values(), field_values(), field_values()),
            after_ms in prop::option::of(any::<u64>()), kind in 0..4,
        ) {
            use v1::report::Outcome as Message;
            let lease = v1::Lease { order_id, lease_token };
            let read = lease.parse();
            let outcome = match kind {
                0 => Message::Completed(v1::Completed { result: None }),
                1 => Message::Retry(v1::Retry { reason, error_class, after_ms }),
                2 => Message::Failed(v1::Failed { reason, error_class }),
                _ => Message::Released(v1::Released {}),
            };
            let report = v1::Report { lease: Some(lease), outcome: Some(outcome) };
            match report.clone().parse() {
                Ok((id, token, outcome)) => {
                    prop_assert_eq!(read, Ok((id, token)));
                    let again = v1::Report::new(id, token, outcome.clone());
                    prop_assert_eq!(again.parse(), Ok((id, token, outcome)));
                }
                Err(_) => prop_assert!(read.is_err()),
            }
        }

        #[test]
        fn no_order_message_panics(
            (order_id, currency, total, status) in (field_values(), field_values(), field_values(), field_values()),
            (created_at, updated_at, process_after, priority, price) in (field_values(), field_values(), prop::option::of(field_values()), field_values(), field_values()),
            (quantity, sequence, attempt) in (any::<u64>(), any::<u32>(), any::<u32>()),
        ) {
            let line_items = vec![v1::LineItem { item: total.clone(), quantity: sequence, price }];
            let message = v1::Order {
                order_id, status, line_items, currency, total, quantity, sequence, attempt, created_at, updated_at,
                priority, process_after, ..v1::Order::default()
            };
            if let Ok(order) = Order::try_from(message) {
                prop_assert_eq!(Order::try_from(v1::Order::from(order.clone())), Ok(order));
            }
        }
    }
}
