use std::time::Duration;

/// The reason why a handler needs the same event again. Any error converts into it.
#[derive(Debug)]
pub struct Retry {
    pub(crate) reason: String,
    pub(crate) after: Option<Duration>,
}

impl Retry {
    /// Creates a retry after the delays of [`Config::retry`](crate::Config::retry).
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), after: None }
    }

    /// Sets the delay, for example what the called service asked for.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { after: Some(delay), ..self }
    }
}

impl<E: std::error::Error> From<E> for Retry {
    fn from(error: E) -> Self {
        Self::new(connection::format_causes(&error))
    }
}
