//! Values of the settings of e-mail.

use subscriber::EventTypes;
use subscriber_email::{InvalidValue, Sender, SmtpUrl, Staff};

use super::ValueError;

/// Parses the URL of an SMTP server.
pub(crate) fn smtp_url(text: &str) -> Result<SmtpUrl, ValueError> {
    text.parse().map_err(invalid)
}

/// Parses the sender of e-mails.
pub(crate) fn sender(text: &str) -> Result<Sender, ValueError> {
    text.parse().map_err(invalid)
}

/// Parses a fixed recipient and its types.
pub(crate) fn staff(text: &str) -> Result<Staff, ValueError> {
    text.parse().map_err(invalid)
}

/// Parses types of events.
pub(crate) fn event_types(text: &str) -> Result<EventTypes, ValueError> {
    text.parse().map_err(|error: <EventTypes as std::str::FromStr>::Err| {
        ValueError::new(error.to_string(), "separate several types with commas; order.* is every type")
    })
}

fn invalid(InvalidValue { problem, hint }: InvalidValue) -> ValueError {
    ValueError::new(problem, hint)
}
