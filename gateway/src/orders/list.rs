use domain::{Order, Status, Timestamp};

/// Which orders a list shows; everything that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these; empty means all.
    pub statuses: Vec<Status>,
    /// Exactly this customer.
    pub customer: Option<String>,
    /// Exactly this reference.
    pub external_reference: Option<String>,
    /// Exactly this error class.
    pub error_class: Option<String>,
    /// Created at or after this time.
    pub created_from: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
}

/// A page of orders, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// The orders.
    pub orders: Vec<Order>,
    /// Whether older ones follow.
    pub has_more: bool,
}
