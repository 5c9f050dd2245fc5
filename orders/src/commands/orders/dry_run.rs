//! `orders create --dry-run`: checks orders with the rules of this program, and sends nothing.
//!
//! The rules are those of a gateway of the same version (`gateway::rest::check`). The API has no create without a write:
//! what only the gateway knows would still be unchecked when the order is sent, such as limits and idempotency keys.

use std::path::Path;

use domain::{Currency, LineItem};
use gateway::rest;
use serde_json::{Map, Value, json};

use super::import::Batches;
use super::layout::{ORDERS, items, total};
use crate::console;
use crate::error::Error;
use crate::output::{Column, Format, Item, Layout, Listing, Progress, print_object, printable, text};

/// The hint for invalid orders.
const HINT: &str =
    "docs/reference/rest.md lists the fields of an order; correct the values and repeat the command";
/// Lines that are read together.
const BATCH: u32 = 1_000;
/// Maximum number of line items that are shown.
const MAX_ITEMS: usize = 200;

/// The invalid lines of a file.
const INVALID: Layout = Layout {
    id: "line",
    none: "all lines are valid",
    columns: &[
        Column::new("LINE", |line| text(line, "line")),
        Column::new("CODE", |line| text(line, "code")),
        Column::cut("PROBLEM", |line| text(line, "detail")),
    ],
};

/// Checks one order, and prints it with its total.
pub(super) fn check(mut order: Map<String, Value>, format: Format) -> Result<(), Error> {
    let body = Value::from(order.clone()).to_string();
    let content = rest::check(body.as_bytes(), Currency::USD).map_err(|problem| {
        let problem = json!(problem);
        Error::usage(format!("the order is invalid: {}", text(&problem.into(), "detail"))).hint(HINT)
    })?;
    order.remove("lineItems");
    order.insert("currency".to_owned(), content.total.currency().code().into());
    order.insert("item".to_owned(), json!(content.line_items.first().map(|line| &line.item)));
    order.insert("quantity".to_owned(), content.quantity.into());
    // As text, because amounts are exact only there.
    let line = |line: &LineItem| {
        format!(r#"{{"item":{},"quantity":{},"price":{}}}"#, json!(line.item), line.quantity, line.price)
    };
    let lines: Vec<String> = content.line_items.iter().map(line).collect();
    let members = Value::from(order).to_string();
    let members = members.strip_suffix('}').unwrap_or_default();
    let item = format!(r#"{members},"total":{},"lineItems":[{}]}}"#, content.total, lines.join(","));
    let item = Item::parse(&item);
    explain("the order is valid, and is not sent");
    match item {
        Some(item) if format != Format::Id => print_object(format, &ORDERS, &item, describe),
        _ => Ok(()),
    }
}

fn describe(order: &Item) -> String {
    let mut shown = format!("{:<16}{}\n", "total", total(order));
    for item in items(order, MAX_ITEMS) {
        shown.push_str(&format!("{:<16}{}\n", "item", printable(&item)));
    }
    shown
}

/// Checks the orders of a file, and lists the invalid lines.
pub(super) fn check_file(file: &Path, format: Format) -> Result<(), Error> {
    let size = std::fs::metadata(file).map_or(u64::MAX, |metadata| metadata.len());
    let mut batches = Batches::open(file, 0, 0, BATCH)?;
    let mut listing = Listing::new(format, &INVALID);
    let mut progress = Progress::start();
    let (mut checked, mut invalid) = (0_u64, 0_u64);
    while let Some(batch) = batches.next() {
        let batch = batch?;
        let problems: Vec<Item> = batch.rows.iter().filter_map(|row| problem(row.line, &row.text)).collect();
        checked += batch.rows.len() as u64;
        invalid += problems.len() as u64;
        if !problems.is_empty() {
            progress.finish();
        }
        listing.add(&problems)?;
        progress.show(batch.end, size, || format!("{checked} orders checked, {invalid} are invalid"));
    }
    progress.finish();
    listing.finish()?;
    explain(&format!("{} of {checked} orders are valid, and none is sent", checked - invalid));
    match invalid {
        0 => Ok(()),
        invalid => Err(Error::failed(format!("{invalid} of {checked} orders are invalid")).hint(HINT)),
    }
}

/// Returns why a line is invalid.
fn problem(line: u64, order: &str) -> Option<Item> {
    let problem = json!(rest::check(order.as_bytes(), Currency::USD).err()?);
    let errors = problem.get("errors").cloned().unwrap_or_else(|| json!([]));
    Some(json!({"line": line, "code": problem["code"], "detail": problem["detail"], "errors": errors}).into())
}

fn explain(result: &str) {
    console::explain(&format!(
        "{result}: checked with the rules of this program, an order without a currency as {}; permissions and limits \
         of the gateway are not checked\n",
        Currency::USD.code()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_lines_have_the_errors_of_a_create() {
        assert!(problem(1, r#"{"item":"Tea","quantity":2,"price":1.50}"#).is_none());
        let problem = problem(7, r#"{"item":"Tea","quantity":0,"price":1}"#).unwrap();
        assert_eq!((problem["line"].as_u64(), problem["code"].as_str()), (Some(7), Some("invalid_order")));
        assert_eq!(problem["errors"][0]["pointer"], "/quantity");
    }
}
