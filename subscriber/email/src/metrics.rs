//! The metrics of e-mail.

use metrics::{counter, describe_counter};

const SENT: &str = "orders_email_sent_total";

/// The name, type and help of every metric.
pub(crate) const METRICS: [(&str, &str, &str); 1] = [(
    SENT,
    "counter",
    "E-mails by outcome: sent, rejected, given_up, unknown (may be lost), no_recipient or failed_to_render.",
)];

/// Describes each metric to the recorder, if there is one, and registers its series with 0.
pub(crate) fn describe() {
    for (name, _, help) in METRICS {
        describe_counter!(name, help);
    }
    for outcome in Outcome::ALL {
        counter!(SENT, "outcome" => outcome.as_str()).increment(0);
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

impl Outcome {
    const ALL: [Self; 6] =
        [Self::Sent, Self::Rejected, Self::GivenUp, Self::Unknown, Self::NoRecipient, Self::FailedToRender];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Rejected => "rejected",
            Self::GivenUp => "given_up",
            Self::Unknown => "unknown",
            Self::NoRecipient => "no_recipient",
            Self::FailedToRender => "failed_to_render",
        }
    }
}

pub(crate) fn count(outcome: Outcome) {
    counter!(SENT, "outcome" => outcome.as_str()).increment(1);
}
