use std::fmt::Write as _;

/// Why a processor or a handler cannot be built. Nothing that happens later ends a processor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot work.
    #[error("{setting} {problem}")]
    Invalid {
        /// The setting's name, as in the struct or the argument that takes it.
        setting: &'static str,
        /// What to change; reads as the rest of a sentence that starts with the setting's name.
        problem: String,
    },
    /// The HTTP client of a handler cannot be built, for example because the machine has no root
    /// certificates.
    #[error("the HTTP client cannot be built: {}", chain(.0))]
    HttpClient(reqwest::Error),
}

impl Error {
    pub(crate) fn invalid(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { setting, problem: problem.into() }
    }
}

/// The error and its causes in one line; the outermost alone often says only "transport error".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}
