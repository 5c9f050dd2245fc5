//! The mail for an event.

use std::str::FromStr;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use subscriber::Event;

use crate::invalid_value::InvalidValue;
use crate::recipients::Addressed;
use crate::templates::Rendered;

/// The sender of every mail: `Shop <shop@example.com>` or `shop@example.com`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sender(pub(crate) Mailbox);

impl FromStr for Sender {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const HINT: &str = "write an address such as shop@example.com or 'Shop <shop@example.com>'";
        text.parse()
            .map(Self)
            .map_err(|error| InvalidValue::new(format!("it is not an address: {error}"), HINT))
    }
}

/// Builds the mail. Its `Message-ID` is the same each time, so that mail programs recognise a repeated one.
pub(crate) fn build(
    sender: &Sender,
    event: &Event,
    recipients: &Addressed,
    rendered: Rendered,
) -> Result<Message, lettre::error::Error> {
    let Sender(from) = sender;
    let id = format!("<{}@{}>", event.id, from.email.domain());
    let mut message = Message::builder().from(from.clone()).message_id(Some(id)).date_now();
    for mailbox in &recipients.to {
        message = message.to(mailbox.clone());
    }
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    message
        .subject(rendered.subject)
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(rendered.text, rendered.html))
}
