//! `orders cancel`: cancels orders by their ids, or all that match a filter.

use serde_json::{Map, Value, json};

use super::layout::ORDERS;
use crate::cli::CancelOrdersArgs;
use crate::commands::api::{Api, requested_by};
use crate::console;
use crate::error::{Error, Failures};
use crate::output::{Column, Item, Layout, Listing, text};

/// The orders of a bulk cancel, of which only the ids are known.
const CANCELLED: Layout =
    Layout { id: "id", none: "no orders match", columns: &[Column::new("ID", |order| text(order, "id"))] };

/// Cancels the orders.
pub(crate) async fn run(args: CancelOrdersArgs) -> Result<(), Error> {
    let selects = args.all || !args.status.is_empty() || !args.filter.set_filters().is_empty();
    match (args.ids.is_empty(), selects) {
        (false, false) => cancel_ids(&args).await,
        (true, true) => cancel_matching(&args).await,
        (true, false) => Err(Error::usage("no orders are selected")
            .hint("give order ids, a filter such as --customer ann@example.com, or --all")),
        (false, true) => Err(Error::usage("--all and filters cannot be combined with order ids")
            .hint("give order ids, or filters, or --all")),
    }
}

async fn cancel_ids(args: &CancelOrdersArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let mut listing = Listing::new(args.format.format(), &ORDERS);
    let mut failures = Failures::default();
    for id in &args.ids {
        let path = format!("/orders/{id}");
        let cancelled = match args.dry_run {
            true => api.get(&path, &[]).await.and_then(|order| match text(&order, "status").as_str() {
                "pending" | "processing" => Ok(order),
                "cancelled" => Ok(order),
                status => Err(Error::refused(format!("the order is {status}"))),
            }),
            false => api.post(&format!("{path}/cancel"), &json!({"reason": args.reason})).await,
        };
        match cancelled {
            Ok(order) => listing.add(&[order])?,
            Err(error) => {
                console::explain(&format!("{id}  {error}\n"));
                failures.add(&error);
            }
        }
    }
    if failures.count() < args.ids.len() {
        listing.finish()?;
    }
    failures.result(args.ids.len(), "orders were not cancelled")
}

async fn cancel_matching(args: &CancelOrdersArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let mut filter = args.filter.body();
    if !args.status.is_empty() {
        let words: Vec<&str> = args.status.iter().map(|status| status.as_str()).collect();
        filter.insert("status".to_owned(), json!(words));
    }
    if !args.dry_run && !args.yes {
        console::require_terminal("--yes")?;
        let count = cancel_pages(&api, args, &filter, true, |_| Ok(())).await?;
        if count == 0 {
            return console::print("no orders match\n");
        }
        if !console::confirm(&format!("Cancel {count} orders?"))? {
            return Err(Error::refused("nothing was cancelled").hint("answer y to cancel the orders"));
        }
    }
    let mut listing = Listing::new(args.format.format(), &CANCELLED);
    let count = cancel_pages(&api, args, &filter, args.dry_run, |page| listing.add(page)).await?;
    listing.finish()?;
    let result = if args.dry_run { "would be cancelled" } else { "are cancelled" };
    console::explain(&format!("{count} orders {result}\n"));
    Ok(())
}

/// Sends requests until no further order matches, and returns the number of orders.
async fn cancel_pages(
    api: &Api,
    args: &CancelOrdersArgs,
    filter: &Map<String, Value>,
    dry_run: bool,
    mut show: impl FnMut(&[Item]) -> Result<(), Error>,
) -> Result<usize, Error> {
    let mut body = json!({
        "filter": filter, "dryRun": dry_run, "requestedBy": requested_by(&args.requester), "reason": args.reason,
    });
    let mut count = 0;
    loop {
        let cancelled = api.post("/orders/cancel", &body).await?;
        let ids = cancelled["orderIds"].as_array().map(Vec::as_slice).unwrap_or_default();
        show(&ids.iter().map(|id| json!({"id": id}).into()).collect::<Vec<_>>())?;
        count += ids.len();
        if cancelled["next"].is_null() {
            return Ok(count);
        }
        body["after"] = cancelled["next"].clone();
    }
}
