//! Searches: lists that no index serves.
//!
//! A search reads orders along an index and compares them here, so that every database finds the same: piece
//! by piece, each of them a short statement, until the page is full, the list ends or the time is up.
//!
//! At most [`SEARCHES`] run at a time, on connections and threads of their own, so that they take neither from
//! other requests; further ones are refused at once. A search whose caller goes away ends with its statement.

use std::sync::Arc;

use domain::DEFAULT_TENANT;
use domain::query::{Filter, Sort};
use telemetry::panics;
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::columns::{Column, OrderRow, Selection};
use super::connection::{Connection, Pool};
use super::statement::Statement;
use super::{Error, Store, Work, rows};

/// Most searches at a time.
pub const SEARCHES: usize = 2;
/// The connections of all of them.
pub(super) const CONNECTIONS: u32 = SEARCHES as u32;
/// Orders of one customer that are filtered and sorted without a search.
const FEW: u32 = 448;

/// Where searches run.
pub(super) struct SearchPool {
    pool: Pool,
    permits: Arc<Semaphore>,
    threads: OnceCell<Threads>,
}

/// The right to run one search.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// What one request reads of a list: if that is a search, all of it is the same search.
#[derive(Default)]
pub struct SearchPass(Option<Permit>);

/// How a list is read.
#[derive(Clone)]
pub(super) enum ReadPath {
    /// An index has exactly its orders, or few others.
    Indexed,
    /// It is a search.
    Search(Permit),
}

/// The runtime of the searches.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        // Waiting for threads is not allowed where a store may be dropped.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl SearchPool {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, permits: Arc::new(Semaphore::new(SEARCHES)), threads: OnceCell::new() }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// The permit of the request or a new one, if there is one right now.
    pub(super) fn enter(&self, pass: &mut SearchPass) -> Result<Permit, Error> {
        let permit = match pass.0.take() {
            Some(permit) => permit,
            None => self.permits.clone().try_acquire_owned().map(Arc::new).map_err(|_| {
                metrics::counter!("orders_searches_rejected_total").increment(1);
                Error::TooManySearches
            })?,
        };
        Ok(pass.0.insert(permit).clone())
    }

    async fn spawn<T: Send + 'static>(
        &self,
        search: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>, Error> {
        let threads = self.threads.get_or_try_init(|| async {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(SEARCHES).thread_name("search").on_thread_start(yield_to_others);
            let runtime = builder.enable_all().build();
            runtime.map(|runtime| Threads(Some(runtime)))
        });
        let threads = threads.await.map_err(|error| Error::Defect(error.into()))?;
        let runtime = threads.0.as_ref().ok_or_else(|| Error::Row("the threads have ended".into()))?;
        Ok(runtime.spawn(search))
    }
}

/// Comparing texts takes all the time of a processor; others come first. On Linux the priority is the thread's.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "failed to lower the priority of searches");
    }
}

/// Ends a search when nobody waits for it any more.
struct Searching<T>(JoinHandle<T>);

impl<T> Drop for Searching<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// How a list of these orders in this sequence is read.
    pub(super) async fn way(
        &self,
        filter: &Filter,
        sort: Sort,
        pass: &mut SearchPass,
    ) -> Result<ReadPath, Error> {
        if filter.item_contains.is_some() || filter.error_class.is_some() {
            return Ok(ReadPath::Search(self.inner.lane.enter(pass)?));
        }
        if !names_buyer(filter) {
            let indexed = reduced(filter, sort) == *filter;
            return Ok(if indexed {
                ReadPath::Indexed
            } else {
                ReadPath::Search(self.inner.lane.enter(pass)?)
            });
        }
        let plain = Filter {
            customer: filter.customer.clone(),
            created_from: filter.created_from,
            created_before: filter.created_before,
            ..Filter::default()
        };
        let by_reference =
            Filter { external_reference: filter.external_reference.clone(), customer: None, ..plain.clone() };
        if !sort.is_by_total() && (*filter == plain || *filter == by_reference) {
            return Ok(ReadPath::Indexed);
        }
        // Most customers have few orders, and those can be filtered and sorted at will.
        Ok(if self.few(filter).await? {
            ReadPath::Indexed
        } else {
            ReadPath::Search(self.inner.lane.enter(pass)?)
        })
    }

    /// Whether the customer or the reference has at most [`FEW`] orders.
    async fn few(&self, filter: &Filter) -> Result<bool, Error> {
        let (column, value) = match (&filter.external_reference, &filter.customer) {
            (Some(reference), _) => ("external_reference", reference.clone()),
            (None, customer) => ("customer", customer.clone().unwrap_or_default()),
        };
        let mut sql = Statement::new("SELECT COUNT(*) FROM (SELECT id FROM orders WHERE tenant_id = ?");
        let (condition, times) = self.dialect().equals(column);
        sql.bind(DEFAULT_TENANT).push(&format!(" AND {condition} LIMIT ?) few"));
        (0..times).for_each(|_| _ = sql.bind(value.clone()));
        sql.bind(i64::from(FEW) + 1);
        let rows = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.get(0))?;
        Ok(count <= i64::from(FEW))
    }

    /// Runs a search on the connections and threads of searches, within the deadline.
    pub(super) async fn search<T: Send + 'static>(
        &self,
        permit: Permit,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        let search = async move {
            // Held until the search has ended, also when its caller is gone by then.
            let _permit = permit;
            store.try_read(&store.inner.lane.pool, work).await
        };
        let mut searching = Searching(self.inner.lane.spawn(search).await?);
        let result = match (&mut searching.0).await {
            Ok(result) => result,
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    panics::record("search", &*panic);
                }
                Err(Error::Row("a search ended without an answer".into()))
            }
        };
        self.log(&result);
        result
    }
}

