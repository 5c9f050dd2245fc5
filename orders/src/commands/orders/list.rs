//! `orders list`: lists orders.

use super::layout::ORDERS;
use super::pages::each_page;
use crate::cli::ListOrdersArgs;
use crate::commands::api::Api;
use crate::error::Error;
use crate::output::Listing;

/// Prints up to `--limit` orders, page by page.
pub(crate) async fn run(args: ListOrdersArgs) -> Result<(), Error> {
    let mut query = args.filter.set_filters();
    query.push(("sort".to_owned(), args.sort.to_string()));
    if !args.status.is_empty() {
        let words: Vec<&str> = args.status.iter().map(|status| status.as_str()).collect();
        query.push(("status".to_owned(), words.join(",")));
    }
    query.extend(args.waits_for.map(|cause| ("waitsFor".to_owned(), cause)));
    let mut listing = Listing::new(args.format.format(), &ORDERS);
    let api = Api::new(&args.api)?;
    each_page(&api, "/orders", query, args.limit, |page| listing.add(page)).await?;
    listing.finish()
}
