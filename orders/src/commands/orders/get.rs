//! `orders get`: prints orders, with their events on request.

use domain::OrderCode;

use super::describe::{describe, describe_events};
use super::layout::{ORDER_EVENTS, ORDERS};
use crate::cli::GetOrdersArgs;
use crate::commands::api::Api;
use crate::console;
use crate::error::{Error, Failures};
use crate::output::{Format, Item, Listing, text};

/// Maximum number of orders that a search for a code reads.
const MAX_FOUND: u32 = 50;

/// Prints each order. Orders that are not found do not prevent the others.
pub(crate) async fn run(args: GetOrdersArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let ids = match (&args.reference, args.code) {
        (Some(reference), _) => vec![newest(&api, reference).await?],
        (None, Some(code)) => with_code(&api, code).await?,
        (None, None) => args.ids.iter().map(ToString::to_string).collect(),
    };
    let format = args.format.format();
    let layout = if args.events && format == Format::Csv { &ORDER_EVENTS } else { &ORDERS };
    let mut listing = Listing::new(format, layout);
    let mut failures = Failures::default();
    for (n, id) in ids.iter().enumerate() {
        let path = format!("/orders/{id}");
        let order = match api.get(&path, &[]).await {
            Ok(order) => order,
            Err(error) if ids.len() > 1 => {
                console::explain(&format!("{id}  {error}\n"));
                failures.add(&error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let events = match args.events {
            true => Some(api.get(&format!("{path}/events"), &[]).await?),
            false => None,
        };
        match (format, &events) {
            (Format::Table | Format::Wide, _) => {
                let blank = if n > 0 { "\n" } else { "" };
                console::print(&format!("{blank}{}", describe(&order)))?;
                if let Some(events) = &events {
                    console::print(&format!("\n{}", describe_events(&events.elements(), format)))?;
                }
            }
            (Format::Json, _) if ids.len() == 1 => {
                return console::print(&format!("{}\n", with_events(&order, events.as_ref()).text()));
            }
            (Format::Csv, Some(events)) => listing.add(&events.elements())?,
            _ => listing.add(&[with_events(&order, events.as_ref())])?,
        }
    }
    if !format.is_for_readers() {
        listing.finish()?;
    }
    failures.result(ids.len(), "orders were not found or cannot be read")
}

/// Returns the id of the newest order with an external reference.
async fn newest(api: &Api, reference: &str) -> Result<String, Error> {
    let query = [("externalReference", reference.to_owned()), ("limit", "1".to_owned())];
    let (found, _) = api.get_page("/orders", &query).await?;
    let newest = found.first().map(|order| text(order, "id"));
    newest.ok_or_else(|| Error::not_found(format!("there is no order with the reference '{reference}'")))
}

/// Returns the ids of the orders with a code.
async fn with_code(api: &Api, code: OrderCode) -> Result<Vec<String>, Error> {
    let code = code.to_string();
    // The search also finds references and customers that begin like the code.
    let query = [("search", code.clone()), ("limit", MAX_FOUND.to_string())];
    let (found, _) = api.get_page("/orders", &query).await?;
    let found = found.iter().filter(|order| text(order, "code") == code);
    let ids: Vec<String> = found.map(|order| text(order, "id")).collect();
    if ids.is_empty() {
        return Err(Error::not_found(format!("there is no order with the code {code}")));
    }
    Ok(ids)
}

/// Returns the order with the member `events`, and with its amounts as they were.
fn with_events(order: &Item, events: Option<&Item>) -> Item {
    let with = |events: &Item| {
        let members = order.text().strip_suffix('}')?;
        Item::parse(&format!("{members},\"events\":{}}}", events.text()))
    };
    events.and_then(with).unwrap_or_else(|| order.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_a_member_of_the_order() {
        let order = Item::parse(r#"{"id":"I","total":25.00}"#).unwrap();
        let events = Item::parse(r#"[{"sequence":1}]"#).unwrap();
        assert_eq!(
            with_events(&order, Some(&events)).text(),
            r#"{"id":"I","total":25.00,"events":[{"sequence":1}]}"#
        );
        assert_eq!(with_events(&order, None).text(), order.text());
    }
}
