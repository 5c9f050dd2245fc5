//! `orders watch`: prints events as they happen, over server-sent events.
//!
//! The gateway numbers what it sends, so a new connection continues after the last event, and no event is missed or
//! repeated while the command runs.

use std::time::{Duration, Instant};

use domain::{EventType, OrderId, Status};

use super::layout::{LOG_EVENTS, ORDER_EVENTS};
use crate::cli::WatchArgs;
use crate::commands::api::Api;
use crate::commands::sse::{Message, Messages};
use crate::console;
use crate::error::Error;
use crate::output::{Format, Item, Listing, text};

/// Wait before the first attempt to connect again; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Maximum wait between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Time without a connection after which the command ends.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// Prints the events of one order until it is final, or those of all orders until Ctrl-C.
pub(crate) async fn run(args: WatchArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    // An array has no end here, so each object is one line.
    let format = match args.format.format() {
        Format::Json => Format::JsonLines,
        other => other,
    };
    match args.id {
        Some(id) => watch_order(&api, id, format).await,
        None => tail(&api, &args, format).await,
    }
}

async fn watch_order(api: &Api, id: OrderId, format: Format) -> Result<(), Error> {
    let mut listing = Listing::new(format, &ORDER_EVENTS);
    let mut last: Option<Item> = None;
    follow(api, &format!("/orders/{id}/events"), &[], |event| {
        listing.add(std::slice::from_ref(&event))?;
        let is_final = text(&event, "status").parse::<Status>().is_ok_and(Status::is_final);
        last = Some(event);
        Ok(is_final)
    })
    .await?;
    let last = last.map(|event| (text(&event, "status"), text(&event, "reason")));
    match last.as_ref().map(|(status, reason)| (status.as_str(), reason)) {
        Some(("failed", reason)) => Err(Error::failed(format!("the order {id} has failed: {reason}"))
            .hint("`orders dead-letters redrive` gives it a new set of attempts")),
        Some(("cancelled", reason)) => Err(Error::refused(format!("the order {id} was cancelled: {reason}"))
            .hint("create another order if it is wanted")),
        _ => Ok(()),
    }
}

async fn tail(api: &Api, args: &WatchArgs, format: Format) -> Result<(), Error> {
    let types: Vec<&str> = EventType::ALL
        .into_iter()
        .filter(|kind| leads_to(*kind).is_some_and(|status| args.status.contains(&status)))
        .map(EventType::as_str)
        .collect();
    let mut query = vec![("from", "end".to_owned())];
    query.push(("types", if types.is_empty() { "order.*".to_owned() } else { types.join(",") }));
    query.extend(args.customer.clone().map(|customer| ("customer", customer)));
    query.extend(args.currency.map(|currency| ("currency", currency.code().to_owned())));
    let mut listing = Listing::new(format, &LOG_EVENTS);
    follow(api, "/events", &query, |event| listing.add(&[event]).map(|()| false)).await
}

/// Returns the status after an event of an order.
fn leads_to(kind: EventType) -> Option<Status> {
    match kind.as_str() {
        "order.created" | "order.retrying" | "order.redriven" => Some(Status::Pending),
        "order.processing" => Some(Status::Processing),
        "order.completed" => Some(Status::Completed),
        "order.failed" => Some(Status::Failed),
        "order.cancelled" => Some(Status::Cancelled),
        _ => None,
    }
}

/// Passes the events of a stream to `show` until it returns true or the stream has ended. Connects again when the
/// connection is lost.
async fn follow(
    api: &Api,
    path: &str,
    query: &[(&str, String)],
    mut show: impl FnMut(Item) -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut last: Option<String> = None;
    let mut lost: Option<Instant> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        match api.stream(path, query, last.as_deref()).await {
            Ok(None) => return Ok(()),
            Ok(Some(response)) => {
                let mut messages = Messages::new(response);
                while let Some(Message { id, data }) = messages.next().await {
                    (lost, pause) = (None, FIRST_PAUSE);
                    if let Some(event) = Item::parse(&data)
                        && show(event)?
                    {
                        return Ok(());
                    }
                    last = id.or(last);
                }
            }
            // What the gateway refuses at the beginning, or without a chance that it changes, is final.
            Err(error) if lost.is_none() && last.is_none() || !error.is_unavailable() => return Err(error),
            Err(error) => {
                if lost.is_some_and(|lost| lost.elapsed() > GIVE_UP_AFTER) {
                    return Err(error);
                }
            }
        }
        if lost.is_none() {
            lost = Some(Instant::now());
            console::explain("the connection is lost, connecting again\n");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let most = limits_page::time(GIVE_UP_AFTER);
        limits_page::row("time for which an import or `orders watch` tries to reach a gateway", &most);
    }

    #[test]
    fn every_type_of_an_order_leads_to_a_status() {
        for kind in EventType::ALL {
            assert_eq!(leads_to(kind).is_some(), kind.as_str().starts_with("order."), "{kind:?}");
        }
    }
}