/// The conditions that the index of the list serves.
pub(super) fn reduced(filter: &Filter, sort: Sort) -> Filter {
    let all = Filter { item_contains: None, error_class: None, ..filter.clone() };
    if names_buyer(filter) {
        // The customer's own orders are filtered and sorted by the database.
        return all;
    }
    if sort.is_by_total() {
        return Filter { statuses: Vec::new(), created_from: None, created_before: None, ..all };
    }
    Filter { currency: None, total_from: None, total_to: None, ..all }
}

pub(super) fn names_buyer(filter: &Filter) -> bool {
    filter.customer.is_some() || filter.external_reference.is_some()
}

/// What a search compares.
const COMPARED: &[Column] = &[
    Column::Id,
    Column::Total,
    Column::Status,
    Column::ErrorClass,
    Column::Currency,
    Column::CreatedAt,
    Column::LineItems,
];
static WITH_ITEMS: Selection = Selection::new(COMPARED);
static WITHOUT_ITEMS: Selection = Selection::new(COMPARED.split_at(COMPARED.len() - 1).0);

/// What is compared here.
pub(super) struct ResidualFilter {
    filter: Filter,
    text: Option<Needle>,
    /// What texts are compared in.
    space: String,
}

impl ResidualFilter {
    /// What is left of the filter beside what an index serves; `None` when that is nothing.
    pub(super) fn of(filter: &Filter, sort: Sort) -> Option<Self> {
        let text = filter.item_contains.as_deref().map(Needle::new);
        (reduced(filter, sort) != *filter).then(|| Self {
            filter: filter.clone(),
            text,
            space: String::new(),
        })
    }

    /// The columns that [`Self::matches`] reads, and those of a position.
    pub(super) fn columns(&self) -> &'static Selection {
        if self.text.is_some() { &WITH_ITEMS } else { &WITHOUT_ITEMS }
    }

    /// Whether an order has everything that is asked for.
    pub(super) fn matches(&mut self, row: &OrderRow<'_>) -> Result<bool, Error> {
        let filter = &self.filter;
        let total: i64 = row.get(Column::Total)?;
        if filter.total_from.is_some_and(|from| total < from) || filter.total_to.is_some_and(|to| total > to)
        {
            return Ok(false);
        }
        if !filter.statuses.is_empty() && !filter.statuses.contains(&row.status(Column::Status)?) {
            return Ok(false);
        }
        if filter.error_class.is_some()
            && row.get::<Option<&str>>(Column::ErrorClass)? != filter.error_class.as_deref()
        {
            return Ok(false);
        }
        if let Some(currency) = filter.currency
            && row.get::<&str>(Column::Currency)? != currency.code()
        {
            return Ok(false);
        }
        let created = row.time(Column::CreatedAt)?;
        if filter.created_from.is_some_and(|from| created < from)
            || filter.created_before.is_some_and(|before| created >= before)
        {
            return Ok(false);
        }
        match &self.text {
            None => Ok(true),
            Some(text) => {
                rows::any_item(row.get(Column::LineItems)?, |item| text.is_in(item, &mut self.space))
            }
        }
    }
}

/// A text that is looked for, without regard to case.
struct Needle(String);

impl Needle {
    fn new(text: &str) -> Self {
        Self(without_case(text).collect())
    }

    /// `space` is what the comparison works in, to be given again.
    fn is_in(&self, item: &str, space: &mut String) -> bool {
        space.clear();
        space.extend(without_case(item));
        space.contains(&self.0)
    }
}

/// The lower case of the upper case, as Unicode has them, so that `Σ`, `σ` and `ς` are one letter and `ẞ`,
/// `ß` and `ss` are the same. Each character for itself: what a part becomes is a part of what the whole
/// becomes.
fn without_case(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_makes_no_difference_and_every_character_is_itself() {
        let mut space = String::new();
        for (text, item, there) in [
            ("LAP", "a laptop", true),
            ("lap", "a LAPTOP", true),
            ("äpfel", "ÄPFEL", true),
            ("ΔΟΣ", "οδός οδος", true),
            ("ς", "Σ", true),
            ("STRASSE", "Straße", true),
            ("ẞ", "strasse", true),
            ("İ", "İ", true),
            ("é", "e", false),
            ("100%", "100% wool", true),
            ("1%0", "1000", false),
            ("a_c", "abc", false),
            ("\\", "a\\b", true),
            ("\"", "15\" screen", true),
            ("item", "Laptop", false),
        ] {
            assert_eq!(Needle::new(text).is_in(item, &mut space), there, "{text} in {item}");
        }
    }

    #[test]
    fn the_limits_are_documented() {
        use limits_page::{row, time};
        row(
            "concurrent searches: lists and redrives by `itemContains` or `errorClass`, and other filters without an index",
            &SEARCHES.to_string(),
        );
        row("timeout of a search", &time(super::super::Options::default().deadline * 3 / 4));
    }
}
