//! A page of a list of orders, and whether there are orders around it.

use domain::query::{Filter, Position, Sort};

use super::use_cases::Orders;
use crate::error::Error;
use gateway_store::{Listed, Scan, ScanStart, Scanned, SearchPass};

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

impl Orders {
    /// A page of a list, and whether there are orders around it. The page has fewer orders than asked for when they
    /// would take more than `max_bytes`. Towards the end that it was not read
    /// to, that is looked up only when the page begins at a cursor; one row of the index tells.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; a search is refused as overloaded while
    /// [`SEARCHES`](gateway_store::SEARCHES) others run.
    pub async fn list(&self, listing: Listing, max_bytes: usize) -> Result<Page, Error> {
        let Listing { filter, sort, after, before, take } = listing;
        let (limit, sort, from, end) = match take {
            Take::First(limit) => (limit, sort, after, before),
            Take::Last(limit) => (limit, sort.reversed(), before, after),
        };
        // One more than asked for tells whether there are more.
        let (start, most) = (from.map_or(ScanStart::Begin, ScanStart::Behind), limit.saturating_add(1));
        let scan = Scan { filter: filter.clone(), sort, start, end, limit: most };
        let mut pass = SearchPass::default();
        let Scanned { mut items, cut } = self.store.scan(scan, max_bytes, &mut pass).await?;
        let more = cut || items.len() > limit as usize;
        items.truncate(limit as usize);
        let more_behind_start = match from.map(ScanStart::At) {
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
