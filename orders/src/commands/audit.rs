//! `orders audit`: prints the audit log of the database, newest entry first.

use gateway::store::{AuditEntry, MAX_AUDIT_PAGE};
use serde_json::json;

use super::keys::failed;
use super::table::table;
use crate::cli::AuditArgs;
use crate::error::Error;
use crate::{console, log, startup};

/// Prints up to `--limit` entries.
pub(super) async fn run(args: AuditArgs) -> Result<(), Error> {
    log::install(args.output.log.log_format)?;
    let store = startup::open_existing_database(&args.output.database).await?;
    let mut left = args.limit;
    let mut before = None;
    while left > 0 {
        let page = store.audit_log(args.tenant.as_ref(), before, left.min(MAX_AUDIT_PAGE)).await;
        let page = page.map_err(failed)?;
        let Some(last) = page.last() else { break };
        console::print(&show(&page, args.output.json, before.is_none()))?;
        before = Some(last.id);
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
    }
    store.close().await;
    if before.is_none() && !args.output.json {
        console::print("the audit log has no entries\n")?;
    }
    Ok(())
}

fn show(page: &[AuditEntry], as_json: bool, with_head: bool) -> String {
    if as_json {
        return page.iter().map(|entry| format!("{}\n", to_json(entry))).collect();
    }
    let head = ["TIME", "TENANT", "ACTOR", "ACTION", "TARGET", "DETAIL"].map(str::to_owned);
    let row = |entry: &AuditEntry| {
        [
            entry.at.to_string(),
            entry.tenant.to_string(),
            entry.actor.clone(),
            entry.action.clone(),
            entry.target.clone(),
            entry.detail.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = with_head.then_some(head).into_iter().chain(page.iter().map(row)).collect();
    table(&rows)
}

fn to_json(entry: &AuditEntry) -> serde_json::Value {
    json!({
        "id": entry.id.to_string(),
        "tenant": entry.tenant.as_str(),
        "at": entry.at.to_string(),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "requestId": entry.request_id,
        "detail": entry.detail,
    })
}
