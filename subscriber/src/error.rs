use connection::InvalidSetting;

/// The reason why a subscriber ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is invalid.
    #[error("{setting} {problem}")]
    Invalid {
        /// The name of the setting.
        setting: &'static str,
        /// The required change; the message continues a sentence that starts with the setting's name.
        problem: String,
    },
    /// The gateway refuses the calls of this reader, and a repetition cannot succeed.
    #[error("the gateway refuses the reader: {0}")]
    Refused(String),
    /// The event log no longer has the events after the committed cursor.
    #[error(
        "the event log no longer has the events after the cursor of the reader, which are missing for it: read the present \
         orders, then start once with OnExpired::ContinueAtOldest; the oldest cursor is {oldest}"
    )]
    Expired {
        /// The cursor before the oldest event.
        oldest: String,
    },
    /// The JSON of an event cannot be read by this version.
    #[error("the event {id} cannot be read ({detail}): update this program, or select other types")]
    Unreadable {
        /// The id of the event.
        id: String,
        /// The cause.
        detail: String,
    },
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
