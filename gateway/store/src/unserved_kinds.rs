//! Finds kinds of orders that no worker processes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{Kind, Timestamp};

use super::statement::Statement;
use super::{Error, Shard, rows};

impl Shard {
    /// Returns the kinds whose oldest order has waited for a start for at least `age` while no order of the kind is
    /// processed, each with this time.
    ///
    /// Reads the held orders and the first of each kind, tenant and priority, not the whole backlog.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn unserved_kinds(&self, age: Duration) -> Result<Vec<(Kind, Duration)>, Error> {
        let (oldest, served) = self.kinds_by_service().await?;
        Ok(self.unserved(oldest, &served, age))
    }

    /// Returns the start of the longest wait of each kind, and the kinds that are processed.
    pub(super) async fn kinds_by_service(&self) -> Result<(BTreeMap<String, i64>, BTreeSet<String>), Error> {
        let by_stage = self.inner.dialect.by_stage();
        let held = self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT kind, status, MIN(not_before) FROM orders");
                // Parked orders cannot be started.
                sql.push(by_stage).push(" WHERE stage = 'held' AND due_at = ? GROUP BY kind, status");
                sql.bind(rows::NEVER);
                sql.fetch(connection).await
            })
        });
        let (mut oldest, mut served) = (BTreeMap::<String, i64>::new(), BTreeSet::new());
        for row in held.await? {
            // A value that cannot be read belongs to an unreadable order.
            let (Ok(kind), Ok(status)) = (row.get::<String>(0), row.get::<String>(1)) else { continue };
            match (status.as_str(), row.get::<Option<i64>>(2)) {
                ("processing", _) => drop(served.insert(kind)),
                ("pending", Ok(Some(since))) => drop(oldest.insert(kind, since)),
                _ => {}
            }
        }
        self.each_waiting_tenant(|kind, tenant| {
            let first = oldest.get(kind).copied();
            let first = tenant.due.into_iter().flatten().chain(first).min();
            oldest.extend(first.map(|first| (kind.to_owned(), first)));
        })
        .await?;
        Ok((oldest, served))
    }

    /// Returns the kinds that wait for at least `age` and are not processed.
    pub(super) fn unserved(
        &self,
        oldest: BTreeMap<String, i64>,
        served: &BTreeSet<String>,
        age: Duration,
    ) -> Vec<(Kind, Duration)> {
        let now = self.now();
        let waited =
            |since: i64| Some(Timestamp::from_micros(since)).filter(|at| *at < now).map(|at| now.since(at));
        let unserved =
            oldest.into_iter().filter(|(kind, _)| !served.contains(kind)).filter_map(|(kind, since)| {
                let waited = waited(since).filter(|waited| *waited >= age)?;
                Some((kind.parse().ok()?, waited))
            });
        unserved.collect()
    }
}
