//! The audit log: what operators did. An entry is written in the transaction of its action.

use domain::transition::Command;
use domain::{OrderEvent, OrderId, Requester, TenantId, Timestamp};

use super::connection::Connection;
use super::rows;
use super::statement::{Statement, bucketed_chunks};
use super::{Error, Shard};

/// Maximum number of entries in one page of the log.
pub const MAX_AUDIT_PAGE: u32 = 500;

/// One action of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The id, which sorts by time.
    pub id: OrderId,
    /// The tenant whose objects were changed.
    pub tenant: TenantId,
    /// The time of the action.
    pub at: Timestamp,
    /// The name of the principal.
    pub actor: String,
    /// The action, such as `key.create`.
    pub action: String,
    /// The id of the changed object.
    pub target: String,
    /// The id of the request, if there was one.
    pub request_id: Option<String>,
    /// The change, if the action does not state it.
    pub detail: Option<String>,
}

/// Writes an entry in a transaction.
pub(super) async fn record(connection: &mut Connection, entry: &AuditEntry) -> Result<(), Error> {
    record_all(connection, std::slice::from_ref(entry)).await
}

/// Writes entries in a transaction.
pub(super) async fn record_all(connection: &mut Connection, entries: &[AuditEntry]) -> Result<(), Error> {
    for piece in bucketed_chunks(entries) {
        let mut sql = Statement::new(
            "INSERT INTO audit_log (id, tenant_id, at, actor, action, target, request_id, detail) VALUES ",
        );
        sql.rows(piece.len(), "(?,?,?,?,?,?,?,?)");
        for entry in piece {
            sql.bind(connection.placed(entry.id))
                .bind(entry.tenant.as_str().to_owned())
                .bind(entry.at.as_micros())
                .bind(entry.actor.clone())
                .bind(entry.action.clone())
                .bind(entry.target.clone())
                .bind(entry.request_id.clone())
                .bind(entry.detail.clone());
        }
        sql.execute(connection).await?;
    }
    Ok(())
}

/// Returns the entry of a command that changed an order. Commands of workers and of the gateway have none.
pub(super) fn of_command(command: &Command, event: &OrderEvent, now: Timestamp) -> Option<AuditEntry> {
    let (requester, action) = match command {
        Command::Cancel { requester, .. } => (requester.as_ref()?, "order.cancel"),
        Command::Redrive { requester, .. } => (requester.as_ref()?, "order.redrive"),
        Command::Start { .. }
        | Command::Heartbeat { .. }
        | Command::Checkpoint { .. }
        | Command::Finish { .. }
        | Command::Expire
        | Command::Undeliver { .. } => {
            return None;
        }
    };
    Some(AuditEntry {
        id: OrderId::new(now),
        tenant: event.tenant_id.clone(),
        at: now,
        actor: requester.name.to_string(),
        action: action.to_owned(),
        target: event.order_id.to_string(),
        request_id: requester.request_id.clone(),
        // The event has the reason, which can contain personal data.
        detail: None,
    })
}

/// Returns the entry of a change of the queue, which belongs to all tenants.
pub(super) fn of_queue(
    requester: &Requester,
    action: &str,
    detail: Option<String>,
    now: Timestamp,
) -> AuditEntry {
    AuditEntry {
        id: OrderId::new(now),
        tenant: TenantId::default(),
        at: now,
        actor: requester.name.to_string(),
        action: action.to_owned(),
        target: "queue".to_owned(),
        request_id: requester.request_id.clone(),
        detail,
    }
}

impl Shard {
    /// Deletes entries before a time. Returns whether there may be more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn prune_audit_log(&self, before: Timestamp) -> Result<bool, Error> {
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT id FROM audit_log WHERE id < ? ORDER BY id LIMIT ?");
                sql.bind(OrderId::first_at(before)).bind(i64::from(MAX_AUDIT_PAGE));
                let found = sql.fetch(connection).await?;
                let ids = found.iter().map(|row| rows::id(row, 0)).collect::<Result<Vec<_>, _>>()?;
                for piece in bucketed_chunks(&ids) {
                    let mut sql = Statement::new("DELETE FROM audit_log WHERE id");
                    sql.push_in(piece.iter().copied());
                    sql.execute(connection).await?;
                }
                Ok(ids.len() >= MAX_AUDIT_PAGE as usize)
            })
        })
        .await
    }

    /// Reads up to `limit` entries before the one with the id `before`, newest first; of one tenant or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn audit_log(
        &self,
        tenant: Option<&TenantId>,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Error> {
        let tenant = tenant.cloned();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT id, tenant_id, at, actor, action, target, request_id, detail FROM audit_log WHERE 1 = 1",
                );
                if let Some(tenant) = &tenant {
                    sql.push(" AND tenant_id = ?").bind(tenant.as_str().to_owned());
                }
                if let Some(before) = before {
                    sql.push(" AND id < ?").bind(before);
                }
                sql.push(" ORDER BY id DESC LIMIT ?").bind(i64::from(limit.min(MAX_AUDIT_PAGE)));
                let rows = sql.fetch(connection).await?;
                let entry = |row: &super::row::Row| {
                    let tenant: String = row.get(1)?;
                    Ok(AuditEntry {
                        id: rows::id(row, 0)?,
                        tenant: tenant.parse().map_err(|error| Error::Row(format!("tenant_id: {error}")))?,
                        at: rows::time(row, 2)?,
                        actor: row.get(3)?,
                        action: row.get(4)?,
                        target: row.get(5)?,
                        request_id: row.get(6)?,
                        detail: row.get(7)?,
                    })
                };
                rows.iter().map(entry).collect()
            })
        })
        .await
    }
}
