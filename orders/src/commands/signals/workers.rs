//! `orders workers`: the workers of the last hour, or one of them with its orders.

use super::stats::seconds;
use crate::cli::WorkersArgs;
use crate::commands::api::Api;
use crate::error::Error;
use crate::output::{Column, Item, Layout, print_list, print_object, text};

/// The columns of workers.
pub(super) const WORKERS: Layout = Layout {
    id: "name",
    none: "no worker was connected within the last hour",
    columns: &[
        Column::new("NAME", |worker| text(worker, "name")),
        Column::new("STATE", |worker| text(worker, "state")),
        Column::new("KINDS", kinds),
        Column::new("IN FLIGHT", |worker| text(worker, "inFlight")),
        Column::new("SLOTS", |worker| text(worker, "slots")),
        Column::new("DONE/MIN", |worker| text(worker, "completedPerMinute")),
        Column::new("FAILED/MIN", |worker| text(worker, "failedPerMinute")),
        Column::new("P95", |worker| seconds(worker, "handling", "p95Seconds")),
        Column::new("LAST SEEN", |worker| text(worker, "lastSeenAt")),
        Column::wide("CONNECTED", |worker| text(worker, "connectedAt")),
        Column::wide("HOST", |worker| text(worker, "host")),
        Column::wide("GATEWAY", |worker| text(worker, "gateway")),
        Column::wide("VERSION", |worker| text(worker, "version")),
    ],
};

/// Prints the workers.
pub(crate) async fn run(args: WorkersArgs) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let format = args.format.format();
    if let Some(name) = &args.name {
        let worker = api.get(&format!("/workers/{}", encoded(name)), &[]).await?;
        return print_object(format, &WORKERS, &worker, describe);
    }
    print_list(format, &WORKERS, &workers(&api.get("/workers", &[]).await?))
}

/// Encodes a name as one segment of a path.
fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Returns the workers of a response.
pub(super) fn workers(response: &Item) -> Vec<Item> {
    response["workers"].as_array().into_iter().flatten().cloned().map(Item::from).collect()
}

fn kinds(worker: &Item) -> String {
    let kinds = worker["kinds"].as_array().into_iter().flatten();
    kinds.filter_map(|kind| kind.as_str()).collect::<Vec<_>>().join(",")
}

fn describe(worker: &Item) -> String {
    let columns = WORKERS.cells(worker).into_iter().filter(|(_, cell)| !cell.is_empty());
    let mut shown: String =
        columns.map(|(head, cell)| format!("{:<14}{cell}\n", head.to_lowercase())).collect();
    for order in worker["orders"].as_array().into_iter().flatten() {
        let order = Item::from(order.clone());
        shown.push_str(&format!(
            "{:<14}{}  attempt {}  since {}\n",
            "order",
            text(&order, "orderId"),
            text(&order, "attempt"),
            text(&order, "startedAt")
        ));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(encoded("packer-2"), "packer-2");
        assert_eq!(encoded("web/1:a%"), "web%2F1%3Aa%25");
    }
}
