//! The statements of lists.

use std::time::Duration;

use domain::query::{Filter, Position, Sort};
use domain::{OrderId, Status, TenantId};

use crate::Dialect;
use crate::columns::Selection;
use crate::rows::{self, Segment};
use crate::scan::{Scan, ScanStart};
use crate::search::names_buyer;
use crate::statement::Statement;

/// Builds the SELECT of a page of a tenant's orders, or of those `among` some orders.
///
/// An index finds the page by its keys, and only then are its orders read: a filter that skips many orders does not
/// read them all.
pub(super) fn page(
    dialect: Dialect,
    tenant: &TenantId,
    scan: &Scan,
    selection: &Selection,
    among: Option<&[OrderId]>,
) -> Statement<'static> {
    let Scan { filter, sort, limit, .. } = scan;
    let mut sql = Statement::new("SELECT ");
    selection.push(&mut sql);
    sql.push(" FROM orders JOIN (");
    let parts = if among.is_some() { Vec::new() } else { by_stage(tenant, filter, *sort) };
    if parts.is_empty() {
        keys(&mut sql, dialect, tenant, scan, among.map_or(Source::Index, Source::Ids));
    } else {
        // Each segment is in the sequence of the list, so the page is among their first orders.
        sql.push("SELECT id FROM (");
        for (n, part) in parts.into_iter().enumerate() {
            sql.push(if n == 0 { "SELECT id FROM (" } else { " UNION ALL SELECT id FROM (" });
            keys(&mut sql, dialect, tenant, scan, Source::Segment(part));
            sql.push(&format!(") part_{n}"));
        }
        sql.push(") parts").push(&order_by(*sort, "")).push(" LIMIT ?").bind(i64::from(*limit));
    }
    sql.push(") page ON page.id = orders.id").push(&order_by(*sort, "orders."));
    sql
}

/// What the ids of a page are read from.
enum Source<'a> {
    /// The index that serves the filter.
    Index,
    /// A segment of `orders_by_stage`.
    Segment(Segment),
    /// Orders that were looked up.
    Ids(&'a [OrderId]),
}

/// Adds the SELECT of the ids of a page, or of one segment of it.
fn keys(sql: &mut Statement<'_>, dialect: Dialect, tenant: &TenantId, scan: &Scan, source: Source<'_>) {
    let Scan { filter, sort, start, end, limit } = scan;
    sql.push("SELECT id FROM orders");
    match source {
        Source::Segment(part) => {
            sql.push(dialect.by_stage()).push(" WHERE ");
            part.condition(sql, Some(tenant));
        }
        Source::Index => {
            let forced = index(filter, *sort).map_or_else(String::new, |index| dialect.force_index(index));
            sql.push(&forced).push(" WHERE ");
            of_statuses(sql, tenant, filter);
        }
        Source::Ids(ids) => {
            sql.push(&dialect.force_index("PRIMARY")).push(" WHERE ");
            match ids {
                [] => _ = sql.push("1 = 0 AND "),
                ids => _ = sql.push("id").push_in_padded(ids.iter().copied()).push(" AND "),
            }
            of_statuses(sql, tenant, filter);
        }
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

/// Returns the segments of a list of certain statuses that no other index serves.
///
/// The primary key contains the orders of all tenants. Only the default tenant, which is alone in most installations,
/// reads it for a list of all statuses: a small tenant beside a large one would read the orders of the large one.
fn by_stage(tenant: &TenantId, filter: &Filter, sort: Sort) -> Vec<Segment> {
    if sort.is_by_total() || names_buyer(filter) {
        return Vec::new();
    }
    if filter.statuses.is_empty() && !tenant.is_default() {
        return Segment::of(&Status::ALL);
    }
    Segment::of(&filter.statuses)
}

/// Returns the index that contains the list in its sequence, where exactly one does.
///
/// MySQL would sometimes sort every order of a shorter index instead, and MariaDB would read this index from its
/// beginning instead of from the position of the page. Where several indexes can help, the database decides.
fn index(filter: &Filter, sort: Sort) -> Option<&'static str> {
    match (filter.statuses.len(), &filter.customer, &filter.external_reference, sort.is_by_total()) {
        (0, None, None, true) => Some("orders_by_total"),
        (0, None, None, false) if filter.currency.is_none() => Some("PRIMARY"),
        (0, Some(_), None, false) => Some("orders_by_customer"),
        (0, None, Some(_), false) => Some("orders_by_reference"),
        _ => None,
    }
}

/// Adds the conditions of tenant and status.
///
/// SQLite keeps no statistics and would use any index that begins with a compared column. A plus sign excludes a column
/// from that; the other databases ignore it.
fn of_statuses(sql: &mut Statement<'_>, tenant: &TenantId, filter: &Filter) {
    // Without one of these the primary key serves the list.
    let indexed = names_buyer(filter) || !filter.statuses.is_empty() || filter.currency.is_some();
    sql.push(if indexed { "tenant_id = ?" } else { "+tenant_id = ?" }).bind(tenant.as_str().to_owned());
    if !filter.statuses.is_empty() {
        sql.push(" AND status").push_in(filter.statuses.iter().map(|status| status.as_str().to_owned()));
    }
}

/// The other conditions.
fn matching(sql: &mut Statement<'_>, dialect: Dialect, filter: &Filter) {
    let worker = filter.worker.as_deref().map(|name| rows::padded_worker(Some(name)));
    for (column, value) in [
        ("customer", &filter.customer),
        ("external_reference", &filter.external_reference),
        ("error_class", &filter.error_class),
        ("worker", &worker),
    ] {
        if let Some(value) = value {
            let (condition, times) = dialect.equals(column);
            sql.push(" AND ").push(&condition);
            (0..times).for_each(|_| _ = sql.bind(value.clone()));
        }
    }
    if let Some(currency) = filter.currency {
        // One customer has few orders, most of them in one currency.
        let plus = if names_buyer(filter) { "+" } else { "" };
        sql.push(&format!(" AND {plus}currency = ?")).bind(currency.code().to_owned());
    }
    for (sign, total) in [(">=", filter.total_from), ("<=", filter.total_to)] {
        if let Some(total) = total {
            sql.push(&format!(" AND total_minor {sign} ?")).bind(total);
        }
    }
    // Ids begin with the millisecond of the creation and, unlike the times, have an index.
    if let Some(from) = filter.created_from {
        sql.push(" AND created_at >= ? AND id >= ?").bind(from.as_micros());
        sql.bind(OrderId::first_at(from).as_bytes().to_vec());
    }
    if let Some(before) = filter.created_before {
        sql.push(" AND created_at < ? AND id < ?").bind(before.as_micros());
        sql.bind(OrderId::first_at(before + Duration::from_millis(1)).as_bytes().to_vec());
    }
}

/// Adds the condition of a position. `sign` is one of `<`, `<=`, `>`, `>=`.
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
