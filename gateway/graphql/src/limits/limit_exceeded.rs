use domain::ErrorCode;

/// A document that is too much, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LimitExceeded {
    /// A stable word for the limit.
    pub(crate) limit: &'static str,
    /// The code of the error.
    pub(crate) code: ErrorCode,
    /// For people.
    pub(crate) message: String,
}

impl LimitExceeded {
    pub(crate) fn new(limit: &'static str, message: String) -> Self {
        Self { limit, code: ErrorCode::LimitExceeded, message }
    }

    pub(super) fn over(limit: &'static str, what: &str, most: usize) -> Self {
        Self::new(limit, format!("the document has too many {what}: the most is {most}"))
    }
}
