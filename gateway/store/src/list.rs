//! Lists of orders.
//!
//! What an index can answer is one statement. Everything else is a search (see `search`).

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::query::{Filter, Position, Sort};
use domain::{DEFAULT_TENANT, Order, OrderId};
use futures_util::TryStreamExt;
use tokio::time::Instant;

use super::columns::{Column, OrderRow, Selection};
use super::connection::Connection;
use super::isolate::{Unreadable, select_orders};
use super::read::FoundOrders;
use super::row::Row;
use super::rows::Segment;
use super::scan::{Listed, Scan, ScanStart, Scanned};
use super::search::{ReadPath, ResidualFilter, SearchPass, names_buyer, reduced};
use super::statement::Statement;
use super::{Dialect, Error, Store, Work, columns, read, rows};

/// Orders that a search reads in its first statement; in each further one twice as many as before.
const SEARCHED_FIRST: u32 = 64;
/// Most orders that a search reads in one statement.
const SEARCHED_AT_ONCE: u32 = 2_048;
/// Most orders that one statement reads whole, so that a page of large orders ends without reading many more.
const READ_AT_ONCE: u32 = 128;

/// What the place of an order in a list is made of.
static POSITION: Selection = Selection::new(&[Column::Id, Column::Total]);

impl Store {
    /// Up to `limit` orders that match, with ids below `after`, newest first, without those that cannot be read.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let scan = newest_first(filter, after, limit);
        let scanned = self.scan(scan, usize::MAX, &mut SearchPass::default()).await?;
        let orders = scanned.items.into_iter().filter_map(|item| match item {
            Listed::Order(order) => Some(*order),
            Listed::Unreadable { .. } => None,
        });
        Ok(orders.collect())
    }

    /// Their ids.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn list_ids(
        &self,
        filter: &Filter,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderId>, Error> {
        self.scan_ids(newest_first(filter, after, limit), &mut SearchPass::default()).await
    }

    /// Orders in the order of a list, from a place on, until they take about `bytes` bytes. At least one, if there
    /// is any.
    ///
    /// # Errors
    /// [`Error::TooMuchToRead`] when the database answers and this takes too long all the same, and
    /// [`Error::TooManySearches`].
    pub async fn scan(&self, scan: Scan, bytes: usize, pass: &mut SearchPass) -> Result<Scanned, Error> {
        self.scanning(scan, pass, move |reader, connection| Box::pin(reader.orders(bytes, connection))).await
    }

    /// The ids of these orders.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn scan_ids(&self, scan: Scan, pass: &mut SearchPass) -> Result<Vec<OrderId>, Error> {
        self.scanning(scan, pass, |reader, connection| Box::pin(reader.ids(connection))).await
    }

    fn reader(&self, scan: &Scan) -> Reader {
        let rest = ResidualFilter::of(&scan.filter, scan.sort);
        let scan = Scan { filter: reduced(&scan.filter, scan.sort), ..scan.clone() };
        Reader { dialect: self.dialect(), scan, rest, until: Instant::now() + self.search_time() }
    }

    async fn scanning<T: Send + 'static>(
        &self,
        scan: Scan,
        pass: &mut SearchPass,
        work: impl for<'c> FnOnce(Reader, &'c mut Connection) -> Work<'c, T> + Send + 'static,
    ) -> Result<T, Error> {
        let answers = || self.inner.answers.load(Ordering::Relaxed);
        let before = answers();
        let way = self.way(&scan.filter, scan.sort, pass).await?;
        let reader = self.reader(&scan);
        let outcome = match way {
            ReadPath::Indexed => self.read(move |connection| work(reader, connection)).await,
            ReadPath::Search(permit) => self.search(permit, move |connection| work(reader, connection)).await,
        };
        match outcome {
            // Others were answered meanwhile.
            Err(Error::TimedOut) if answers() != before => Err(Error::TooMuchToRead),
            outcome => outcome,
        }
    }

    /// How long a search may take: it gives up early enough to say why.
    fn search_time(&self) -> Duration {
        self.inner.deadline * 3 / 4
    }
}

