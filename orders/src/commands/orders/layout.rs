//! The columns of orders and of their events.

use serde_json::value::RawValue;

use crate::output::{Column, Item, Layout, text};

/// The columns of orders.
pub(crate) const ORDERS: Layout = Layout {
    id: "id",
    none: "no orders match",
    columns: &[
        Column::new("ID", |order| text(order, "id")),
        Column::new("STATUS", |order| text(order, "status")),
        Column::new("CREATED", |order| text(order, "createdAt")),
        Column::new("TOTAL", total),
        Column::cut("CUSTOMER", |order| text(order, "customer")),
        Column::new("REFERENCE", |order| text(order, "externalReference")),
        Column::cut("ITEMS", summary),
        Column::wide("CODE", |order| text(order, "code")),
        Column::wide("PRIORITY", |order| text(order, "priority")),
        Column::wide("KIND", |order| text(order, "kind")),
        Column::wide("ATTEMPT", |order| text(order, "attempt")),
        Column::wide("WAITS FOR", |order| text(order, "waitsFor")),
        Column::wide("NEXT ATTEMPT", |order| text(order, "nextAttemptAt")),
        Column::wide("UPDATED", |order| text(order, "updatedAt")),
        Column::wide("WORKER", |order| text(order, "worker")),
        Column::wide("CLASS", |order| text(order, "errorClass")),
        Column::wide("REASON", reason),
    ],
};

/// The columns of failed orders.
pub(crate) const DEAD_LETTERS: Layout = Layout {
    id: "id",
    none: "no dead letters match",
    columns: &[
        Column::new("ID", |order| text(order, "id")),
        Column::new("FAILED AT", |order| text(order, "updatedAt")),
        Column::new("ATTEMPTS", attempts),
        Column::new("CLASS", |order| text(order, "errorClass")),
        Column::cut("REASON", reason),
        Column::wide("CODE", |order| text(order, "code")),
        Column::wide("CUSTOMER", |order| text(order, "customer")),
        Column::wide("REFERENCE", |order| text(order, "externalReference")),
        Column::wide("TOTAL", total),
        Column::wide("ITEMS", summary),
        Column::wide("CREATED", |order| text(order, "createdAt")),
    ],
};

/// The columns of the events of one order.
pub(super) const ORDER_EVENTS: Layout = Layout {
    id: "sequence",
    none: "the order has no further events",
    columns: &[
        Column::new("TIME", |event| text(event, "occurredAt")),
        Column::new("SEQUENCE", |event| text(event, "sequence")),
        Column::new("STATUS", |event| text(event, "status")),
        Column::new("ATTEMPT", |event| text(event, "attempt")),
        Column::new("WORKER", |event| text(event, "worker")),
        Column::new("CLASS", |event| text(event, "errorClass")),
        Column::cut("REASON", |event| text(event, "reason")),
        Column::wide("ORDER", |event| text(event, "orderId")),
    ],
};

/// The columns of the events of the event log.
pub(super) const LOG_EVENTS: Layout = Layout {
    id: "id",
    none: "",
    columns: &[
        Column::new("TIME", |event| text(event, "timestamp")),
        Column::new("ORDER", |event| data(event, "orderId")),
        Column::new("STATUS", |event| data(event, "status")),
        Column::cut("CUSTOMER", |event| {
            event["data"]["order"]["customer"].as_str().unwrap_or_default().to_owned()
        }),
        Column::new("CLASS", |event| data(event, "errorClass")),
        Column::cut("REASON", |event| data(event, "reason")),
        Column::wide("SEQUENCE", |event| data(event, "sequence")),
        Column::wide("TYPE", |event| text(event, "type")),
    ],
};

fn data(event: &Item, name: &str) -> String {
    crate::output::words(&event["data"][name])
}

/// The failed attempts and their maximum; the failures of an unreadable order are unknown.
fn attempts(order: &Item) -> String {
    match order["failures"].as_u64() {
        Some(failures) => format!("{failures} of {}", order["maxAttempts"]),
        None => String::new(),
    }
}

/// The reason of the latest event, or why the order cannot be read.
fn reason(order: &Item) -> String {
    match order["unreadable"].as_str() {
        Some(detail) => format!("cannot be read: {detail}; see `orders repair --help`"),
        None => text(order, "reason"),
    }
}

/// The total with all its decimals, and its currency.
pub(super) fn total(order: &Item) -> String {
    order.raw("total").map(|total| format!("{total} {}", text(order, "currency"))).unwrap_or_default()
}

/// The first line items, at most `most`, with their exact prices.
pub(super) fn items(order: &Item, most: usize) -> Vec<String> {
    let lines: Vec<Box<RawValue>> =
        order.raw("lineItems").and_then(|lines| serde_json::from_str(&lines).ok()).unwrap_or_default();
    let line = |line: &RawValue| {
        let line = Item::parse(line.get())?;
        let price = line.raw("price").unwrap_or_default();
        Some(format!("{} × {} at {price}", line["quantity"], text(&line, "item")))
    };
    lines.iter().take(most).filter_map(|text| line(text)).collect()
}

/// The quantity and the name of the first line item, and the number of the others.
fn summary(order: &Item) -> String {
    let count = order["lineItems"].as_array().map_or(0, Vec::len);
    let first = format!("{} × {}", order["quantity"], text(order, "item"));
    match count {
        0 => String::new(),
        1 => first,
        count => format!("{first} and {} more", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_shown_with_exact_totals() {
        let order = Item::parse(
            r#"{"total":25.00,"currency":"EUR","quantity":2,"item":"Vase","lineItems":[{},{},{}],"failures":1,"maxAttempts":5}"#,
        )
        .unwrap();
        assert_eq!(total(&order), "25.00 EUR");
        assert_eq!(summary(&order), "2 × Vase and 2 more");
        assert_eq!(attempts(&order), "1 of 5");
        let unreadable = Item::parse(r#"{"id":"I","unreadable":"x"}"#).unwrap();
        assert!(reason(&unreadable).starts_with("cannot be read: x"));
        assert_eq!([total(&unreadable), summary(&unreadable), attempts(&unreadable)], ["", "", ""]);
    }
}
