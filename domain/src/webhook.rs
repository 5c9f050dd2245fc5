//! The terms of webhooks: which events an endpoint receives, in which form, and the states of an endpoint.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::event_type::{EventTypes, InvalidEventType};
use crate::order_id::OrderId;
use crate::timestamp::Timestamp;

/// The id of a webhook endpoint: a UUID version 7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(Uuid);

/// The string is not a UUID.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("not the id of a webhook endpoint: expected a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidEndpointId;

impl EndpointId {
    /// Creates an id whose time part is `now`; the rest is random.
    pub fn new(now: Timestamp) -> Self {
        Self::from_bytes(*OrderId::new(now).as_bytes())
    }

    /// Returns the id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EndpointId {
    type Err = InvalidEndpointId;

    fn from_str(string: &str) -> Result<Self, InvalidEndpointId> {
        // The parser also takes other forms, such as without hyphens.
        let has_hyphens = string.len() == Uuid::encode_buffer().len() - "urn:uuid:".len();
        let uuid = Uuid::try_parse(string).ok().filter(|_| has_hyphens && !string.starts_with('{'));
        uuid.map(Self).ok_or(InvalidEndpointId)
    }
}

/// The types of messages that an endpoint receives: types of events, and notices about the other endpoints of its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookTypes {
    /// The types of events; can be empty if there are notices.
    pub events: EventTypes,
    /// Whether it receives notices.
    pub notices: bool,
}

/// The word for notices.
const NOTICES: &str = "webhook.*";

/// Words are no types.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0}, or {NOTICES} for notices about failing endpoints")]
pub struct InvalidWebhookTypes(#[from] InvalidEventType);

impl WebhookTypes {
    /// The types of an endpoint whose creator names none: every event.
    pub const DEFAULT: Self = Self { events: EventTypes::ALL, notices: false };

    /// Returns the words of the types.
    pub fn words(&self) -> Vec<&'static str> {
        let events = if self.events == EventTypes::ALL { vec!["order.*"] } else { self.events.words() };
        events.into_iter().chain(self.notices.then_some(NOTICES)).collect()
    }
}

/// Separated by commas, without blanks.
impl fmt::Display for WebhookTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(","))
    }
}

/// Types separated by commas; `order.*` is every event, and `webhook.*` every notice.
impl FromStr for WebhookTypes {
    type Err = InvalidWebhookTypes;

    fn from_str(string: &str) -> Result<Self, InvalidWebhookTypes> {
        let (notices, events): (Vec<&str>, Vec<&str>) =
            string.split(',').map(str::trim).partition(|word| *word == NOTICES);
        let events = match (events.is_empty(), notices.is_empty()) {
            (true, false) => EventTypes::NONE,
            _ => events.join(",").parse()?,
        };
        Ok(Self { events, notices: !notices.is_empty() })
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the word in every interface.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(string: &str) -> Result<Self, UnknownWord> {
                let found = Self::ALL.iter().copied().find(|value| value.as_str() == string);
                found.ok_or_else(|| UnknownWord(Self::ALL.iter().map(|value| value.as_str()).collect()))
            }
        }
    };
}

/// A string is none of the known words. The message continues the name of the field.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("must be {}", .0.join(" or "))]
pub struct UnknownWord(Vec<&'static str>);

words! {
    /// What the body of a webhook contains.
    WebhookPayload {
        /// The event and the content of its order.
        Full "full",
        /// The id of the order and the sequence of the event: the receiver reads the rest.
        Thin "thin",
    }
}

words! {
    /// The form of the body of a webhook.
    WebhookFormat {
        /// Standard Webhooks: `id`, `type`, `timestamp` and `data`.
        Standard "standard",
        /// CloudEvents 1.0 in JSON, in structured mode.
        CloudEvents "cloudevents",
    }
}

words! {
    /// Whether an endpoint receives messages.
    EndpointState {
        /// Messages are sent.
        Active "active",
        /// Every message fails, so one is sent from time to time.
        Failing "failing",
        /// Nothing is sent.
        Disabled "disabled",
    }
}

words! {
    /// Why an endpoint is disabled.
    DisabledReason {
        /// A user disabled it.
        Request "request",
        /// It answered 410 Gone.
        Gone "gone",
        /// Everything failed for days.
        Failures "failures",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_parsed_and_written() {
        for (string, written) in [
            ("order.*", "order.*"),
            ("order.completed, order.failed", "order.completed,order.failed"),
            ("webhook.*", "webhook.*"),
            ("webhook.*,order.*", "order.*,webhook.*"),
        ] {
            let types: WebhookTypes = string.parse().unwrap();
            assert_eq!(types.to_string(), written);
            assert_eq!(written.parse(), Ok(types));
        }
        for string in ["", "webhook.*,", "webhook.failing", "order", "*"] {
            let error = string.parse::<WebhookTypes>().unwrap_err().to_string();
            assert!(
                error.contains("is not an event type") && error.ends_with("failing endpoints"),
                "{error}"
            );
        }
    }

    #[test]
    fn words_are_parsed_and_written() {
        assert_eq!("thin".parse(), Ok(WebhookPayload::Thin));
        assert_eq!("cloudevents".parse(), Ok(WebhookFormat::CloudEvents));
        assert_eq!("Full".parse::<WebhookPayload>().unwrap_err().to_string(), "must be full or thin");
        let id = EndpointId::new(Timestamp::from_micros(1_700_000_000_000_000));
        assert_eq!(id.to_string().parse(), Ok(id));
        for string in ["", "1", &id.to_string()[1..], &format!("{{{id}}}"), &id.to_string().replace('-', "")]
        {
            assert_eq!(string.parse::<EndpointId>(), Err(InvalidEndpointId), "{string}");
        }
    }
}
