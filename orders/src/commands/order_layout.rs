//! The columns of orders.

use crate::output::{Column, Item, Layout, text};

/// The columns of failed orders.
pub(super) const DEAD_LETTERS: Layout = Layout {
    id: "id",
    none: "no dead letters match",
    columns: &[
        Column::new("ID", |order| text(order, "id")),
        Column::new("FAILED AT", |order| text(order, "updatedAt")),
        Column::new("ATTEMPTS", attempts),
        Column::new("CLASS", |order| text(order, "errorClass")),
        Column::cut("REASON", reason),
        Column::wide("CUSTOMER", |order| text(order, "customer")),
        Column::wide("REFERENCE", |order| text(order, "externalReference")),
        Column::wide("TOTAL", total),
        Column::wide("ITEMS", items),
        Column::wide("CREATED", |order| text(order, "createdAt")),
    ],
};

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
fn total(order: &Item) -> String {
    order.raw("total").map(|total| format!("{total} {}", text(order, "currency"))).unwrap_or_default()
}

/// The quantity and the name of the first line item, and the number of the others.
fn items(order: &Item) -> String {
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
        assert_eq!(items(&order), "2 × Vase and 2 more");
        assert_eq!(attempts(&order), "1 of 5");
        let unreadable = Item::parse(r#"{"id":"I","unreadable":"x"}"#).unwrap();
        assert!(reason(&unreadable).starts_with("cannot be read: x"));
        assert_eq!([total(&unreadable), items(&unreadable), attempts(&unreadable)], ["", "", ""]);
    }
}
