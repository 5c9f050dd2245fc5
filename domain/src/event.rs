use serde::{Deserialize, Serialize};

use crate::order_id::OrderId;
use crate::status::Status;
use crate::tenant::TenantId;
use crate::timestamp::Timestamp;
use crate::worker_name::WorkerName;

/// One change of one order. Its JSON is the same on every transport:
/// `{"orderId","sequence","status","previousStatus","attempt","reason","errorClass","worker","occurredAt"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderEvent {
    /// The order that changed.
    pub order_id: OrderId,
    /// The owner of the order. Clients do not receive it.
    #[serde(skip)]
    pub tenant_id: TenantId,
    /// Sequence within the order: 1, 2, 3, without gaps.
    pub sequence: u32,
    /// New status.
    pub status: Status,
    /// The status before it; `None` for the first event.
    pub previous_status: Option<Status>,
    /// Number of the attempt; 0 before the first.
    pub attempt: u32,
    /// The reason of an error, a cancellation or a redrive.
    pub reason: Option<String>,
    /// The error class, if the event is a failure.
    pub error_class: Option<String>,
    /// The worker that started the attempt, if the event is its start and the worker has stated a name.
    pub worker: Option<WorkerName>,
    /// The time of the record, by the database's clock.
    pub occurred_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_fields() {
        let event = OrderEvent {
            tenant_id: crate::TenantId::default(),
            order_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            sequence: 2,
            status: Status::Processing,
            previous_status: Some(Status::Pending),
            attempt: 1,
            reason: None,
            error_class: None,
            worker: WorkerName::clean("packer-2"),
            occurred_at: Timestamp::from_micros(1_700_000_000_123_456),
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            r#"{"orderId":"01890a5d-ac96-774b-bcce-b302099a8057","sequence":2,"status":"processing","previousStatus":"pending","attempt":1,"reason":null,"errorClass":null,"worker":"packer-2","occurredAt":"2023-11-14T22:13:20.123456Z"}"#
        );
        assert_eq!(serde_json::from_str::<OrderEvent>(&json).unwrap(), event);
    }
}
