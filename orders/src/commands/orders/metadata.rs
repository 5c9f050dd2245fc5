//! `orders metadata`: changes the metadata of an order, or prints it.

use serde_json::{Map, Value, json};

use crate::cli::MetadataArgs;
use crate::commands::api::Api;
use crate::console;
use crate::error::Error;
use crate::output::{Column, Format, Item, Layout, print_list, text};

/// The keys of the metadata.
const ENTRIES: Layout = Layout {
    id: "key",
    none: "the order has no metadata",
    columns: &[
        Column::new("KEY", |entry| text(entry, "key")),
        Column::new("VALUE", |entry| text(entry, "value")),
    ],
};

/// Sends the changes in one request, which the gateway applies to the present metadata, and prints the result.
pub(crate) async fn run(args: MetadataArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let path = format!("/orders/{}/metadata", args.id);
    let metadata = if args.changes.is_empty() {
        api.get(&path, &[]).await?
    } else {
        let patch: Map<String, Value> =
            args.changes.into_iter().map(|(key, value)| (key, json!(value))).collect();
        api.patch(&path, &patch.into()).await?
    };
    let format = args.format.format();
    if format == Format::Json {
        return console::print(&format!("{}\n", metadata.text()));
    }
    let entry = |(key, value): (&String, &Value)| Item::from(json!({"key": key, "value": value}));
    let members: Map<String, Value> = serde_json::from_str(metadata.text()).unwrap_or_default();
    let entries: Vec<Item> = members.iter().map(entry).collect();
    print_list(format, &ENTRIES, &entries)
}
