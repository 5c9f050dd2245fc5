//! Exports: all orders that match a filter, page by page.

use std::sync::Arc;

use domain::query::{Filter, Position};
use domain::{Principal, Scope};
use tokio::sync::OwnedSemaphorePermit;

use super::use_cases::Orders;
use crate::error::Error;
use gateway_store::{ExportPage, Listed};

/// Maximum number of orders of one export.
pub const MAX_EXPORTED: u32 = 1_000_000;
/// Maximum number of orders of one page of an export.
pub const EXPORT_PAGE: u32 = 500;
/// Size at which a page of an export ends.
const PAGE_BYTES: usize = 1024 * 1024;

/// An export that is running. Each page is read when the caller requests it, so a slow reader holds one page.
pub struct Export {
    orders: Orders,
    principal: Arc<Principal>,
    filter: Filter,
    after: Option<Position>,
    left: u32,
    has_ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Orders {
    /// Begins an export of the matching orders of the caller's tenant, newest first, at most [`MAX_EXPORTED`].
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:read`, and [`Error::Unavailable`] while [`super::MAX_EXPORTS`] exports run.
    pub fn export(&self, principal: &Arc<Principal>, filter: Filter) -> Result<Export, Error> {
        principal.require(Scope::OrdersRead)?;
        let permit = self.exports.clone().try_acquire_owned().map_err(|_| Error::overloaded())?;
        Ok(Export {
            orders: self.clone(),
            principal: principal.clone(),
            filter,
            after: None,
            left: MAX_EXPORTED,
            has_ended: false,
            _permit: permit,
        })
    }
}

impl Export {
    /// Returns the next page, which can be empty; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Unavailable`]. The export can be continued with the same call.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Listed>>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        let limit = self.left.min(EXPORT_PAGE);
        let ExportPage { items, next } = self
            .orders
            .store
            .export_page(&self.principal, &self.filter, self.after, limit, PAGE_BYTES)
            .await?;
        self.left -= u32::try_from(items.len()).unwrap_or(u32::MAX).min(self.left);
        self.after = next;
        self.has_ended = next.is_none() || self.left == 0;
        Ok(Some(items))
    }
}