fn newest_first(filter: &Filter, after: Option<OrderId>, limit: u32) -> Scan {
    let behind = |id| ScanStart::Behind(Position { total_minor: 0, id });
    let start = after.map_or(ScanStart::Begin, behind);
    Scan { filter: filter.clone(), sort: Sort::default(), start, end: None, limit }
}

/// Reads one stretch of a list.
struct Reader {
    dialect: Dialect,
    /// With a filter that an index serves.
    scan: Scan,
    /// The other conditions.
    rest: Option<ResidualFilter>,
    until: Instant,
}

impl Reader {
    async fn orders(mut self, mut bytes: usize, connection: &mut Connection) -> Result<Scanned, Error> {
        if self.rest.is_some() {
            return self.found(bytes, connection).await;
        }
        let mut scanned = Scanned::default();
        loop {
            let left = self.scan.limit.saturating_sub(u32::try_from(scanned.items.len()).unwrap_or(u32::MAX));
            let piece = Scan { limit: left.min(READ_AT_ONCE), ..self.scan.clone() };
            let (items, rows) = self.listed(&piece, connection).await?;
            for item in items {
                if !scanned.add(item, &mut bytes) {
                    return Ok(scanned);
                }
            }
            match scanned.items.last() {
                Some(last) if rows == READ_AT_ONCE as usize && left > READ_AT_ONCE => {
                    self.scan.start = ScanStart::Behind(last.position());
                }
                _ => return Ok(scanned),
            }
        }
    }

    /// The orders of one statement, and how many rows it has found.
    async fn listed(&self, piece: &Scan, connection: &mut Connection) -> Result<(Vec<Listed>, usize), Error> {
        match page(self.dialect, piece, &columns::ORDER).fetch(connection).await {
            Ok(rows) => Ok((rows.iter().filter_map(listed).collect(), rows.len())),
            // One of the rows cannot even be received.
            Err(error) if error.cause().is_some() => {
                let rows = page(self.dialect, piece, &POSITION).fetch(connection).await?;
                let places: Vec<Position> =
                    rows.iter().filter_map(|row| position(&POSITION.of(row))).collect();
                Ok((by_ids(&places, connection).await?, rows.len()))
            }
            Err(error) => Err(error),
        }
    }

    async fn ids(mut self, connection: &mut Connection) -> Result<Vec<OrderId>, Error> {
        if self.rest.is_some() {
            return Ok(self.search(connection).await?.into_iter().map(|place| place.id).collect());
        }
        let sql = page(self.dialect, &self.scan, &columns::ID);
        Ok(sql.fetch(connection).await?.iter().filter_map(|row| rows::id(row, 0).ok()).collect())
    }

    /// The orders that a search finds.
    async fn found(&mut self, mut bytes: usize, connection: &mut Connection) -> Result<Scanned, Error> {
        let found = self.search(connection).await?;
        let mut scanned = Scanned::default();
        for places in found.chunks(READ_AT_ONCE as usize) {
            for item in by_ids(places, connection).await? {
                if !scanned.add(item, &mut bytes) {
                    return Ok(scanned);
                }
            }
        }
        Ok(scanned)
    }

