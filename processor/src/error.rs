use connection::{ConnectError, InvalidSetting};

/// The reason why a processor or a handler cannot be built, or a processor cannot start. No later failure ends a processor.
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
    /// The gateway refuses the credential of a processor that starts, and nothing else would be read at the next try.
    #[error(
        "the gateway refuses the credential of this processor: {0}: start it with a valid key in ORDERS_TOKEN, or use \
         --token-file (ORDERS_TOKEN_FILE), which is read again"
    )]
    Refused(ConnectError),
    /// The webhook cannot be called, for example because the machine has no root certificates.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
}

impl Error {
    pub(crate) fn invalid(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { setting, problem: problem.into() }
    }
}

impl From<InvalidSetting> for Error {
    fn from(InvalidSetting { setting, problem }: InvalidSetting) -> Self {
        Self::Invalid { setting, problem }
    }
}
