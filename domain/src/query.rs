//! What a list of orders shows, and in which order.
//!
//! A place in a list is the key of an order ([`Position`]) and not a number of orders to skip, so orders that are
//! created or change meanwhile never shift a page. There is no sorting by the time of the last change: an order would
//! move through the list while it is read, and could be met twice or never.

use std::fmt;
use std::str::FromStr;

use crate::{Currency, Order, OrderId, Status, Timestamp};

/// Which orders a list shows; everything that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these; empty means all.
    pub statuses: Vec<Status>,
    /// Customer, exact match.
    pub customer: Option<String>,
    /// External reference, exact match.
    pub external_reference: Option<String>,
    /// Error class, exact match.
    pub error_class: Option<String>,
    /// Created at or after this time.
    pub created_from: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
    /// In this currency. Set whenever totals are compared.
    pub currency: Option<Currency>,
    /// The minimum total in minor units.
    pub total_from: Option<i64>,
    /// The maximum total in minor units.
    pub total_to: Option<i64>,
    /// The name of at least one line item contains this text, upper and lower case being the same.
    pub item_contains: Option<String>,
}

/// The order in which a list shows its orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// Newest first.
    #[default]
    CreatedDescending,
    /// Oldest first.
    CreatedAscending,
    /// Largest total first, of one currency; among equal ones the newest first.
    TotalDescending,
    /// Smallest total first, of one currency; among equal ones the oldest first.
    TotalAscending,
}

/// The text is not a way to sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of -createdAt, createdAt, -total, total")]
pub struct InvalidSort;

impl Sort {
    /// Whether it compares totals, and not ids alone.
    pub fn is_by_total(self) -> bool {
        matches!(self, Self::TotalDescending | Self::TotalAscending)
    }

    /// Whether the largest comes first.
    pub fn is_descending(self) -> bool {
        matches!(self, Self::CreatedDescending | Self::TotalDescending)
    }

    /// The same list from its other end.
    pub fn reversed(self) -> Self {
        match self {
            Self::CreatedDescending => Self::CreatedAscending,
            Self::CreatedAscending => Self::CreatedDescending,
            Self::TotalDescending => Self::TotalAscending,
            Self::TotalAscending => Self::TotalDescending,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::CreatedDescending => "-createdAt",
            Self::CreatedAscending => "createdAt",
            Self::TotalDescending => "-total",
            Self::TotalAscending => "total",
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Sort {
    type Err = InvalidSort;

    fn from_str(text: &str) -> Result<Self, InvalidSort> {
        let all =
            [Self::CreatedDescending, Self::CreatedAscending, Self::TotalDescending, Self::TotalAscending];
        all.into_iter().find(|sort| sort.as_str() == text).ok_or(InvalidSort)
    }
}

/// A place in a list: that of an order which is, or was, there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The order's total in minor units; looked at only when totals are compared.
    pub total_minor: i64,
    /// The order.
    pub id: OrderId,
}

impl From<&Order> for Position {
    fn from(order: &Order) -> Self {
        Self { total_minor: order.total.minor(), id: order.id }
    }
}