    async fn search(&mut self, connection: &mut Connection) -> Result<Vec<Position>, Error> {
        let limit = self.scan.limit as usize;
        let mut found = Vec::new();
        let mut size = SEARCHED_FIRST;
        while self.piece(connection, size, &mut found).await? && found.len() < limit {
            if Instant::now() >= self.until {
                return Err(Error::TooMuchToRead);
            }
            size = (size * 2).min(SEARCHED_AT_ONCE);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Looks through the next `size` orders. Says whether there may be more behind them.
    async fn piece(
        &mut self,
        connection: &mut Connection,
        size: u32,
        found: &mut Vec<Position>,
    ) -> Result<bool, Error> {
        let scan = Scan { limit: size, ..self.scan.clone() };
        let Some(rest) = &mut self.rest else { return Ok(false) };
        let sql = page(self.dialect, &scan, rest.columns());
        let mut seen = 0;
        let mut rows = sql.stream(connection);
        loop {
            let row = match rows.try_next().await {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(seen == size),
                Err(error) if error.cause().is_some() => break,
                Err(error) => return Err(error),
            };
            seen += 1;
            let row = rest.columns().of(&row);
            let Some(place) = position(&row) else { continue };
            self.scan.start = ScanStart::Behind(place);
            // An order that cannot be compared does not match.
            if rest.matches(&row).unwrap_or(false) {
                found.push(place);
            }
        }
        drop(rows);
        self.match_individually(connection, size - seen, found).await
    }

    /// As [`Self::piece`], where one of the rows cannot even be received.
    async fn match_individually(
        &mut self,
        connection: &mut Connection,
        size: u32,
        found: &mut Vec<Position>,
    ) -> Result<bool, Error> {
        let scan = Scan { limit: size, ..self.scan.clone() };
        let Some(rest) = &mut self.rest else { return Ok(false) };
        let rows = page(self.dialect, &scan, &POSITION).fetch(connection).await?;
        for place in rows.iter().filter_map(|row| position(&POSITION.of(row))) {
            self.scan.start = ScanStart::Behind(place);
            let row = select_orders(connection, rest.columns(), &[place.id], "").await?;
            if row.iter().next().is_some_and(|row| rest.matches(&row).unwrap_or(false)) {
                found.push(place);
            }
        }
        Ok(rows.len() as u32 == size)
    }
}

/// The place of an order; a total that cannot be read counts as none. `None` for a row without an id, which nothing can
/// name.
fn position(row: &OrderRow<'_>) -> Option<Position> {
    Some(Position { id: row.id().ok()?, total_minor: row.get(Column::Total).unwrap_or_default() })
}

/// An entry of a list, from the columns of [`columns::ORDER`].
fn listed(row: &Row) -> Option<Listed> {
    let row = columns::ORDER.of(row);
    let (_, order) = columns::whole(&row).ok()?;
    Some(match order {
        Ok(order) => Listed::Order(Box::new(order)),
        Err(unreadable) => Listed::Unreadable { position: position(&row)?, unreadable },
    })
}

/// The orders at these places, in their order, without those that have been removed since.
async fn by_ids(places: &[Position], connection: &mut Connection) -> Result<Vec<Listed>, Error> {
    let ids: Vec<OrderId> = places.iter().map(|place| place.id).collect();
    let FoundOrders { orders, unreadable } = read::find(connection, &ids).await?;
    let mut orders: HashMap<OrderId, Order> = orders.into_iter().map(|order| (order.id, order)).collect();
    let mut unreadable: HashMap<OrderId, Unreadable> =
        unreadable.into_iter().map(|one| (one.order_id, one)).collect();
    let item = |place: &Position| match orders.remove(&place.id) {
        Some(order) => Some(Listed::Order(Box::new(order))),
        None => {
            let unreadable = unreadable.remove(&place.id)?;
            Some(Listed::Unreadable { position: *place, unreadable })
        }
    };
    Ok(places.iter().filter_map(item).collect())
}

/// The page is found by keys alone, which one of the indexes holds, and only then are its orders
/// read: a filter that skips many orders does not read them all.
fn page(dialect: Dialect, scan: &Scan, selection: &Selection) -> Statement<'static> {
    let Scan { filter, sort, limit, .. } = scan;
    let mut sql = Statement::new("SELECT ");
    selection.push(&mut sql);
    sql.push(" FROM orders JOIN (");
    let parts = by_stage(filter, *sort);
    if parts.is_empty() {
        keys(&mut sql, dialect, scan, None);
    } else {
        // Each part is in the order of the list, so the page is among their first.
        sql.push("SELECT id FROM (");
        for (n, part) in parts.into_iter().enumerate() {
            sql.push(if n == 0 { "SELECT id FROM (" } else { " UNION ALL SELECT id FROM (" });
            keys(&mut sql, dialect, scan, Some(part));
            sql.push(&format!(") part_{n}"));
        }
        sql.push(") parts").push(&order_by(*sort, "")).push(" LIMIT ?").bind(i64::from(*limit));
    }
    sql.push(") page ON page.id = orders.id").push(&order_by(*sort, "orders."));
    sql
}

/// The ids of a page, or of one part of it.
fn keys(sql: &mut Statement<'_>, dialect: Dialect, scan: &Scan, part: Option<Segment>) {
    let Scan { filter, sort, start, end, limit } = scan;
    sql.push("SELECT id FROM orders");
    match part {
        Some(_) => sql.push(dialect.by_stage()),
        None => sql.push(&index(filter, *sort).map_or_else(String::new, |index| dialect.force_index(index))),
    };
    sql.push(" WHERE ");
    match part {
        Some(part) => part.condition(sql),
        None => of_statuses(sql, filter),
    }
    matching(sql, dialect, filter);
    let (behind, in_front) = if sort.is_descending() { ("<", ">") } else { (">", "<") };
    match start {
        ScanStart::Begin => {}
        ScanStart::At(position) => beyond(sql, dialect, *sort, &format!("{behind}="), position),
        ScanStart::Behind(position) => beyond(sql, dialect, *sort, behind, position),
    }
    if let Some(position) = end {
        beyond(sql, dialect, *sort, in_front, position);
    }
    sql.push(&order_by(*sort, "")).push(" LIMIT ?").bind(i64::from(*limit));
}

/// The parts of a list of certain statuses that no other index serves.
fn by_stage(filter: &Filter, sort: Sort) -> Vec<Segment> {
    if sort.is_by_total() || names_buyer(filter) {
        return Vec::new();
    }
    Segment::of(&filter.statuses)
}

/// The index that has the list in its order, where there is exactly one. MySQL would sometimes sort
/// every order of a shorter index instead, and MariaDB read this one from its beginning and not from the
/// place where the page begins. Where several could help, the database decides.
fn index(filter: &Filter, sort: Sort) -> Option<&'static str> {
    match (filter.statuses.len(), &filter.customer, &filter.external_reference, sort.is_by_total()) {
        (0, None, None, true) => Some("orders_by_total"),
        (0, None, None, false) if filter.currency.is_none() => Some("PRIMARY"),
        (0, Some(_), None, false) => Some("orders_by_customer"),
        (0, None, Some(_), false) => Some("orders_by_reference"),
        _ => None,
    }
}

