//! Reads a list of orders from a gateway, page by page.

use crate::commands::api::Api;
use crate::error::Error;
use crate::output::Item;

/// Maximum number of orders in one request.
const PAGE_SIZE: u32 = 1_000;

/// Passes up to `limit` orders of a list to `show`, a page at a time.
pub(crate) async fn each_page(
    api: &Api,
    path: &str,
    filter: Vec<(String, String)>,
    limit: u32,
    mut show: impl FnMut(&[Item]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = limit;
    let mut after = None;
    loop {
        let mut query = filter.clone();
        query.push(("limit".to_owned(), left.min(PAGE_SIZE).to_string()));
        query.extend(after.take().map(|after| ("after".to_owned(), after)));
        let (page, next) = api.get_page(path, &query).await?;
        show(&page)?;
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        // A page can be shorter than its limit if its orders are large. Only a page without a next one is the last.
        if next.is_none() || left == 0 {
            return Ok(());
        }
        after = next;
    }
}
