//! One read of a list, and its result.

use domain::Order;
use domain::query::{Filter, Position, Sort};

use super::unreadable::Unreadable;

/// One entry of a list.
#[derive(Debug, Clone)]
pub enum Listed {
    /// An order.
    Order(Box<Order>),
    /// An unreadable order. It keeps its position in the list, so that pages continue after it.
    Unreadable {
        /// Its position.
        position: Position,
        /// Why it cannot be read.
        unreadable: Unreadable,
    },
}

impl Listed {
    /// Returns its position in the list.
    pub fn position(&self) -> Position {
        match self {
            Self::Order(order) => order.as_ref().into(),
            Self::Unreadable { position, .. } => *position,
        }
    }

    /// Returns the order, if it can be read.
    pub fn order(&self) -> Option<&Order> {
        match self {
            Self::Order(order) => Some(order),
            Self::Unreadable { .. } => None,
        }
    }
}

/// Orders in the sequence in which they were read.
#[derive(Debug, Default)]
pub struct Scanned {
    /// The orders.
    pub items: Vec<Listed>,
    /// Whether the size limit ended the read, so that more orders follow.
    pub cut: bool,
}

/// Bytes that an unreadable order counts in a page.
const UNREADABLE_BYTES: usize = 512;

impl Scanned {
    /// Adds an order unless all of them together exceed `bytes`. The first one is always added.
    pub(super) fn add(&mut self, item: Listed, bytes: &mut usize) -> bool {
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

/// A read of a list: from a position, in one direction, up to a number of orders.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The filter.
    pub filter: Filter,
    /// The sort.
    pub sort: Sort,
    /// The beginning.
    pub start: ScanStart,
    /// The latest end, which is not included.
    pub end: Option<Position>,
    /// Maximum number of orders.
    pub limit: u32,
}

/// The beginning of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanStart {
    /// At the beginning of the list.
    Begin,
    /// With this position.
    At(Position),
    /// After this position.
    Behind(Position),
}
