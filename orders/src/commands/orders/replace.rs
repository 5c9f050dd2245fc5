//! `orders replace`: replaces an order that no worker has started.

use super::create::{details, line_items};
use super::describe::describe;
use super::layout::ORDERS;
use crate::cli::ReplaceOrderArgs;
use crate::commands::api::Api;
use crate::console;
use crate::error::Error;
use crate::output::print_object;

/// Sends the new order, and prints it.
pub(crate) async fn run(args: ReplaceOrderArgs) -> Result<(), Error> {
    let mut order = details(&args.details);
    order.insert("lineItems".to_owned(), line_items(&args.item, &args.quantity, &args.price)?);
    let api = Api::new(&args.api)?;
    let path = format!("/orders/{}/replace", args.id);
    let created = api.create(&path, &order.into(), args.key.as_deref()).await?;
    let format = args.format.format();
    if format.is_for_readers() {
        console::explain("the order is replaced\n");
    }
    print_object(format, &ORDERS, &created, describe)
}
