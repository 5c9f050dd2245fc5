//! The workers of all gateways: each gateway writes those that are connected to it.

use domain::{OrderId, Principal, Timestamp, WorkerName};

use super::owner::Owner;
use super::row::Row;
use super::statement::Statement;
use super::{Error, Shard, rows};

/// Maximum number of workers that one read returns.
pub const MAX_WORKERS: u32 = 1_000;
/// Maximum number of running attempts of a worker that one read returns.
pub const MAX_WORKER_ORDERS: u32 = 100;
/// In place of the tenant, for workers of all tenants. It is no id of a tenant.
const ALL_TENANTS: &str = "*";
const COLUMNS: &str = "tenant_id, name, version, host, gateway, state, slots, in_flight, recent, connected_at, last_seen_at, kinds";

/// A worker as its gateway saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its tenant; `None` if it works for all.
    pub tenant: Option<String>,
    /// Its name.
    pub name: WorkerName,
    /// Its version; empty if it has not stated one.
    pub version: String,
    /// Its host; empty if it has not stated one.
    pub host: String,
    /// The random number of the gateway's process.
    pub gateway: i64,
    /// `connected`, `draining` or `disconnected`.
    pub state: String,
    /// The attempts that it runs at the same time; 0 if it has not stated that.
    pub slots: u32,
    /// The attempts that it runs.
    pub in_flight: u32,
    /// The kinds of orders that it takes; empty if it has not stated them.
    pub kinds: Vec<String>,
    /// What it did lately, as JSON.
    pub recent: String,
    /// The time of the connection.
    pub connected_at: Timestamp,
    /// The time of the latest write.
    pub last_seen_at: Timestamp,
}

/// An attempt that a worker runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerOrder {
    /// The order.
    pub order_id: OrderId,
    /// The number of the attempt.
    pub attempt: u32,
    /// Its start.
    pub started_at: Timestamp,
    /// The end of its lease.
    pub lease_ends_at: Timestamp,
}

impl Shard {
    /// Writes workers, or replaces them, and removes those that were not seen since a time.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn save_workers(&self, workers: &[WorkerRow], oldest: Timestamp) -> Result<(), Error> {
        self.write(|connection| {
            let workers = workers.to_vec();
            Box::pin(async move {
                for worker in &workers {
                    let mut sql = Statement::new(format!("REPLACE INTO workers ({COLUMNS}) VALUES "));
                    sql.rows(1, "(?,?,?,?,?,?,?,?,?,?,?,?)");
                    sql.bind(worker.tenant.as_deref().unwrap_or(ALL_TENANTS)).bind(worker.name.as_str());
                    sql.bind(worker.version.as_str()).bind(worker.host.as_str()).bind(worker.gateway);
                    sql.bind(worker.state.as_str()).bind(i64::from(worker.slots));
                    sql.bind(i64::from(worker.in_flight)).bind(worker.recent.as_str());
                    sql.bind(worker.connected_at.as_micros()).bind(worker.last_seen_at.as_micros());
                    sql.bind(worker.kinds.join(","));
                    sql.execute(connection).await?;
                }
                let mut sql = Statement::new("DELETE FROM workers WHERE last_seen_at < ?");
                sql.bind(oldest.as_micros());
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    /// Returns the workers that the caller may see and that were seen since a time, the latest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workers_since(
        &self,
        principal: &Principal,
        since: Timestamp,
    ) -> Result<Vec<WorkerRow>, Error> {
        let tenant = (!principal.all_tenants).then(|| principal.tenant.as_str().to_owned());
        self.read(move |connection| {
            let tenant = tenant.clone();
            Box::pin(async move {
                let mut sql =
                    Statement::new(format!("SELECT {COLUMNS} FROM workers WHERE last_seen_at >= ?"));
                sql.bind(since.as_micros());
                if let Some(tenant) = tenant {
                    // Workers of all tenants process the orders of this one as well.
                    sql.push(" AND tenant_id IN (?, ?)").bind(tenant).bind(ALL_TENANTS);
                }
                sql.push(" ORDER BY last_seen_at DESC, name LIMIT ?").bind(i64::from(MAX_WORKERS));
                sql.fetch(connection).await?.iter().map(worker).collect()
            })
        })
        .await
    }

    /// Returns the attempts that a worker runs, of orders that the caller may see, oldest order first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn worker_orders(
        &self,
        principal: &Principal,
        name: &WorkerName,
    ) -> Result<Vec<WorkerOrder>, Error> {
        let (owner, name, by_stage) =
            (Owner::visible_to(principal), name.clone(), self.inner.dialect.by_stage());
        self.read(move |connection| {
            let (owner, name) = (owner.clone(), name.clone());
            Box::pin(async move {
                let mut sql = Statement::new("SELECT id, attempt, updated_at, held_until FROM orders");
                sql.push(by_stage).push(" WHERE stage = 'held' AND status = 'processing' AND worker = ?");
                sql.bind(rows::padded_worker(Some(name.as_str())));
                owner.push(&mut sql);
                sql.push(" ORDER BY id LIMIT ?").bind(i64::from(MAX_WORKER_ORDERS));
                let order = |row: &Row| {
                    Ok(WorkerOrder {
                        order_id: rows::id(row, 0)?,
                        attempt: rows::number(row, 1)?,
                        started_at: rows::time(row, 2)?,
                        lease_ends_at: rows::time(row, 3)?,
                    })
                };
                sql.fetch(connection).await?.iter().map(order).collect()
            })
        })
        .await
    }
}

fn worker(row: &Row) -> Result<WorkerRow, Error> {
    let text = |column: usize| row.get::<&str>(column).map(str::to_owned);
    let name = row.get::<&str>(1)?;
    Ok(WorkerRow {
        tenant: Some(text(0)?).filter(|tenant| tenant != ALL_TENANTS),
        name: WorkerName::clean(name)
            .ok_or_else(|| Error::Row("the name of a worker is empty".to_owned()))?,
        version: text(2)?,
        host: text(3)?,
        gateway: row.get(4)?,
        state: text(5)?,
        slots: rows::number(row, 6)?,
        in_flight: rows::number(row, 7)?,
        recent: text(8)?,
        connected_at: rows::time(row, 9)?,
        last_seen_at: rows::time(row, 10)?,
        kinds: text(11)?.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
    })
}
