use std::fmt::Write as _;

/// The reason why a processor or a handler cannot be built. No later failure ends a processor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is invalid.
    #[error("{setting} {problem}")]
    Invalid {
        /// The name of the setting, or of the argument.
        setting: &'static str,
        /// The required change; the message continues a sentence that starts with the setting's name.
        problem: String,
    },
    /// The webhook cannot be called, for example because the machine has no root certificates.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
}

impl Error {
    pub(crate) fn invalid(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { setting, problem: problem.into() }
    }
}

/// Formats an error and its causes in one line; the outermost message is often only "transport error".
pub(crate) fn format_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !line.ends_with(&message) {
            // A write to a String cannot fail.
            let _ = write!(line, ": {message}");
        }
        cause = error.source();
    }
    line
}
