//! Finds the few orders that a prefix or the text of a search can match, in the indexes of customers, references and ids.
//!
//! Most strings that a person enters match few orders. Their ids are then the condition of the list, and nothing else is read.
//! A string that matches more orders is common, so a search along the list finds its first page early.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use domain::query::Filter;
use domain::{OrderCode, OrderId, Prefix, SearchText, Status, StringRange, TenantId};

use crate::rows::{self, Segment};
use crate::search::FEW;
use crate::statement::Statement;
use crate::{Dialect, Error, Shard};

/// Maximum number of entries of an index that are read for one text.
const MAX_ENTRIES: u32 = 4_096;

/// The index of a string of orders.
#[derive(Clone, Copy)]
struct StringIndex {
    column: &'static str,
    name: &'static str,
}

const CUSTOMER: StringIndex = StringIndex { column: "customer", name: "orders_by_customer" };
const REFERENCE: StringIndex = StringIndex { column: "external_reference", name: "orders_by_reference" };

impl Shard {
    /// Returns the ids of all orders that can match the strings of the filter, if there are at most a few.
    ///
    /// `None` also if the filter has no such text.
    pub(super) async fn few_matches(
        &self,
        tenant: &TenantId,
        filter: &Filter,
    ) -> Result<Option<Vec<OrderId>>, Error> {
        for (prefix, index) in [(&filter.reference_prefix, REFERENCE), (&filter.customer_prefix, CUSTOMER)] {
            let Some(prefix) = prefix else { continue };
            let mut found = BTreeSet::new();
            if self.look_up(tenant, prefix, index, &mut found).await? {
                return Ok(Some(found.into_iter().collect()));
            }
        }
        let Some(text) = &filter.search else { return Ok(None) };
        let mut found = BTreeSet::new();
        self.look_up_code(tenant, text, &mut found).await?;
        let few = self.look_up_ids(tenant, text, &mut found).await?
            && self.look_up(tenant, text.prefix(), REFERENCE, &mut found).await?
            && self.look_up(tenant, text.prefix(), CUSTOMER, &mut found).await?;
        Ok(few.then(|| found.into_iter().collect()))
    }

