//! The types of events, under which subscribers select them.

use std::fmt;
use std::str::FromStr;

use crate::event::OrderEvent;
use crate::status::Status;

/// What an event states about its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// The order was accepted.
    Created,
    /// An attempt began.
    Processing,
    /// An attempt ended without success, and the order waits for the next one.
    Retrying,
    /// The order is completed.
    Completed,
    /// The order has failed.
    Failed,
    /// The order was cancelled.
    Cancelled,
    /// A failed order has a new set of attempts.
    Redriven,
}

impl EventType {
    /// Every type, in the sequence of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Processing,
        Self::Retrying,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Redriven,
    ];

    /// Returns the name of the type in every interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "order.created",
            Self::Processing => "order.processing",
            Self::Retrying => "order.retrying",
            Self::Completed => "order.completed",
            Self::Failed => "order.failed",
            Self::Cancelled => "order.cancelled",
            Self::Redriven => "order.redriven",
        }
    }

    /// Returns the type of an event.
    pub fn of(event: &OrderEvent) -> Self {
        match (event.previous_status, event.status) {
            (None, _) => Self::Created,
            (_, Status::Processing) => Self::Processing,
            (_, Status::Completed) => Self::Completed,
            (_, Status::Failed) => Self::Failed,
            (_, Status::Cancelled) => Self::Cancelled,
            (Some(before), Status::Pending) if before.is_final() => Self::Redriven,
            (Some(_), Status::Pending) => Self::Retrying,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A selection of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTypes(u8);

/// A word is no type.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not an event type: expected order.* or {known}", known = EventTypes::ALL)]
pub struct InvalidEventType(pub String);

/// Maximum number of characters of a word in an error.
const MAX_SHOWN: usize = 64;
/// The pattern of all types of orders.
const ALL_OF_ORDERS: &str = "order.*";

impl EventTypes {
    /// Every type.
    pub const ALL: Self = Self((1 << EventType::ALL.len()) - 1);
    /// No type.
    pub const NONE: Self = Self(0);

    /// Returns the names of the types, in the sequence of the documentation.
    pub fn words(self) -> Vec<&'static str> {
        EventType::ALL.into_iter().filter(|kind| self.contains(*kind)).map(EventType::as_str).collect()
    }

    /// Returns whether the selection has a type.
    pub const fn contains(self, kind: EventType) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl FromIterator<EventType> for EventTypes {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        Self(types.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

/// Separated by commas.
impl fmt::Display for EventTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(", "))
    }
}

/// Types separated by commas; `order.*` is every type.
impl FromStr for EventTypes {
    type Err = InvalidEventType;

    fn from_str(string: &str) -> Result<Self, InvalidEventType> {
        let mut set = 0;
        for word in string.split(',').map(str::trim) {
            set |= match EventType::ALL.into_iter().find(|kind| kind.as_str() == word) {
                Some(kind) => 1 << kind as u8,
                None if word == ALL_OF_ORDERS => Self::ALL.0,
                None => return Err(InvalidEventType(word.chars().take(MAX_SHOWN).collect())),
            };
        }
        Ok(Self(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_parsed_and_written() {
        let types: EventTypes = "order.completed, order.failed".parse().unwrap();
        assert!(types.contains(EventType::Completed) && types.contains(EventType::Failed));
        assert!(!types.contains(EventType::Created));
        assert_eq!(types.to_string(), "order.completed, order.failed");
        assert_eq!("order.*".parse(), Ok(EventTypes::ALL));
        assert_eq!(EventTypes::ALL.to_string().parse(), Ok(EventTypes::ALL));
        for word in ["", "order.complete", "order.completed,", "*", "Order.Completed"] {
            assert!(word.parse::<EventTypes>().is_err(), "{word}");
        }
        let long = "x".repeat(10_000).parse::<EventTypes>().unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
        let error = "order.paid".parse::<EventTypes>().unwrap_err().to_string();
        assert!(error.starts_with("'order.paid' is not an event type") && error.contains("order.created"));
    }

    #[test]
    fn each_transition_has_one_type() {
        let of = |previous_status, status| {
            EventType::of(&OrderEvent {
                order_id: crate::OrderId::from_bytes([1; 16]),
                tenant_id: crate::TenantId::default(),
                sequence: 1,
                status,
                previous_status,
                attempt: 0,
                reason: None,
                error_class: None,
                worker: None,
                occurred_at: crate::Timestamp::from_micros(0),
            })
        };
        assert_eq!(of(None, Status::Pending), EventType::Created);
        assert_eq!(of(Some(Status::Pending), Status::Processing), EventType::Processing);
        assert_eq!(of(Some(Status::Processing), Status::Pending), EventType::Retrying);
        assert_eq!(of(Some(Status::Processing), Status::Completed), EventType::Completed);
        assert_eq!(of(Some(Status::Processing), Status::Failed), EventType::Failed);
        assert_eq!(of(Some(Status::Pending), Status::Cancelled), EventType::Cancelled);
        assert_eq!(of(Some(Status::Failed), Status::Pending), EventType::Redriven);
    }
}
