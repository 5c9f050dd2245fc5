//! Claims ready orders so that tenants with due orders get equal shares of the queue's capacity.
//!
//! While orders of one tenant wait, a pass claims its orders, and its search for due ones also states whether orders of
//! another tenant wait. Only then are the tenants with due orders searched. They take turns in the sequence of their names,
//! until a pass has claimed all their orders or the search is [`SEARCH_INTERVAL`] old. The next search continues behind the
//! last turn, so each tenant gets its turn with any number of tenants and any capacity.
//!
//! Nothing about tenants is stored: the indexes of the orders state who waits, so no order can be forgotten. The name of a
//! tenant is used as it is stored, valid or not.

use std::collections::VecDeque;
use std::time::Duration;

use domain::{Kind, Priority, Timestamp};
use tokio::time::Instant;

use super::ready::{Claimed, DispatchCursor, Share, ShareClaim};
use super::row::Row;
use super::statement::Statement;
use super::{Dialect, Error, Shard};

/// The maximum number of tenants that one search reads.
const MAX_SEARCHED: usize = 200;
/// The maximum number of tenants in one pass.
const MAX_SHARES: usize = 16;
/// The maximum number of kinds of orders that dispatch searches. Further ones, by name, wait.
pub const MAX_KINDS: usize = 100;
/// The maximum age of a search.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

/// The position of dispatch among the tenants with due orders.
#[derive(Debug, Default)]
pub struct DueTenants {
    /// The kind of the orders.
    kind: Kind,
    /// The last tenant that was alone with due orders.
    alone: Option<String>,
    /// The position among its orders, while it is alone.
    cursor: DispatchCursor,
    /// The name of the last tenant that had its turn.
    served: Option<String>,
    /// Whether more tenants wait than one search reads.
    in_pages: bool,
    found: Option<Found>,
}

/// The result of a search.
#[derive(Debug)]
struct Found {
    at: Instant,
    /// Whether it began at the first tenant and ended at the last one.
    complete: bool,
    /// The last tenant that was read, if there may be further ones.
    end: Option<String>,
    turns: VecDeque<Turn>,
    /// The number of tenants that had no turn since the search.
    without_turn: usize,
}

/// A tenant with due orders.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turn {
    tenant: String,
    /// The priorities that have due orders, in the order of [`Priority::ALL`].
    waiting: [bool; 3],
    cursor: DispatchCursor,
}

/// A tenant with waiting orders, due or not.
pub(super) struct WaitingTenant {
    /// As it is stored, valid or not.
    pub(super) name: String,
    /// The earliest due time of each priority, in the order of [`Priority::ALL`].
    pub(super) due: [Option<i64>; 3],
}

/// Some tenants with waiting orders, by their names.
struct TenantPage {
    tenants: Vec<WaitingTenant>,
    /// The last one, if there may be further ones.
    end: Option<String>,
}

impl WaitingTenant {
    /// Returns the priorities that have due orders, each with the tenant.
    pub(super) fn due_priorities(self, now: Timestamp) -> impl Iterator<Item = (String, Priority)> {
        let is_due = self.is_due(now);
        let due = Priority::ALL.into_iter().zip(is_due).filter(|(_, is_due)| *is_due);
        due.map(move |(priority, _)| (self.name.clone(), priority))
    }

    fn is_due(&self, now: Timestamp) -> [bool; 3] {
        self.due.map(|due| due.is_some_and(|due| due <= now.as_micros()))
    }
}

/// The orders that one pass has claimed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FairClaim {
    /// The orders of each tenant.
    pub claimed: Vec<Claimed>,
    /// Whether more orders may be due.
    pub more: bool,
}

