//! The metrics of e-mail.

use metrics::{counter, describe_counter};

const SENT: &str = "orders_email_sent_total";

/// The name, type and help of every metric.
pub(crate) const METRICS: [(&str, &str, &str); 1] = [(
    SENT,
    "counter",
    "E-mails by outcome: sent, rejected, given_up, unknown (may be lost), no_recipient or failed_to_render.",
)];

/// Describes each metric to the recorder, if there is one.
pub(crate) fn describe() {
    for (name, _, help) in METRICS {
        describe_counter!(name, help);
    }
}

/// What became of a mail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// The server has accepted it.
    Sent,
    /// The server has refused it permanently, for all recipients.
    Rejected,
    /// The server has refused it for too long.
    GivenUp,
    /// The process or the connection ended while it was sent: it may be lost.
    Unknown,
    /// No recipient has an address.
    NoRecipient,
    /// A template failed.
    FailedToRender,
}

pub(crate) fn count(outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Sent => "sent",
        Outcome::Rejected => "rejected",
        Outcome::GivenUp => "given_up",
        Outcome::Unknown => "unknown",
        Outcome::NoRecipient => "no_recipient",
        Outcome::FailedToRender => "failed_to_render",
    };
    counter!(SENT, "outcome" => outcome).increment(1);
}
