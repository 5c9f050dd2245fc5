//! `orders customer`: exports and erases the personal data of a customer in the database.

use std::collections::HashMap;

use domain::query::Filter;
use domain::{JsonText, Note, Order, OrderEvent, OrderId, Principal, Requester};
use gateway::Store;
use gateway::store::Outputs;
use serde_json::{Value, json};

use super::keys::{failed, local_principal};
use crate::cli::{CustomerArgs, CustomerCommand};
use crate::error::Error;
use crate::{console, log, startup};

/// Number of orders that are read together.
const PAGE: u32 = 100;
/// The hint for a command beside a running gateway on SQLite.
const INSTEAD: &str = "keep the orders in MySQL or MariaDB, beside whose gateways this command works";

/// Runs the command.
pub(super) async fn run(command: CustomerCommand) -> Result<(), Error> {
    match command {
        CustomerCommand::Export(args) => export(&args).await,
        CustomerCommand::Erase(args) => erase(&args).await,
    }
}

async fn open(args: &CustomerArgs) -> Result<Store, Error> {
    log::install(args.log.log_format)?;
    startup::open_database_beside_gateway(&args.database, INSTEAD).await
}

/// Returns the user with access to the database, bound to the tenant.
fn principal(args: &CustomerArgs) -> Principal {
    Principal { tenant: args.tenant.clone(), all_tenants: false, ..local_principal() }
}

fn requester(principal: &Principal) -> Requester {
    Requester { name: principal.name.clone(), request_id: None }
}

/// Prints the orders of the customer, newest first, one JSON object in each line.
async fn export(args: &CustomerArgs) -> Result<(), Error> {
    let store = open(args).await?;
    let exported = export_from(&store, args).await;
    store.close().await;
    let exported = exported?;
    console::explain(&format!("{exported} orders are exported\n"));
    Ok(())
}

async fn export_from(store: &Store, args: &CustomerArgs) -> Result<u64, Error> {
    let principal = principal(args);
    let filter = Filter { customer: Some(args.customer.clone()), ..Filter::default() };
    let (mut after, mut exported) = (None, 0);
    loop {
        let ids = store.list_ids(&principal, &filter, after, PAGE).await.map_err(failed)?;
        let Some(last) = ids.last() else { break };
        after = Some(*last);
        for line in page(store, &principal, &ids).await? {
            console::print(&format!("{line}\n"))?;
        }
        exported += ids.len() as u64;
    }
    let recorded = store.record_export(&args.tenant, &args.customer, exported, &requester(&principal)).await;
    recorded.map_err(failed)?;
    Ok(exported)
}

async fn page(store: &Store, principal: &Principal, ids: &[OrderId]) -> Result<Vec<Value>, Error> {
    let mut orders: HashMap<OrderId, Order> = store
        .orders(principal, ids)
        .await
        .map_err(failed)?
        .into_iter()
        .map(|order| (order.id, order))
        .collect();
    let cursors: Vec<_> = ids.iter().map(|id| (*id, 0)).collect();
    let events = store.events_after(principal, &cursors).await.map_err(failed)?;
    let mut outputs = store.outputs(ids).await.map_err(failed)?;
    let of = |id: &OrderId| -> Vec<Value> {
        events.iter().filter(|event| event.order_id == *id).map(|event| to_event(event)).collect()
    };
    let mut lines = Vec::with_capacity(ids.len());
    for id in ids {
        lines.push(match orders.remove(id) {
            Some(order) => {
                let notes = store.notes(principal, *id).await.map_err(failed)?.unwrap_or_default();
                to_json(&order, of(id), &notes, outputs.remove(id).unwrap_or_default())
            }
            None => json!({"id": id.to_string(), "unreadable": true}),
        });
    }
    Ok(lines)
}

fn to_json(order: &Order, events: Vec<Value>, notes: &[Note], outputs: Outputs) -> Value {
    // The store has checked that it is JSON.
    let parsed = |text: JsonText| serde_json::from_str::<Value>(text.as_str()).unwrap_or_default();
    let line = |item: &domain::LineItem| json!({"item": item.item, "quantity": item.quantity, "price": item.price.to_string()});
    json!({
        "id": order.id.to_string(),
        "status": order.status.as_str(),
        "customer": order.customer,
        "externalReference": order.external_reference,
        "metadata": order.metadata,
        "result": outputs.result.map(parsed),
        "checkpoint": outputs.checkpoint.map(parsed),
        "currency": order.total.currency().code(),
        "total": order.total.to_string(),
        "lineItems": order.line_items.iter().map(line).collect::<Vec<_>>(),
        "createdAt": order.created_at.to_string(),
        "updatedAt": order.updated_at.to_string(),
        "events": events,
        "notes": notes.iter().map(to_note).collect::<Vec<_>>(),
    })
}

fn to_note(note: &Note) -> Value {
    json!({
        "text": note.content.text,
        "milestone": note.content.milestone,
        "public": note.content.is_public,
        "createdAt": note.created_at.to_string(),
    })
}

fn to_event(event: &OrderEvent) -> Value {
    json!({
        "sequence": event.sequence,
        "status": event.status.as_str(),
        "occurredAt": event.occurred_at.to_string(),
        "reason": event.reason,
    })
}

/// Erases the personal data in the final orders of the customer.
async fn erase(args: &CustomerArgs) -> Result<(), Error> {
    let store = open(args).await?;
    let erased = store.erase_customer(&args.tenant, &args.customer, &requester(&principal(args))).await;
    store.close().await;
    let erased = erased.map_err(failed)?;
    console::print(&format!("{} orders are erased\n", erased.orders))?;
    if erased.open == 0 {
        return Ok(());
    }
    Err(Error::refused(format!("{} orders of the customer are not final and were not changed", erased.open))
        .hint("cancel them or wait until they are completed, then repeat the command"))
}
