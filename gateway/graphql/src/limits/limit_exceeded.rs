use domain::ErrorCode;

/// The limit that a document exceeds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LimitExceeded {
    /// The stable name of the limit.
    pub(crate) limit: &'static str,
    /// The code of the error.
    pub(crate) code: ErrorCode,
    /// Message for humans.
    pub(crate) message: String,
}

impl LimitExceeded {
    /// Creates the error of a limit.
    pub(crate) fn new(limit: &'static str, message: String) -> Self {
        Self { limit, code: ErrorCode::LimitExceeded, message }
    }

    /// Creates the error of a document with too many `what`.
    pub(super) fn over(limit: &'static str, what: &str, most: usize) -> Self {
        Self::new(limit, format!("the document has too many {what}: the most is {most}"))
    }
}
