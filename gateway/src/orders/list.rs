//! Lists of orders: which ones, in which order, and which stretch of them.
//!
//! A place in a list is the key of an order ([`Position`]) and not a number of orders to skip, so what
//! is created or changes meanwhile never shifts a page: an order that is there all the time, and
//! matches, comes up once.
//!
//! There is no sorting by the time of the last change. An order would move through the list while it
//! is read, and could be met twice or never.

use std::fmt;
use std::str::FromStr;

use domain::{Currency, Order, OrderId, Status, Timestamp};

use super::Orders;
use crate::Error;
use crate::store::{Pass, Unreadable};

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
    /// In this currency. Set whenever totals are compared.
    pub currency: Option<Currency>,
    /// A total of at least so many minor units.
    pub total_from: Option<i64>,
    /// A total of at most so many minor units.
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

    pub(crate) fn is_descending(self) -> bool {
        matches!(self, Self::CreatedDescending | Self::TotalDescending)
    }

    /// The same list from its other end.
    fn reversed(self) -> Self {
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

/// Which end of a stretch is shown, and at most how many orders of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Those at its beginning.
    First(u32),
    /// Those at its end.
    Last(u32),
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Which orders the list has.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// Only those behind this place.
    pub after: Option<Position>,
    /// Only those in front of this place.
    pub before: Option<Position>,
    /// How many, and from which end.
    pub take: Take,
}

/// One entry of a list.
#[derive(Debug, Clone)]
pub enum Listed {
    /// An order.
    Order(Box<Order>),
    /// An order that cannot be read. It has its place in the list, so that pages lead past it.
    Unreadable {
        /// Its place.
        position: Position,
        /// Why it cannot be read.
        unreadable: Unreadable,
    },
}

impl Listed {
    /// Its place in the list.
    pub fn position(&self) -> Position {
        match self {
            Self::Order(order) => order.as_ref().into(),
            Self::Unreadable { position, .. } => *position,
        }
    }

    /// The order, if it can be read.
    pub fn order(&self) -> Option<&Order> {
        match self {
            Self::Order(order) => Some(order),
            Self::Unreadable { .. } => None,
        }
    }
}

/// The orders of a page, always in the order of the list, from whichever end they were taken.
#[derive(Debug, Clone)]
pub struct Page {
    /// The orders.
    pub items: Vec<Listed>,
    /// Whether there are orders in front of the page.
    pub has_previous: bool,
    /// Whether there are orders behind it.
    pub has_next: bool,
}

/// Orders that were read, in the order in which they were read.
#[derive(Debug, Default)]
pub struct Scanned {
    /// The orders.
    pub items: Vec<Listed>,
    /// Whether reading ended because of their size, so that there are more.
    pub cut: bool,
}

/// What an order that cannot be read takes of a page.
const UNREADABLE_BYTES: usize = 512;

impl Scanned {
    /// Adds an order unless all of them then take more than `bytes`. The first one is always added.
    pub(crate) fn add(&mut self, item: Listed, bytes: &mut usize) -> bool {
        let takes = item.order().map_or(UNREADABLE_BYTES, Order::approximate_bytes);
        match bytes.checked_sub(takes) {
            None if !self.items.is_empty() => self.cut = true,
            left => {
                *bytes = left.unwrap_or(0);
                self.items.push(item);
            }
        }
        !self.cut
    }
}

/// What is read from the database: from a place on, in one direction, up to a number of orders.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Which orders.
    pub filter: Filter,
    /// In which order they are read.
    pub sort: Sort,
    /// Where it begins.
    pub start: Start,
    /// Where it ends, at the latest: in front of this place.
    pub end: Option<Position>,
    /// At most so many orders.
    pub limit: u32,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the beginning of the list.
    Begin,
    /// With this place.
    At(Position),
    /// Behind this place.
    Behind(Position),
}

impl Orders {
    /// A page of a list, and whether there are orders around it. The page has fewer orders than asked for when they
    /// would take more than [`HttpLimits::response_bytes`](crate::config::HttpLimits::response_bytes). Towards the end that it was not read
    /// to, that is looked up only when the page begins at a cursor; one row of the index tells.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; a search is refused as overloaded while
    /// [`SEARCHES`](crate::store::SEARCHES) others run.
    pub async fn list(&self, listing: Listing) -> Result<Page, Error> {
        let Listing { filter, sort, after, before, take } = listing;
        let (limit, sort, from, end) = match take {
            Take::First(limit) => (limit, sort, after, before),
            Take::Last(limit) => (limit, sort.reversed(), before, after),
        };
        // One more than asked for tells whether there are more.
        let (start, most) = (from.map_or(Start::Begin, Start::Behind), limit.saturating_add(1));
        let scan = Scan { filter: filter.clone(), sort, start, end, limit: most };
        let mut pass = Pass::default();
        let Scanned { mut items, cut } =
            self.store.scan(scan, self.config.http.response_bytes, &mut pass).await?;
        let more = cut || items.len() > limit as usize;
        items.truncate(limit as usize);
        let more_behind_start = match from.map(Start::At) {
            None => false,
            Some(start) => {
                let scan = Scan { filter, sort: sort.reversed(), start, end: None, limit: 1 };
                !self.store.scan_ids(scan, &mut pass).await?.is_empty()
            }
        };
        Ok(match take {
            Take::First(_) => Page { items, has_previous: more_behind_start, has_next: more },
            Take::Last(_) => {
                items.reverse();
                Page { items, has_previous: more, has_next: more_behind_start }
            }
        })
    }
}
