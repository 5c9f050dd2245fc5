//! The filter and the sort of an order list.
//!
//! A position in a list is the key of an order ([`Position`]) and not an offset. Therefore orders that are created or
//! change between two pages never shift a page. No sort uses the time of the last change: an order would move within the
//! list, and a reader could get it twice or never.

use std::fmt;
use std::str::FromStr;

use crate::money::Currency;
use crate::order::Order;
use crate::order_id::OrderId;
use crate::status::Status;
use crate::timestamp::Timestamp;

/// The filter of a list; an order must match all fields that are set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these statuses; empty means all.
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
    /// Currency. It is set if totals are compared.
    pub currency: Option<Currency>,
    /// The minimum total in minor units.
    pub total_from: Option<i64>,
    /// The maximum total in minor units.
    pub total_to: Option<i64>,
    /// A substring of at least one item name, compared without case.
    pub item_contains: Option<String>,
}

/// The sort of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// Newest first.
    #[default]
    CreatedDescending,
    /// Oldest first.
    CreatedAscending,
    /// Largest total first, in one currency; equal totals newest first.
    TotalDescending,
    /// Smallest total first, in one currency; equal totals oldest first.
    TotalAscending,
}

/// The string is not a sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of -createdAt, createdAt, -total, total")]
pub struct InvalidSort;

impl Sort {
    /// Returns whether it compares totals, and not only ids.
    pub fn is_by_total(self) -> bool {
        matches!(self, Self::TotalDescending | Self::TotalAscending)
    }

    /// Returns whether the largest value comes first.
    pub fn is_descending(self) -> bool {
        matches!(self, Self::CreatedDescending | Self::TotalDescending)
    }

    /// Returns the sort in the opposite direction.
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

    fn from_str(string: &str) -> Result<Self, InvalidSort> {
        let all =
            [Self::CreatedDescending, Self::CreatedAscending, Self::TotalDescending, Self::TotalAscending];
        all.into_iter().find(|sort| sort.as_str() == string).ok_or(InvalidSort)
    }
}

/// A position in a list: the sort key of an order that is, or was, in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The order's total in minor units; used only if totals are compared.
    pub total_minor: i64,
    /// The order.
    pub id: OrderId,
}

impl From<&Order> for Position {
    fn from(order: &Order) -> Self {
        Self { total_minor: order.total.minor(), id: order.id }
    }
}
