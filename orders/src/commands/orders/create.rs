//! `orders create`: creates an order, or those of a file (`import`).

use serde_json::{Map, Value, json};

use super::describe::describe;
use super::dry_run;
use super::import;
use super::layout::ORDERS;
use crate::cli::{CreateOrderArgs, DetailArgs};
use crate::commands::api::Api;
use crate::console;
use crate::error::Error;
use crate::output::print_object;
use crate::values::now;

/// Creates one order and prints it, or creates the orders of a file.
pub(crate) async fn run(args: CreateOrderArgs) -> Result<(), Error> {
    let format = args.format.format();
    if let Some(file) = &args.import.file {
        if args.dry_run {
            return dry_run::check_file(file, format);
        }
        let api = Api::new(&args.api)?;
        return import::run(file, &args.import, &api, format).await;
    }
    let mut order = details(&args.details);
    order.insert("lineItems".to_owned(), line_items(&args.item, &args.quantity, &args.price)?);
    if args.dry_run {
        return dry_run::check(order, format);
    }
    let api = Api::new(&args.api)?;
    let created = api.create("/orders", &order.into(), args.key.as_deref()).await?;
    if format.is_for_readers() {
        console::explain("the order is created\n");
    }
    print_object(format, &ORDERS, &created, describe)
}

/// Returns the line items: the n-th name, quantity and price belong together.
pub(super) fn line_items(items: &[String], quantities: &[u32], prices: &[String]) -> Result<Value, Error> {
    if items.len() != prices.len() || !(quantities.is_empty() || quantities.len() == items.len()) {
        return Err(Error::usage(format!(
            "--item is given {} times, --quantity {} times and --price {} times",
            items.len(),
            quantities.len(),
            prices.len()
        ))
        .hint("repeat the three flags for each line item; without --quantity each quantity is 1"));
    }
    let quantities = quantities.iter().copied().chain(std::iter::repeat(1));
    let line = |((item, quantity), price): ((&String, u32), &String)| json!({"item": item, "quantity": quantity, "price": price});
    Ok(items.iter().zip(quantities).zip(prices).map(line).collect())
}

/// Returns the metadata as an object. Of a repeated key, the last value counts.
fn metadata(entries: &[(String, String)]) -> Value {
    let entries = entries.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    Value::Object(entries.collect())
}

pub(super) fn details(args: &DetailArgs) -> Map<String, Value> {
    let members = [
        ("currency", args.currency.map(|currency| json!(currency.code()))),
        ("customer", args.customer.as_ref().map(|text| json!(text))),
        ("externalReference", args.external_reference.as_ref().map(|text| json!(text))),
        ("priority", args.priority.map(|priority| json!(priority.as_str()))),
        ("processAfter", args.process_after.map(|time| json!(time.at(now()).to_string()))),
        ("kind", args.kind.as_ref().map(|kind| json!(kind.as_str()))),
        ("metadata", (!args.metadata.is_empty()).then(|| metadata(&args.metadata))),
        ("maxAttempts", args.max_attempts.map(|most| json!(most))),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