/// SQLite keeps no statistics and would use any index that begins with a column that is compared. A plus
/// sign keeps a column out of that; the other databases do not see it.
fn of_statuses(sql: &mut Statement<'_>, filter: &Filter) {
    // Without one of these the list is the primary key's.
    let indexed = names_buyer(filter) || !filter.statuses.is_empty() || filter.currency.is_some();
    sql.push(if indexed { "tenant_id = ?" } else { "+tenant_id = ?" }).bind(DEFAULT_TENANT);
    if !filter.statuses.is_empty() {
        sql.push(" AND status").push_in(filter.statuses.iter().map(|status| status.as_str().to_owned()));
    }
}

/// The other conditions.
fn matching(sql: &mut Statement<'_>, dialect: Dialect, filter: &Filter) {
    for (column, value) in [
        ("customer", &filter.customer),
        ("external_reference", &filter.external_reference),
        ("error_class", &filter.error_class),
    ] {
        if let Some(value) = value {
            let (condition, times) = dialect.equals(column);
            sql.push(" AND ").push(&condition);
            (0..times).for_each(|_| _ = sql.bind(value.clone()));
        }
    }
    if let Some(currency) = filter.currency {
        // Few orders are of one customer, most of them in one currency.
        let plus = if names_buyer(filter) { "+" } else { "" };
        sql.push(&format!(" AND {plus}currency = ?")).bind(currency.code().to_owned());
    }
    for (sign, total) in [(">=", filter.total_from), ("<=", filter.total_to)] {
        if let Some(total) = total {
            sql.push(&format!(" AND total_minor {sign} ?")).bind(total);
        }
    }
    // Ids begin with the millisecond of the creation, and unlike the times they have an index.
    if let Some(from) = filter.created_from {
        sql.push(" AND created_at >= ? AND id >= ?").bind(from.as_micros());
        sql.bind(OrderId::first_at(from).as_bytes().to_vec());
    }
    if let Some(before) = filter.created_before {
        sql.push(" AND created_at < ? AND id < ?").bind(before.as_micros());
        sql.bind(OrderId::first_at(before + Duration::from_millis(1)).as_bytes().to_vec());
    }
}

