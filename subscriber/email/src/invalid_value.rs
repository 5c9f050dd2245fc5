/// A value of a setting cannot be used. The message continues a sentence that starts with the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct InvalidValue {
    /// The problem, without the value, which may contain a password.
    pub problem: String,
    /// The expected form.
    pub hint: &'static str,
}

impl InvalidValue {
    pub(crate) fn new(problem: impl Into<String>, hint: &'static str) -> Self {
        Self { problem: problem.into(), hint }
    }
}
