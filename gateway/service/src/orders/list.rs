//! Pages of lists of orders.

use domain::query::{Filter, Position, Sort};
use domain::{Principal, Scope};

use super::use_cases::Orders;
use crate::error::Error;
use gateway_store::{Listed, Scan, ScanStart, Scanned, SearchPass};

/// The end of the range that a page shows, and its maximum number of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Orders at the beginning of the range.
    First(u32),
    /// Orders at the end of the range.
    Last(u32),
}

/// The query of one page of a list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// The filter of the list.
    pub filter: Filter,
    /// The sort of the list.
    pub sort: Sort,
    /// Only orders after this position.
    pub after: Option<Position>,
    /// Only orders before this position.
    pub before: Option<Position>,
    /// Number of orders, and the end of the range.
    pub take: Take,
}

/// The orders of a page, in the sort of the list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The orders.
    pub items: Vec<Listed>,
    /// Whether there are orders before the page.
    pub has_previous: bool,
    /// Whether there are orders after the page.
    pub has_next: bool,
}

impl Orders {
    /// Reads a page of a list of the caller's tenant.
    ///
    /// It has fewer orders than requested when they would exceed `max_bytes`. Orders before the begin of the scan are
    /// looked up only when the page begins at a cursor, in one row of the index.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:read`, and [`Error::Unavailable`]; a search is refused as overloaded while
    /// [`SEARCHES`](gateway_store::SEARCHES) others run.
    pub async fn list(
        &self,
        principal: &Principal,
        listing: ListQuery,
        max_bytes: usize,
    ) -> Result<Page, Error> {
        principal.require(Scope::OrdersRead)?;
        let ListQuery { filter, sort, after, before, take } = listing;
        let (limit, sort, from, end) = match take {
            Take::First(limit) => (limit, sort, after, before),
            Take::Last(limit) => (limit, sort.reversed(), before, after),
        };
        // One more than requested shows whether there are more.
        let (start, most) = (from.map_or(ScanStart::Begin, ScanStart::Behind), limit.saturating_add(1));
        let scan = Scan { filter: filter.clone(), sort, start, end, limit: most };
        let mut pass = SearchPass::default();
        let Scanned { mut items, cut } = self.store.scan(principal, scan, max_bytes, &mut pass).await?;
        let more = cut || items.len() > limit as usize;
        items.truncate(limit as usize);
        let more_behind_start = match from.map(ScanStart::At) {
            None => false,
            Some(start) => {
                let scan = Scan { filter, sort: sort.reversed(), start, end: None, limit: 1 };
                !self.store.scan_ids(principal, scan, &mut pass).await?.is_empty()
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
