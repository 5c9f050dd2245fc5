use std::sync::Arc;

/// The origin of a command of an operator, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The name of the principal.
    pub name: Arc<str>,
    /// The id of the request, if there was one.
    pub request_id: Option<String>,
}
