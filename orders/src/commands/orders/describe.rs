//! An order as lines for readers.

use super::layout::{ORDER_EVENTS, items, total};
use crate::output::{Format, Item, printable, render_table, text};

/// Maximum number of line items that are shown.
const MAX_ITEMS: usize = 5;

/// Returns the lines of an order, without what is absent.
pub(super) fn describe(order: &Item) -> String {
    let given = |name: &str| Some(text(order, name)).filter(|text| !text.is_empty());
    let failures = order["failures"].as_u64().unwrap_or_default();
    let attempts = format!("{}, {failures} of {} failed", order["attempt"], order["maxAttempts"]);
    let lines = [
        ("id", given("id")),
        ("code", given("code")),
        ("status", Some(status(order))),
        ("cannot be read", given("unreadable")),
        ("reason", given("reason")),
        ("error class", given("errorClass")),
        ("worker", given("worker")),
        ("attempts", order["attempt"].is_u64().then_some(attempts)),
        ("customer", given("customer")),
        ("reference", given("externalReference")),
        ("total", Some(total(order)).filter(|total| !total.is_empty())),
        ("priority", given("priority").filter(|priority| priority != "normal")),
        ("kind", given("kind").filter(|kind| kind != "default")),
        ("scheduled", given("processAfter")),
        ("replaces", given("replaces")),
        ("replaced by", given("replacedBy")),
        ("created", given("createdAt")),
        ("updated", given("updatedAt")),
    ];
    let line = |(name, value): (&str, Option<String>)| Some(format!("{name:<16}{}\n", printable(&value?)));
    let mut shown: String = lines.into_iter().filter_map(line).collect();
    for (key, value) in order["metadata"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        shown.push_str(&format!("{:<16}{}\n", "metadata", printable(&format!("{key}={value}"))));
    }
    let all = order["lineItems"].as_array().map(Vec::as_slice).unwrap_or_default();
    for item in items(order, MAX_ITEMS) {
        shown.push_str(&format!("{:<16}{}\n", "item", printable(&item)));
    }
    if all.len() > MAX_ITEMS {
        shown.push_str(&format!("{:<16}and {} more\n", "", all.len() - MAX_ITEMS));
    }
    shown
}

/// Returns the status and, for an order that waits, what it waits for.
fn status(order: &Item) -> String {
    let waits = match order["waitsFor"].as_str() {
        Some("worker") => ", waits for a worker".to_owned(),
        Some("retry") => ", waits for its next attempt".to_owned(),
        Some("schedule") => ", waits for its time".to_owned(),
        Some("pause") => ", waits until the queue is resumed".to_owned(),
        Some(other) => format!(", waits for {other}"),
        None => String::new(),
    };
    let next = order["nextAttemptAt"].as_str().map(|time| format!(" at {time}")).unwrap_or_default();
    format!("{}{waits}{next}", text(order, "status"))
}

/// Returns the events of an order as a table.
pub(super) fn describe_events(events: &[Item], format: Format) -> String {
    render_table(format, &ORDER_EVENTS, events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_described_with_why_it_waits() {
        let lines = [r#"{"item":"Vase","quantity":2,"price":12.50}"#; 7].join(",");
        let order = format!(
            r#"{{"id":"I","status":"pending","waitsFor":"retry","nextAttemptAt":"T","attempt":1,"failures":1,
                "maxAttempts":5,"customer":null,"total":175.00,"currency":"EUR","priority":"normal","metadata":{{"channel":"web"}},"lineItems":[{lines}]}}"#
        );
        let shown = describe(&Item::parse(&order).unwrap());
        for line in [
            "status          pending, waits for its next attempt at T\n",
            "attempts        1, 1 of 5 failed\n",
            "total           175.00 EUR\n",
            "metadata        channel=web\n",
            "item            2 × Vase at 12.50\n",
            "                and 2 more\n",
        ] {
            assert!(shown.contains(line), "{line}{shown}");
        }
        assert!(!shown.contains("customer") && !shown.contains("priority"), "{shown}");
    }
}
