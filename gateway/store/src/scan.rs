//! What is read of a list in one go, and what was read.

use domain::Order;
use domain::query::{Filter, Position, Sort};

use super::isolate::Unreadable;

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
    pub start: ScanStart,
    /// Where it ends, at the latest: in front of this place.
    pub end: Option<Position>,
    /// At most so many orders.
    pub limit: u32,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanStart {
    /// At the beginning of the list.
    Begin,
    /// With this place.
    At(Position),
    /// Behind this place.
    Behind(Position),
}