impl Shard {
    /// Claims up to `limit` due orders, in equal shares of the tenants that have some.
    ///
    /// A tenant that has fewer orders than its share leaves capacity for another pass. Within a tenant and a priority the
    /// oldest order comes first, and [`domain::priority::allocate`] divides the share among the priorities. The queue holds
    /// the orders until `visibility_timeout` is over. The caller pushes them; [`Self::expired_claims`] finds an order whose
    /// job is lost. Returns `None` while the queue is paused.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn claim_fairly(
        &self,
        limit: u32,
        visibility_timeout: Duration,
        tenants: &mut DueTenants,
    ) -> Result<Option<FairClaim>, Error> {
        tenants.end_old_search();
        let is_new = tenants.found.is_none();
        if is_new
            && !tenants.in_pages
            && let Some(share) = tenants.alone(limit)
        {
            match self.claim_alone(share, visibility_timeout).await? {
                ShareClaim::Paused => return Ok(None),
                ShareClaim::Claimed(claimed) => return Ok(Some(tenants.claimed_alone(claimed))),
                ShareClaim::Others => {}
            }
        }
        if is_new {
            self.search_tenants(tenants).await?;
        }
        let shares =
            tenants.found.as_ref().map(|found| found.shares(&tenants.kind, limit)).unwrap_or_default();
        let ShareClaim::Claimed(claimed) = self.claim_shares(shares.clone(), visibility_timeout).await?
        else {
            return Ok(None);
        };
        let is_end = is_new && tenants.found.as_ref().is_none_or(|found| found.end.is_none());
        tenants.end_turns(&shares, &claimed);
        let claimed = claimed.into_iter().map(|(claimed, _)| claimed).collect();
        let mut claim = FairClaim { claimed, more: tenants.turns() > 0 };
        if !claim.more {
            tenants.end_search();
            // Orders may have become due since an older search, or those of a tenant behind it.
            claim.more = !is_end;
        }
        Ok(Some(claim))
    }

    /// Searches the next tenants with due orders.
    async fn search_tenants(&self, tenants: &mut DueTenants) -> Result<(), Error> {
        let mut after = tenants.served.clone().filter(|_| tenants.in_pages);
        let mut found = self.read_tenants(&tenants.kind, after.clone()).await?;
        if found.end.is_some() && after.is_none() && tenants.served.is_some() {
            after.clone_from(&tenants.served);
            found = self.read_tenants(&tenants.kind, after.clone()).await?;
        }
        tenants.in_pages = found.end.is_some() || after.is_some();
        found.complete = !tenants.in_pages;
        if let (true, [only]) = (found.complete, found.turns.make_contiguous()) {
            tenants.alone = Some(only.tenant.clone());
            tenants.cursor = DispatchCursor::default();
        }
        if let (true, Some(served)) = (found.complete, &tenants.served) {
            let next = found.turns.iter().position(|turn| turn.tenant > *served);
            found.turns.rotate_left(next.unwrap_or_default());
        }
        tenants.found = Some(found);
        Ok(())
    }

    /// Reads the tenants with due orders after a tenant.
    async fn read_tenants(&self, kind: &Kind, after: Option<String>) -> Result<Found, Error> {
        let now = self.now();
        let TenantPage { tenants, end } =
            self.waiting_tenants(kind.as_str(), after.unwrap_or_default()).await?;
        let turns: VecDeque<Turn> = tenants
            .into_iter()
            .map(|tenant| Turn {
                waiting: tenant.is_due(now),
                tenant: tenant.name,
                cursor: DispatchCursor::default(),
            })
            .filter(|turn| turn.waiting != [false; 3])
            .collect();
        let without_turn = turns.len();
        Ok(Found { at: Instant::now(), complete: false, end, turns, without_turn })
    }

    /// Reads the next [`MAX_SEARCHED`] tenants with waiting orders after a tenant, with the due times of those of a kind.
    async fn waiting_tenants(&self, kind: &str, after: String) -> Result<TenantPage, Error> {
        let sql = due_tenants(kind, after, self.inner.dialect);
        let rows = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        let read = |row: &Row| {
            // A due time that is not a number belongs to an unreadable order.
            let due = |column| row.get::<Option<i64>>(column).ok().flatten();
            // The orders of a tenant whose name is not text are stray ones.
            row.get(0).ok().map(|name| WaitingTenant { name, due: [due(1), due(2), due(3)] })
        };
        let tenants: Vec<WaitingTenant> = rows.iter().filter_map(read).collect();
        let end = tenants.last().filter(|_| rows.len() == MAX_SEARCHED).map(|last| last.name.clone());
        Ok(TenantPage { tenants, end })
    }

    /// Calls `visit` for each kind of waiting orders, as it is stored, and each tenant with such orders.
    pub(super) async fn each_waiting_tenant(
        &self,
        mut visit: impl FnMut(&str, WaitingTenant) + Send,
    ) -> Result<(), Error> {
        for kind in self.stored_kinds().await? {
            let mut after = String::new();
            loop {
                let TenantPage { tenants, end } = self.waiting_tenants(&kind, after).await?;
                let waiting = tenants.into_iter().filter(|tenant| tenant.due != [None; 3]);
                waiting.for_each(|tenant| visit(&kind, tenant));
                match end {
                    Some(end) => after = end,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Returns the kinds of orders that may wait, besides those whose names are not valid.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn kinds(&self) -> Result<Vec<Kind>, Error> {
        Ok(self.stored_kinds().await?.iter().filter_map(|kind| kind.parse().ok()).collect())
    }

    /// Returns the kinds of orders that may wait, as they are stored: one entry of the index for each.
    pub(super) async fn stored_kinds(&self) -> Result<Vec<String>, Error> {
        let sql = kinds(self.inner.dialect);
        let rows = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        // A kind that is not text belongs to stray orders.
        Ok(rows.iter().filter_map(|row| row.get::<String>(0).ok()).collect())
    }
}

impl DueTenants {
    /// Creates the position among the orders of a kind.
    pub fn of(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Makes the next pass begin with the earliest due times, and with a search for other tenants.
    pub fn restart(&mut self) {
        self.cursor = DispatchCursor::default();
        self.found = None;
    }

    /// Returns the share of the tenant that may be alone with due orders.
    fn alone(&self, limit: u32) -> Option<Share> {
        let tenant = self.alone.clone()?;
        Some(Share { kind: self.kind.clone(), tenant, limit, waiting: [true; 3], cursor: self.cursor })
    }

    fn claimed_alone(&mut self, claimed: Vec<(Claimed, [bool; 3])>) -> FairClaim {
        let claimed: Vec<Claimed> = claimed.into_iter().map(|(claimed, _)| claimed).collect();
        let more = claimed.iter().any(|claimed| claimed.more);
        let reached = claimed.first().filter(|_| more).map(|claimed| claimed.cursor);
        self.cursor = reached.unwrap_or_default();
        FairClaim { claimed, more }
    }

    /// Returns the number of tenants that may have due orders.
    fn turns(&self) -> usize {
        self.found.as_ref().map_or(0, |found| found.turns.len())
    }

    /// Forgets a search that is too old, or whose tenants had their turns while others wait for theirs.
    fn end_old_search(&mut self) {
        let is_over = |found: &Found| {
            found.at.elapsed() >= SEARCH_INTERVAL || (found.without_turn == 0 && !found.complete)
        };
        if self.found.as_ref().is_some_and(is_over) {
            self.end_search();
        }
    }

    /// Forgets the search. The next one continues behind the tenants that had their turns.
    fn end_search(&mut self) {
        if let Some(found) = self.found.take()
            && found.without_turn == 0
            && !found.complete
        {
            self.in_pages = found.end.is_some();
            self.served = found.end;
        }
    }

    /// Ends the turns of the tenants with a share.
    fn end_turns(&mut self, shares: &[Share], claimed: &[(Claimed, [bool; 3])]) {
        let Some(found) = &mut self.found else { return };
        found.without_turn = found.without_turn.saturating_sub(shares.len());
        for (turn, (claimed, waiting)) in found.turns.iter_mut().zip(claimed) {
            (turn.waiting, turn.cursor) = (*waiting, claimed.cursor);
        }
        // If all tenants had a share, those that got one order more are the last ones of the next pass.
        let largest = shares.first().map(|share| share.limit);
        let all = shares.len() == found.turns.len();
        let ended = shares.iter().take_while(|share| !all || Some(share.limit) == largest).count();
        if let Some(last) = shares.get(ended.wrapping_sub(1)) {
            self.served = Some(last.tenant.clone());
        }
        found.turns.rotate_left(ended);
        found.turns.retain(|turn| turn.waiting != [false; 3]);
    }
}

impl Found {
    /// Divides the limit among the next tenants.
    fn shares(&self, kind: &Kind, limit: u32) -> Vec<Share> {
        let tenants = self.turns.len().min(MAX_SHARES).min(limit as usize).max(1) as u32;
        let turns = self.turns.iter().take(tenants as usize).zip(0..);
        let share = |(turn, n): (&Turn, u32)| Share {
            kind: kind.clone(),
            tenant: turn.tenant.clone(),
            limit: limit / tenants + u32::from(n < limit % tenants),
            waiting: turn.waiting,
            cursor: turn.cursor,
        };
        turns.map(share).collect()
    }
}

/// Builds the statement that reads tenants with waiting orders of any kind, and the earliest due time of each of their
/// priorities among those of one kind.
fn due_tenants(kind: &str, after: String, dialect: Dialect) -> Statement<'static> {
    let mut sql = Statement::new("SELECT tenant.name");
    for priority in Priority::ALL {
        // One entry of the index. MySQL would sort all of them by the due time alone.
        sql.push(", (SELECT due_at FROM orders").push(dialect.by_due()).push(" WHERE ");
        sql.push(dialect.in_due_index()).push(
            "kind = ? AND priority = ? AND tenant_id = tenant.name ORDER BY tenant_id, due_at LIMIT 1)",
        );
        sql.bind(kind.to_owned()).bind(priority.as_str());
    }
    sql.push(" FROM (").push(dialect.waiting_tenants()).push(") tenant");
    sql.bind(after).bind(MAX_SEARCHED as i64);
    sql
}

/// Builds the statement that reads the kinds of orders that may wait.
pub(super) fn kinds(dialect: Dialect) -> Statement<'static> {
    let mut sql = Statement::new(dialect.kinds());
    sql.bind(MAX_KINDS as i64);
    sql
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::ready::due_orders;
    use super::super::tests::sqlite;
    use super::*;

    /// Each step of SQLite is a search in a range of an index.
    #[tokio::test]
    async fn no_search_of_sqlite_reads_a_backlog() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        let range = (Timestamp::from_micros(0), Timestamp::from_micros(9));
        let kind = Kind::default();
        let claim = due_orders(&kind, Priority::Normal, 5, range, "default", Dialect::Sqlite);
        let tenants = || due_tenants("default", String::new(), Dialect::Sqlite);
        for (sql, range) in [
            (tenants(), "orders_by_stage (stage=? AND tenant_id>?)"),
            (tenants(), "orders_due (kind=? AND priority=? AND tenant_id=?)"),
            (claim, "orders_due (kind=? AND priority=? AND tenant_id=? AND due_at>? AND due_at<?)"),
            (kinds(Dialect::Sqlite), "orders_due (kind>?)"),
        ] {
            let sql = sql.explained();
            let plan = store.read(move |connection| Box::pin(sql.fetch(connection))).await.unwrap();
            let steps: Vec<String> = plan.iter().map(|row| row.get(3).unwrap()).collect();
            assert!(steps.iter().any(|step| step.contains(range)), "{steps:#?}");
            let is_bad = |step: &String| step.contains("SCAN orders") || step.contains("TEMP B-TREE");
            assert!(!steps.iter().any(is_bad), "{steps:#?}");
        }
    }

    #[test]
    fn limits_are_documented() {
        let searched = limits_page::count(MAX_SEARCHED);
        let row = "tenants in one pass of dispatch; tenants that it searches at once";
        limits_page::row(row, &format!("{MAX_SHARES}; {searched}"));
        let row = "time for which a search for tenants with due orders is used";
        limits_page::row(row, &format!("{} ms", SEARCH_INTERVAL.as_millis()));
    }

    fn found(names: &[&str]) -> DueTenants {
        let turn = |name: &&str| Turn {
            tenant: (*name).to_owned(),
            waiting: [false, true, false],
            cursor: DispatchCursor::default(),
        };
        let turns: VecDeque<Turn> = names.iter().map(turn).collect();
        let without_turn = turns.len();
        let found = Found { at: Instant::now(), complete: true, end: None, turns, without_turn };
        DueTenants { found: Some(found), ..DueTenants::default() }
    }

    /// Passes with the smallest capacities give each tenant as many places as any other one.
    #[test]
    fn tenants_take_turns_for_every_capacity() {
        for capacity in 1..40_u32 {
            let names = ["a", "b", "c", "d", "e"];
            let mut tenants = found(&names);
            let mut places = [0_u32; 5];
            for _ in 0..60 {
                let shares = tenants.found.as_ref().unwrap().shares(&Kind::default(), capacity);
                assert_eq!(shares.iter().map(|share| share.limit).sum::<u32>(), capacity);
                for share in &shares {
                    places[names.iter().position(|name| *name == share.tenant).unwrap()] += share.limit;
                }
                let claimed = vec![(Claimed::default(), [false, true, false]); shares.len()];
                tenants.end_turns(&shares, &claimed);
            }
            assert_eq!(places, [12 * capacity; 5], "{capacity}");
        }
    }
}
