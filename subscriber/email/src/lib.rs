//! E-mail for events: a handler for the subscriber that renders templates and sends them by SMTP.
//!
//! Start reading at [`EmailHandler`], then `recipients` (who gets a mail), `templates` (its text), `message` (the mail) and
//! `smtp` (the dialogue with the server).
//!
//! **At most once.** An e-mail has no key that a server would recognise a second time, and a duplicate e-mail is worse than a
//! lost one. So the handler stores the mark of the event after the server has accepted the recipients and before it gets the
//! message. A process that ends in between loses this one mail; the next process logs that. Every failure before that, and
//! every refusal by the server, is certain: the mark is removed, and the mail is sent later.

mod error;
mod handler;
mod invalid_value;
mod message;
mod metrics;
mod recipients;
mod smtp;
mod templates;

use std::path::PathBuf;
use std::time::Duration;

pub use error::Error;
pub use handler::EmailHandler;
pub use invalid_value::InvalidValue;
pub use message::Sender;
pub use recipients::{MAX_STAFF, Staff};
pub use smtp::SmtpUrl;
pub use templates::write_examples;

/// The name of the reader.
pub const READER: &str = "email";

/// Which mails to send, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server.
    pub server: SmtpUrl,
    /// The sender of every mail.
    pub sender: Sender,
    /// The types of events for which the customer of the order gets a mail.
    pub customer: Option<subscriber::EventTypes>,
    /// The fixed recipients.
    pub staff: Vec<Staff>,
    /// The folder with the templates, in place of the examples.
    pub templates: Option<PathBuf>,
    /// How long a mail is repeated that the server refuses for now, before it is given up.
    pub refusal_timeout: Duration,
}

/// Returns the name, type and help of every metric.
pub fn declared_metrics() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    metrics::METRICS.into_iter()
}
