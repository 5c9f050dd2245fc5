//! Lists of orders.
//!
//! A list that an index serves is one statement. Every other list is a search (see `search`).

mod export;
mod groups;
mod lookup;
mod query;
mod reader;

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::query::{Filter, Position, Sort};
use domain::{Order, OrderId, Principal, TenantId};
use tokio::time::Instant;

pub use self::export::ExportPage;
pub use self::groups::{DeadLetterGroup, DeadLetterGroups, MAX_GROUPED};
use self::reader::Reader;
use super::connection::Connection;
use super::replica::Freshness;
use super::scan::{Listed, Scan, ScanStart, Scanned};
use super::search::{ReadPath, ResidualFilter, reduced};
use super::search_pool::SearchPass;
use super::{Error, Shard, Work};

impl Shard {
    /// Returns up to `limit` readable orders of the caller's tenant that match, with ids below `after`, newest first.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn list(
        &self,
        principal: &Principal,
        filter: &Filter,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let scan = newest_first(filter, after, limit);
        let pass = &mut SearchPass::default();
        let scanned =
            self.scanning(&principal.tenant, scan, Freshness::Current, pass, orders(usize::MAX)).await?;
        let orders = scanned.items.into_iter().filter_map(|item| match item {
            Listed::Order(order) => Some(*order),
            Listed::Unreadable { .. } => None,
        });
        Ok(orders.collect())
    }

    /// Returns their ids.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn list_ids(
        &self,
        principal: &Principal,
        filter: &Filter,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderId>, Error> {
        let scan = newest_first(filter, after, limit);
        self.scanning(&principal.tenant, scan, Freshness::Current, &mut SearchPass::default(), ids).await
    }

    /// Reads orders of the caller's tenant in the sequence of a list, until they take about `bytes` bytes.
    ///
    /// The read begins at a position and returns at least one order, if there is any. A search may read a replica.
    ///
    /// # Errors
    /// [`Error::TooMuchToRead`] when the database answers and this takes too long all the same, and
    /// [`Error::TooManySearches`].
    pub async fn scan(
        &self,
        principal: &Principal,
        scan: Scan,
        bytes: usize,
        pass: &mut SearchPass,
    ) -> Result<Scanned, Error> {
        self.scanning(&principal.tenant, scan, Freshness::MayBeOlder, pass, orders(bytes)).await
    }

    /// Returns the ids of these orders.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn scan_ids(
        &self,
        principal: &Principal,
        scan: Scan,
        pass: &mut SearchPass,
    ) -> Result<Vec<OrderId>, Error> {
        self.scanning(&principal.tenant, scan, Freshness::MayBeOlder, pass, ids).await
    }

    fn reader(&self, tenant: &TenantId, scan: &Scan) -> Reader {
        let rest = ResidualFilter::of(&scan.filter, scan.sort, self.queue_snapshot());
        let scan = Scan { filter: reduced(&scan.filter, scan.sort), ..scan.clone() };
        let until = Instant::now() + self.search_time();
        Reader { dialect: self.dialect(), tenant: tenant.clone(), scan, rest, among: None, until }
    }

    async fn scanning<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        scan: Scan,
        freshness: Freshness,
        pass: &mut SearchPass,
        work: impl for<'c> FnOnce(Reader, &'c mut Connection) -> Work<'c, T> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        let among = self.few_matches(tenant, &scan.filter).await?;
        let way = match &among {
            // The item names of a few orders can be long.
            Some(_) if scan.filter.item_contains.is_none() => ReadPath::Indexed,
            _ => self.read_path(tenant, &scan.filter, scan.sort, pass).await?,
        };
        // A list that an index serves is cheap, and shows an order as soon as it is created.
        let freshness = if matches!(way, ReadPath::Indexed) { Freshness::Current } else { freshness };
        self.searching(way, freshness, Reader { among, ..self.reader(tenant, &scan) }, work).await
    }

    async fn searching<T: Send + 'static>(
        &self,
        way: ReadPath,
        freshness: Freshness,
        reader: Reader,
        work: impl for<'c> FnOnce(Reader, &'c mut Connection) -> Work<'c, T> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        let answers = || self.inner.answers.load(Ordering::Relaxed);
        let before = answers();
        let run = with_reader(reader, self.search_time(), work);
        let outcome = match (way, freshness) {
            (ReadPath::Indexed, Freshness::Current) => self.read(run).await,
            (ReadPath::Indexed, Freshness::MayBeOlder) => self.read_older(run).await,
            (ReadPath::Search(permit), freshness) => self.search(permit, freshness, run).await,
        };
        match outcome {
            // The database responded to others meanwhile.
            Err(Error::TimedOut) if answers() != before => Err(Error::TooMuchToRead),
            outcome => outcome,
        }
    }

    /// Returns the maximum duration of a search. It is shorter than the deadline, so that the search can state why it
    /// ended.
    fn search_time(&self) -> Duration {
        self.inner.deadline * 3 / 4
    }
}

/// Returns the work of a reader on a connection. Its time begins again when the primary is read in place of a replica.
fn with_reader<T>(
    reader: Reader,
    time: Duration,
    work: impl for<'c> FnOnce(Reader, &'c mut Connection) -> Work<'c, T> + Clone + Send + 'static,
) -> impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Clone + Send + 'static {
    move |connection| work(Reader { until: Instant::now() + time, ..reader }, connection)
}