    /// Adds the orders whose string begins with a prefix. Returns false when there are more than a few.
    async fn look_up(
        &self,
        tenant: &TenantId,
        prefix: &Prefix,
        index: StringIndex,
        found: &mut BTreeSet<OrderId>,
    ) -> Result<bool, Error> {
        let mut left = MAX_ENTRIES;
        for range in prefix.ranges() {
            let sql = entries(self.dialect(), tenant, index, range, left);
            let rows = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
            for row in &rows {
                // An entry that cannot be read matches nothing.
                if row.get(1).is_ok_and(|string| prefix.matches(string)) {
                    found.extend(rows::id(row, 0));
                }
            }
            left -= u32::try_from(rows.len()).unwrap_or(left).min(left);
            if left == 0 || found.len() > FEW as usize {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds the orders whose id begins with the text. Returns false when there are more than a few.
    async fn look_up_ids(
        &self,
        tenant: &TenantId,
        text: &SearchText,
        found: &mut BTreeSet<OrderId>,
    ) -> Result<bool, Error> {
        let Some(ids) = text.ids() else { return Ok(true) };
        if ids.start() == ids.end() {
            found.insert(*ids.start());
            return Ok(true);
        }
        for segment in Segment::of(&Status::ALL) {
            let sql = ids_of(self.dialect(), tenant, segment, ids);
            let rows = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
            found.extend(rows.iter().filter_map(|row| rows::id(row, 0).ok()));
            if found.len() > FEW as usize {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Shard {
    /// Adds the orders that have the text as their code.
    async fn look_up_code(
        &self,
        tenant: &TenantId,
        text: &SearchText,
        found: &mut BTreeSet<OrderId>,
    ) -> Result<(), Error> {
        let Some(code) = text.code() else { return Ok(()) };
        let sql = Statement::new("SELECT MIN(id) FROM orders");
        let oldest = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        let Some(oldest) = oldest.first().and_then(|row| rows::id(row, 0).ok()) else { return Ok(()) };
        for ids in code.ranges(oldest.time(), self.now()) {
            for segment in Segment::of(&Status::ALL) {
                let sql = ids_with_code(self.dialect(), tenant, segment, code, &ids);
                let rows = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
                let ids = rows.iter().filter_map(|row| rows::id(row, 0).ok());
                found.extend(ids.filter(|id| OrderCode::of(*id) == code));
            }
        }
        Ok(())
    }
}

/// Selects the ids and the strings of a range of an index.
fn entries(
    dialect: Dialect,
    tenant: &TenantId,
    StringIndex { column, name }: StringIndex,
    range: StringRange,
    limit: u32,
) -> Statement<'static> {
    let mut sql = Statement::new(format!("SELECT id, {column} FROM orders"));
    sql.push(&dialect.force_index(name)).push(" WHERE tenant_id = ?").bind(tenant.as_str().to_owned());
    sql.push(&format!(" AND {column} >= ?")).bind(range.from);
    if let Some(below) = range.below {
        sql.push(&format!(" AND {column} < ?")).bind(below);
    }
    sql.push(" LIMIT ?").bind(i64::from(limit));
    sql
}

/// Selects a range of ids in one segment: the primary key contains the orders of all tenants.
fn ids_of(
    dialect: Dialect,
    tenant: &TenantId,
    segment: Segment,
    ids: &RangeInclusive<OrderId>,
) -> Statement<'static> {
    let mut sql = Statement::new("SELECT id FROM orders");
    sql.push(dialect.by_stage()).push(" WHERE ");
    segment.condition(&mut sql, Some(tenant));
    sql.push(" AND id >= ?").bind(*ids.start()).push(" AND id <= ?").bind(*ids.end());
    sql.push(" LIMIT ?").bind(i64::from(FEW) + 1);
    sql
}

/// Selects those of a range of ids in one segment that end like the ids with a code.
fn ids_with_code(
    dialect: Dialect,
    tenant: &TenantId,
    segment: Segment,
    code: OrderCode,
    ids: &RangeInclusive<OrderId>,
) -> Statement<'static> {
    let mut sql = Statement::new("SELECT id FROM orders");
    sql.push(dialect.by_stage()).push(" WHERE ");
    segment.condition(&mut sql, Some(tenant));
    sql.push(" AND id >= ?").bind(*ids.start()).push(" AND id <= ?").bind(*ids.end());
    sql.push(" AND SUBSTR(id, 14) = ? LIMIT ?").bind(code.last_bytes().to_vec()).bind(i64::from(FEW));
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::tests::sqlite;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "periods of 99 days in which a code is looked up",
            &domain::MAX_CODE_PERIODS.to_string(),
        );
    }

    /// The plans of SQLite do not depend on the content of the tables.
    #[tokio::test]
    async fn strings_are_looked_up_in_ranges_of_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        let tenant = TenantId::default();
        let (ascii, other) = (Prefix::parse("ann", 9).unwrap(), Prefix::parse("\u{307}", 9).unwrap());
        let range = |prefix: &Prefix| prefix.ranges().remove(0);
        let text = SearchText::parse("01890a5d", 9).unwrap();
        let code = OrderCode::of(*text.ids().unwrap().start());
        let stage = Segment::of(&[Status::Failed])[0];
        let of = |index, prefix| entries(Dialect::Sqlite, &tenant, index, range(prefix), 9);
        let customers = "COVERING INDEX orders_by_customer (tenant_id=? AND customer>?";
        let references = "COVERING INDEX orders_by_reference (tenant_id=? AND external_reference>?";
        let stages = "COVERING INDEX orders_by_stage (stage=? AND tenant_id=? AND id>? AND id<?)";
        for (sql, plan) in [
            (of(CUSTOMER, &ascii), customers),
            (of(CUSTOMER, &other), customers),
            (of(REFERENCE, &ascii), references),
            (ids_of(Dialect::Sqlite, &tenant, stage, text.ids().unwrap()), stages),
            (ids_with_code(Dialect::Sqlite, &tenant, stage, code, text.ids().unwrap()), stages),
        ] {
            let sql = sql.explained();
            let rows = store.read(move |connection| Box::pin(sql.fetch(connection))).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| row.get(3).unwrap()).collect();
            assert!(steps.len() == 1 && steps[0].contains(plan), "{steps:?}");
        }
    }
}
