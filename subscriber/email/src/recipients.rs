//! The recipients of the mail for an event.

use std::str::FromStr;

use lettre::Address;
use lettre::message::Mailbox;
use subscriber::{Event, EventType, EventTypes};

use crate::invalid_value::InvalidValue;

/// Maximum number of fixed recipients.
pub const MAX_STAFF: usize = 20;

/// A fixed recipient, and the types for which it gets a mail: `ops@example.com=order.failed,order.cancelled`.
#[derive(Clone, Debug, PartialEq)]
pub struct Staff {
    mailbox: Mailbox,
    types: EventTypes,
}

impl FromStr for Staff {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const HINT: &str = "write ADDRESS=TYPES, such as ops@example.com=order.failed,order.cancelled";
        let (address, types) =
            text.rsplit_once('=').ok_or_else(|| InvalidValue::new("there is no '='", HINT))?;
        let mailbox = address
            .trim()
            .parse()
            .map_err(|error| InvalidValue::new(format!("{address:?} is not an address: {error}"), HINT))?;
        let types = types
            .parse()
            .map_err(|error: <EventTypes as FromStr>::Err| InvalidValue::new(error.to_string(), HINT))?;
        Ok(Self { mailbox, types })
    }
}

/// Who gets mails.
#[derive(Clone, Debug)]
pub(crate) struct Recipients {
    pub(crate) customer: Option<EventTypes>,
    pub(crate) staff: Vec<Staff>,
}

/// The recipients of one mail, at least one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Addressed {
    /// Those that the mail names.
    pub(crate) to: Vec<Mailbox>,
    /// All of them.
    pub(crate) all: Vec<Address>,
}

impl Recipients {
    /// Returns whether an event of this type has recipients.
    pub(crate) fn has(&self, kind: EventType) -> bool {
        self.customer.is_some_and(|types| types.contains(kind))
            || self.staff.iter().any(|staff| staff.types.contains(kind))
    }

    /// Returns the recipients of the mail for an event; `None` if there is none.
    ///
    /// The customer does not see the fixed recipients.
    pub(crate) fn of(&self, event: &Event) -> Option<Addressed> {
        let is_for_customer = self.customer.is_some_and(|types| types.contains(event.kind));
        let customer = event
            .order
            .as_ref()
            .filter(|_| is_for_customer)
            .and_then(|order| address(order.customer.as_deref()?));
        let staff = self.staff.iter().filter(|staff| staff.types.contains(event.kind));
        let staff: Vec<Mailbox> = staff.map(|staff| staff.mailbox.clone()).collect();
        let mut all: Vec<Address> = customer.iter().cloned().collect();
        all.extend(staff.iter().map(|mailbox| mailbox.email.clone()));
        all.sort_unstable();
        all.dedup();
        let to = customer.map_or(staff, |customer| vec![Mailbox::new(None, customer)]);
        (!all.is_empty()).then_some(Addressed { to, all })
    }
}

/// Returns the address of a customer. A name with an address, such as `Ann <ann@example.com>`, is none: the customer of an
/// order is a free string.
fn address(customer: &str) -> Option<Address> {
    customer.parse().ok()
}
