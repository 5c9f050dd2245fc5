//! Ends the leases of a process that has ended.

use domain::transition::{CLASS_LEASE_EXPIRED, Command, Rules};
use domain::{LeasePrefix, LeaseToken, OrderId, Outcome};

use super::row::Row;
use super::statement::Statement;
use super::transition::CommandOutcome;
use super::{Error, Shard, rows};

/// Orders that one statement reads.
const PAGE: i64 = 1_000;
/// The reason of an order whose attempt ended with its process.
const ENDED: &str = "the program ended while it processed the order";

impl Shard {
    /// Ends the attempts whose lease tokens have this prefix. Returns their number.
    ///
    /// For the start of the only process that draws such tokens: it holds none yet, so they belong to a previous
    /// process that was killed. Each attempt counts as a failure, like an expired lease, because the order may be what
    /// ends the process.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn end_leases(&self, prefix: LeasePrefix, rules: Rules) -> Result<u64, Error> {
        let (mut after, mut ended) =
            (Position { tenant: String::new(), id: OrderId::from_bytes([0; 16]) }, 0);
        loop {
            let page = self.leases_after(after).await?;
            let Some(last) = page.last() else { return Ok(ended) };
            after = last.position.clone();
            let reports = page.into_iter().filter_map(|held| {
                let (id, lease) = (held.position.id, held.lease);
                let lease = lease.filter(|lease| prefix.matches(*lease))?;
                let class = Some(CLASS_LEASE_EXPIRED.to_owned());
                let outcome = Outcome::Retry { reason: ENDED.to_owned(), class, after: None };
                Some((id, Command::Finish { lease, outcome }))
            });
            let reports: Vec<_> = reports.collect();
            if !reports.is_empty() {
                let applied = self.apply(reports.into(), rules).await?;
                ended +=
                    applied.iter().filter(|one| matches!(one, CommandOutcome::Changed { .. })).count() as u64;
            }
        }
    }

    /// Returns orders in processing by tenant and id.
    async fn leases_after(&self, after: Position) -> Result<Vec<Held>, Error> {
        let by_stage = self.inner.dialect.by_stage();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT id, lease_token, tenant_id FROM orders");
                sql.push(by_stage).push(
                    " WHERE stage = 'held' AND status = 'processing' AND tenant_id >= ? AND (tenant_id > ? OR id > ?) \
                     ORDER BY tenant_id, id LIMIT ?",
                );
                sql.bind(after.tenant.clone()).bind(after.tenant).bind(after.id).bind(PAGE);
                Ok(sql.fetch(connection).await?.iter().filter_map(Held::new).collect())
            })
        })
        .await
    }
}

/// A position in the index `orders_by_stage`, within one stage.
#[derive(Clone)]
struct Position {
    tenant: String,
    id: OrderId,
}

/// An order in processing.
struct Held {
    position: Position,
    /// `None` if the token cannot be read.
    lease: Option<LeaseToken>,
}

impl Held {
    fn new(row: &Row) -> Option<Self> {
        let position = Position { tenant: row.get(2).ok()?, id: rows::id(row, 0).ok()? };
        Some(Self { position, lease: row.get(1).ok().and_then(LeaseToken::from_i64) })
    }
}