/// `sign` is one of `<`, `<=`, `>`, `>=`: on which side of the place, and whether with it.
fn beyond(sql: &mut Statement<'_>, dialect: Dialect, sort: Sort, sign: &str, place: &Position) {
    let id = place.id.as_bytes().to_vec();
    if !sort.is_by_total() {
        sql.push(&format!(" AND id {sign} ?")).bind(id);
        return;
    }
    let (condition, times) = dialect.beyond(sign);
    sql.push(" AND ").push(&condition);
    for _ in 0..times {
        sql.bind(place.total_minor);
    }
    sql.bind(id);
}

fn order_by(sort: Sort, table: &str) -> String {
    let way = if sort.is_descending() { "DESC" } else { "ASC" };
    if sort.is_by_total() {
        format!(" ORDER BY {table}total_minor {way}, {table}id {way}")
    } else {
        format!(" ORDER BY {table}id {way}")
    }
}

#[cfg(test)]
mod tests {
    use domain::{Currency, Status, Timestamp};

    use super::super::Options;
    use super::super::tests::{orders, sqlite};

    use super::*;

    /// SQLite's plans do not depend on what is in the tables.
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
        let dollars = Filter { currency, ..Filter::default() };
        let range = Filter { total_from: Some(1), total_to: Some(9), ..dollars.clone() };
        let class = Filter { error_class: Some("x".into()), ..Filter::default() };
        let (by_time, by_total) = (
            [Sort::CreatedDescending, Sort::CreatedAscending],
            [Sort::TotalDescending, Sort::TotalAscending],
        );
        for (filter, sorts, range) in [
            (Filter::default(), by_time, ""),
            (class, by_time, ""),
            (created, by_time, "PRIMARY KEY"),
            (failed, by_time, "orders_by_stage (tenant_id=? AND stage=?"),
            (open, by_time, "orders_by_stage (tenant_id=? AND stage=?"),
            (ann, by_time, "orders_by_customer (tenant_id=? AND customer=?"),
            (dollars, by_total, "orders_by_total (tenant_id=? AND currency=?"),
            (range, by_total, "orders_by_total (tenant_id=? AND currency=? AND "),
        ] {
            for sort in sorts {
                for start in [ScanStart::Begin, ScanStart::Behind(at), ScanStart::At(at)] {
                    let scan = Scan { filter: filter.clone(), sort, start, end: None, limit: 20 };
                    let sql = page(Dialect::Sqlite, &scan, &columns::ID).explained();
                    let plan = store.read(move |connection| Box::pin(sql.fetch(connection))).await.unwrap();
                    let steps: Vec<String> = plan.iter().map(|row| row.get(3).unwrap()).collect();
                    // The keys of the page are found first; sorting twenty orders afterwards is cheap.
                    let at = steps.iter().position(|step| step.contains("SCAN page")).unwrap();
                    let keys = steps[..at].join("; ");
                    // Nor are the pages of the parts large that a list of several statuses consists of.
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
            // All that there are is found in the first statement.
            ("x", Instant::now(), Some(65)),
            ("y", Instant::now(), None),
            ("y", Instant::now() + Duration::from_secs(60), Some(0)),
        ] {
            let filter = Filter { item_contains: Some(text.into()), ..Filter::default() };
            let sort = Sort::default();
            let rest = ResidualFilter::of(&filter, sort);
            let scan =
                Scan { filter: reduced(&filter, sort), sort, start: ScanStart::Begin, end: None, limit: 64 };
            let reader = Reader { dialect: Dialect::Sqlite, scan, rest, until };
            let found = store.read(move |connection| Box::pin(reader.ids(connection))).await;
            match answer {
                Some(count) => assert_eq!(found.unwrap().len(), count.min(64)),
                None => assert!(matches!(found, Err(Error::TooMuchToRead)), "{found:?}"),
            }
        }
    }
}
