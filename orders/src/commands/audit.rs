//! `orders audit`: prints the audit log of the database, newest entry first.

use gateway::store::{AuditEntry, MAX_AUDIT_PAGE};
use serde_json::json;

use super::keys::failed;
use crate::cli::AuditArgs;
use crate::error::Error;
use crate::output::{Column, Item, Layout, Listing, text};
use crate::{log, startup};

const LAYOUT: Layout = Layout {
    id: "id",
    none: "the audit log has no entries",
    columns: &[
        Column::wide("ID", |entry| text(entry, "id")),
        Column::new("TIME", |entry| text(entry, "at")),
        Column::new("TENANT", |entry| text(entry, "tenant")),
        Column::new("ACTOR", |entry| text(entry, "actor")),
        Column::new("ACTION", |entry| text(entry, "action")),
        Column::new("TARGET", |entry| text(entry, "target")),
        Column::cut("DETAIL", |entry| text(entry, "detail")),
        Column::wide("REQUEST ID", |entry| text(entry, "requestId")),
    ],
};

/// Prints up to `--limit` entries.
pub(super) async fn run(args: AuditArgs) -> Result<(), Error> {
    log::install(args.output.log.log_format)?;
    let store = startup::open_existing_database(&args.output.database).await?;
    let mut listing = Listing::new(args.output.format.format(), &LAYOUT);
    let mut left = args.limit;
    let mut before = None;
    while left > 0 {
        let page = store.audit_log(args.tenant.as_ref(), before, left.min(MAX_AUDIT_PAGE)).await;
        let page = page.map_err(failed)?;
        let Some(last) = page.last() else { break };
        listing.add(&page.iter().map(to_item).collect::<Vec<_>>())?;
        before = Some(last.id);
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
    }
    store.close().await;
    listing.finish()
}

fn to_item(entry: &AuditEntry) -> Item {
    Item::from(json!({
        "id": entry.id.to_string(),
        "tenant": entry.tenant.as_str(),
        "at": entry.at.to_string(),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "requestId": entry.request_id,
        "detail": entry.detail,
    }))
}