fn orders(
    bytes: usize,
) -> impl for<'c> FnOnce(Reader, &'c mut Connection) -> Work<'c, Scanned> + Clone + Send + 'static {
    move |reader, connection| Box::pin(reader.orders(bytes, connection))
}

fn ids(reader: Reader, connection: &mut Connection) -> Work<'_, Vec<OrderId>> {
    Box::pin(reader.ids(connection))
}

pub(super) fn newest_first(filter: &Filter, after: Option<OrderId>, limit: u32) -> Scan {
    let behind = |id| ScanStart::Behind(Position { total_minor: 0, id });
    let start = after.map_or(ScanStart::Begin, behind);
    Scan { filter: filter.clone(), sort: Sort::default(), start, end: None, limit }
}

#[cfg(test)]
mod tests {
    use domain::{Currency, Status, Timestamp};

    use crate::Options;
    use crate::tests::{orders, sqlite};

    use super::query::page;
    use super::*;
    use crate::{Dialect, columns};

    /// The plans of SQLite do not depend on the content of the tables.
    #[tokio::test]
    async fn lists_read_a_range_of_an_index_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        let id = OrderId::new(store.now());
        let at = Position { total_minor: 5, id };
        let currency = Some(Currency::USD);
        let failed = Filter { statuses: vec![Status::Failed], ..Filter::default() };
        let open = Filter { statuses: vec![Status::Pending, Status::Processing], ..Filter::default() };
        let ann = Filter { customer: Some("Ann".into()), ..Filter::default() };
        let created = Filter { created_from: Some(Timestamp::from_micros(1)), ..Filter::default() };
        let created_before = created.clone();
        let dollars = Filter { currency, ..Filter::default() };
        let range = Filter { total_from: Some(1), total_to: Some(9), ..dollars.clone() };
        let class = Filter { error_class: Some("x".into()), ..Filter::default() };
        let (by_time, by_total) = (
            [Sort::CreatedDescending, Sort::CreatedAscending],
            [Sort::TotalDescending, Sort::TotalAscending],
        );
        let (alone, shop) = (TenantId::default(), "shop".parse::<TenantId>().unwrap());
        let all_stages = "orders_by_stage (stage=? AND tenant_id=?";
        for (tenant, filter, sorts, range) in [
            (&alone, Filter::default(), by_time, ""),
            (&alone, class, by_time, ""),
            (&alone, created, by_time, "PRIMARY KEY"),
            (&alone, failed, by_time, "orders_by_stage (stage=? AND tenant_id=?"),
            (&alone, open, by_time, "orders_by_stage (stage=? AND tenant_id=?"),
            (&alone, ann, by_time, "orders_by_customer (tenant_id=? AND customer=?"),
            (&alone, dollars, by_total, "orders_by_total (tenant_id=? AND currency=?"),
            (&alone, range, by_total, "orders_by_total (tenant_id=? AND currency=? AND "),
            // A small tenant does not read the orders of a large one.
            (&shop, Filter::default(), by_time, all_stages),
            (&shop, created_before, by_time, all_stages),
        ] {
            for sort in sorts {
                for start in [ScanStart::Begin, ScanStart::Behind(at), ScanStart::At(at)] {
                    let scan = Scan { filter: filter.clone(), sort, start, end: None, limit: 20 };
                    let sql = page(Dialect::Sqlite, tenant, &scan, &columns::ID, None).explained();
                    let plan = store.read(move |connection| Box::pin(sql.fetch(connection))).await.unwrap();
                    let steps: Vec<String> = plan.iter().map(|row| row.get(3).unwrap()).collect();
                    // The index finds the keys of the page first; sorting twenty orders afterwards is cheap.
                    let at = steps.iter().position(|step| step.contains("SCAN page")).unwrap();
                    let keys = steps[..at].join("; ");
                    // The pages of the segments of several statuses are as small.
                    let sorts =
                        |steps: &[String]| steps[0].contains("orders") && steps[1].contains("TEMP B-TREE");
                    let sorted = steps[..at].windows(2).any(sorts);
                    assert!(!sorted && keys.contains(range), "{scan:?}: {steps:#?}");
                    if start != ScanStart::Begin {
                        assert!(keys.contains("SEARCH"), "{scan:?}: {steps:#?}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_search_whose_time_is_up_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        store.insert(orders(store.now(), 65)).await.unwrap();
        for (text, until, answer) in [
            // The first statement finds all of them.
            ("x", Instant::now(), Some(65)),
            ("y", Instant::now(), None),
            ("y", Instant::now() + Duration::from_secs(60), Some(0)),
        ] {
            let filter = Filter { item_contains: Some(text.into()), ..Filter::default() };
            let sort = Sort::default();
            let rest = ResidualFilter::of(&filter, sort, store.queue_snapshot());
            let scan =
                Scan { filter: reduced(&filter, sort), sort, start: ScanStart::Begin, end: None, limit: 64 };
            let (dialect, tenant, among) = (Dialect::Sqlite, TenantId::default(), None);
            let reader = Reader { dialect, tenant, scan, rest, among, until };
            let found = store.read(move |connection| Box::pin(reader.ids(connection))).await;
            match answer {
                Some(count) => assert_eq!(found.unwrap().len(), count.min(64)),
                None => assert!(matches!(found, Err(Error::TooMuchToRead)), "{found:?}"),
            }
        }
    }
}
