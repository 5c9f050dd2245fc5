use std::path::PathBuf;

use crate::recipients::MAX_STAFF;

/// The reason why mails cannot be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A template is missing, cannot be read, or fails for a sample event.
    #[error("the template {name} in {}: {problem}", .folder.display())]
    Template {
        /// The folder.
        folder: PathBuf,
        /// The name of the file.
        name: String,
        /// What to change.
        problem: String,
    },
    /// Nothing would be sent.
    #[error("no event has a recipient: select types for the customer, or name a fixed recipient")]
    NoRecipients,
    /// There are too many fixed recipients.
    #[error("there are {0} fixed recipients, and {max} are possible: use a mailing list", max = MAX_STAFF)]
    TooManyRecipients(usize),
    /// The certificates of the system cannot be used.
    #[error("the TLS client cannot be built: {0}")]
    Tls(String),
    /// The examples cannot be written.
    #[error("{} cannot be written: {source}", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
