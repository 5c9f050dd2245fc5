//! Searches: lists that no index serves.
//!
//! A search reads orders along an index and compares them here, so that every database returns the same. It uses short
//! statements, one after the other, until the page is full, the list ends or the time is over.
//!
//! At most [`super::SEARCHES`] run at a time, on their own connections and threads, so that they take neither from other
//! requests; further ones are refused at once. A search whose caller disconnects ends with its statement.

use domain::query::{Filter, Sort};
use domain::waiting::{QueueSnapshot, WaitState};
use domain::{TenantId, Timestamp};
use telemetry::panics;
use tokio::task::JoinHandle;

use super::columns::{Column, OrderRow, Selection};
use super::connection::Connection;
use super::replica::Freshness;
use super::search_pool::{Permit, SearchPass};
use super::statement::Statement;
use super::{Error, Shard, Work, rows};

/// Maximum number of orders of one customer, or of orders that can match a string, that are filtered and sorted without a
/// search.
pub(super) const FEW: u32 = 448;

/// How a list is read.
#[derive(Clone)]
pub(super) enum ReadPath {
    /// An index contains exactly its orders, or few others.
    Indexed,
    /// A search reads it.
    Search(Permit),
}

/// Cancels a search when its caller is gone.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shard {
    /// Returns how a list with this filter and sort is read.
    pub(super) async fn read_path(
        &self,
        tenant: &TenantId,
        filter: &Filter,
        sort: Sort,
        pass: &mut SearchPass,
    ) -> Result<ReadPath, Error> {
        if reads_every_order(filter) {
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
        // Most customers have few orders, which the database can filter and sort.
        Ok(if self.has_few_orders(tenant, filter).await? {
            ReadPath::Indexed
        } else {
            ReadPath::Search(self.inner.lane.enter(pass)?)
        })
    }

    /// Returns whether the customer or the reference of a tenant has at most [`FEW`] orders.
    async fn has_few_orders(&self, tenant: &TenantId, filter: &Filter) -> Result<bool, Error> {
        let (column, value) = match (&filter.external_reference, &filter.customer) {
            (Some(reference), _) => ("external_reference", reference.clone()),
            (None, customer) => ("customer", customer.clone().unwrap_or_default()),
        };
        let mut sql = Statement::new("SELECT COUNT(*) FROM (SELECT id FROM orders WHERE tenant_id = ?");
        let (condition, times) = self.dialect().equals(column);
        sql.bind(tenant.as_str().to_owned()).push(&format!(" AND {condition} LIMIT ?) few"));
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
        freshness: Freshness,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        let search = async move {
            // Held until the search has ended, even if its caller is gone.
            let _permit = permit;
            store.try_read_with(freshness, &store.inner.lane.pool, work).await
        };
        let mut searching = AbortOnDrop(self.inner.lane.spawn(search).await?);
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

/// Returns the conditions that the index of the list serves.
pub(super) fn reduced(filter: &Filter, sort: Sort) -> Filter {
    let all = Filter {
        item_contains: None,
        error_class: None,
        worker: None,
        reason: None,
        kind: None,
        waits_for: None,
        search: None,
        customer_prefix: None,
        reference_prefix: None,
        metadata: Vec::new(),
        ..filter.clone()
    };
    if names_buyer(filter) {
        // The database filters and sorts the orders of one customer.
        return all;
    }
    if sort.is_by_total() {
        return Filter { statuses: Vec::new(), created_from: None, created_before: None, ..all };
    }
    Filter { currency: None, total_from: None, total_to: None, ..all }
}

/// Returns whether no index serves one of the conditions, also for one customer.
fn reads_every_order(filter: &Filter) -> bool {
    filter.item_contains.is_some()
        || filter.error_class.is_some()
        || filter.worker.is_some()
        || filter.reason.is_some()
        || filter.kind.is_some()
        || filter.waits_for.is_some()
        || !filter.metadata.is_empty()
        || has_text(filter)
}

/// Returns whether a filter has a condition that `Store::few_matches` looks up.
fn has_text(filter: &Filter) -> bool {
    filter.search.is_some() || filter.customer_prefix.is_some() || filter.reference_prefix.is_some()
}

pub(super) fn names_buyer(filter: &Filter) -> bool {
    filter.customer.is_some() || filter.external_reference.is_some()
}

/// What a search compares: first what most searches need, then strings and times, then metadata, then line items.
const COMPARED: &[Column] = &[
    Column::Id,
    Column::Total,
    Column::Status,
    Column::ErrorClass,
    Column::Currency,
    Column::CreatedAt,
    Column::Reason,
    Column::Worker,
    Column::Customer,
    Column::ExternalReference,
    Column::Attempt,
    Column::ProcessAfter,
    Column::NotBefore,
    Column::UpdatedAt,
    Column::Kind,
    Column::Metadata,
    Column::LineItems,
];
static PLAIN: Selection = Selection::new(COMPARED.split_at(6).0);
static WITH_STRINGS: Selection = Selection::new(COMPARED.split_at(COMPARED.len() - 2).0);
static WITH_METADATA: Selection = Selection::new(COMPARED.split_at(COMPARED.len() - 1).0);
static WITH_ITEMS: Selection = Selection::new(COMPARED);

/// The conditions that this process compares.
#[derive(Clone)]
pub(super) struct ResidualFilter {
    filter: Filter,
    text: Option<Needle>,
    with_strings: bool,
    /// The state of the queue, on which the waits depend.
    queue: QueueSnapshot,
    /// A buffer for comparisons.
    space: String,
}

impl ResidualFilter {
    /// Returns the conditions that no index serves, or `None` when there are none.
    pub(super) fn of(filter: &Filter, sort: Sort, queue: QueueSnapshot) -> Option<Self> {
        let with_strings = filter.reason.is_some()
            || filter.worker.is_some()
            || filter.kind.is_some()
            || filter.waits_for.is_some()
            || has_text(filter);
        (reduced(filter, sort) != *filter).then(|| Self { with_strings, ..Self::with_strings(filter, queue) })
    }

    /// Returns all conditions, for a search that also reads the reason, the customer and the time of the last change.
    pub(super) fn with_strings(filter: &Filter, queue: QueueSnapshot) -> Self {
        let text = filter.item_contains.as_deref().map(Needle::new);
        Self { filter: filter.clone(), text, with_strings: true, queue, space: String::new() }
    }

    /// Returns the columns that [`Self::matches`] and a position read.
    pub(super) fn columns(&self) -> &'static Selection {
        match (&self.text, self.with_strings) {
            (Some(_), _) => &WITH_ITEMS,
            (None, _) if !self.filter.metadata.is_empty() => &WITH_METADATA,
            (None, true) => &WITH_STRINGS,
            (None, false) => &PLAIN,
        }
    }

    /// Returns whether an order matches all conditions.
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
        if let Some(name) = filter.worker.as_deref()
            && row.get::<Option<&str>>(Column::Worker)?.map(str::trim_ascii_end) != Some(name)
        {
            return Ok(false);
        }
        if let Some(kind) = &filter.kind
            && row.get::<&str>(Column::Kind)? != kind.as_str()
        {
            return Ok(false);
        }
        if let Some(pattern) = &filter.reason
            && !pattern.matches(row.get(Column::Reason)?)
        {
            return Ok(false);
        }
        if !self.strings_match(row)? || !self.wait_matches(row)? || !self.metadata_matches(row)? {
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

impl ResidualFilter {
    /// Returns whether the prefixes and the text of the search match.
    fn strings_match(&self, row: &OrderRow<'_>) -> Result<bool, Error> {
        let Filter { customer_prefix, reference_prefix, search, .. } = &self.filter;
        for (prefix, column) in
            [(customer_prefix, Column::Customer), (reference_prefix, Column::ExternalReference)]
        {
            if let Some(prefix) = prefix
                && !row.get::<Option<&str>>(column)?.is_some_and(|string| prefix.matches(string))
            {
                return Ok(false);
            }
        }
        let Some(search) = search else { return Ok(true) };
        Ok(search.matches(row.id()?, row.get(Column::ExternalReference)?, row.get(Column::Customer)?))
    }

    /// Returns whether the metadata has every value of the filter.
    fn metadata_matches(&self, row: &OrderRow<'_>) -> Result<bool, Error> {
        if self.filter.metadata.is_empty() {
            return Ok(true);
        }
        let Some(json) = row.get::<Option<&str>>(Column::Metadata)? else { return Ok(false) };
        let metadata = rows::metadata_from_json(json)?;
        Ok(self.filter.metadata.iter().all(|(key, value)| metadata.get(key) == Some(value)))
    }

    /// Returns whether the order waits for what the filter states.
    fn wait_matches(&self, row: &OrderRow<'_>) -> Result<bool, Error> {
        let Some(waits_for) = self.filter.waits_for else { return Ok(true) };
        let state = WaitState {
            status: row.status(Column::Status)?,
            attempt: row.number(Column::Attempt)?,
            is_retried: row.get::<Option<&str>>(Column::ErrorClass)?.is_some(),
            process_after: row.get::<Option<i64>>(Column::ProcessAfter)?.map(Timestamp::from_micros),
            not_before: row.time(Column::NotBefore)?,
            updated_at: row.time(Column::UpdatedAt)?,
        };
        Ok(state.waiting(&self.queue).is_some_and(|waiting| waiting.waits_for == waits_for))
    }
}

/// A string that is searched for, without regard to case.
#[derive(Clone)]
struct Needle(String);

impl Needle {
    fn new(text: &str) -> Self {
        Self(without_case(text).collect())
    }

    /// `space` is a buffer that the next comparison can use again.
    fn is_in(&self, item: &str, space: &mut String) -> bool {
        space.clear();
        space.extend(without_case(item));
        space.contains(&self.0)
    }
}

/// Maps to the lower case of the upper case, as Unicode defines them: `Σ`, `σ` and `ς` are one letter, and `ẞ`, `ß` and
/// `ss` are the same.
///
/// Each character is mapped separately, so a part of a string maps to a part of the mapped string.
fn without_case(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_ignores_case_and_has_no_wildcards() {
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
            "concurrent searches: lists and redrives by `itemContains`, `errorClass`, `reason` or `waitsFor`, groups of dead letters, and other filters without an index",
            &crate::SEARCHES.to_string(),
        );
        row("timeout of a search", &time(super::super::Options::default().deadline * 3 / 4));
    }
}
