//! Reads one page of a list, with a filter that the database or this process applies.

use std::collections::HashMap;

use domain::query::Position;
use domain::{Order, OrderId, TenantId};
use futures_util::TryStreamExt;
use tokio::time::Instant;

use super::query::page;
use crate::columns::{Column, OrderRow, Selection};
use crate::connection::Connection;
use crate::isolate::select_orders;
use crate::owner::Owner;
use crate::read::FoundOrders;
use crate::row::Row;
use crate::scan::{Listed, Scan, ScanStart, Scanned};
use crate::search::ResidualFilter;
use crate::unreadable::Unreadable;
use crate::{Dialect, Error, columns, read, rows};

/// Orders that a search reads in its first statement; each further one reads twice as many.
pub(super) const SEARCHED_FIRST: u32 = 64;
/// Maximum number of orders that a search reads in one statement.
const SEARCHED_AT_ONCE: u32 = 2_048;
/// Maximum number of orders that one statement reads with all columns, so that a page of large orders ends early.
const READ_AT_ONCE: u32 = 128;

/// The columns that form the position of an order in a list.
static POSITION: Selection = Selection::new(&[Column::Id, Column::Total]);

/// Reads one part of a list.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) dialect: Dialect,
    /// The owner of the orders.
    pub(super) tenant: TenantId,
    /// With a filter that an index serves.
    pub(super) scan: Scan,
    /// The other conditions.
    pub(super) rest: Option<ResidualFilter>,
    /// The only orders that can match, if they were looked up.
    pub(super) among: Option<Vec<OrderId>>,
    pub(super) until: Instant,
}

impl Reader {
    pub(super) async fn orders(
        mut self,
        mut bytes: usize,
        connection: &mut Connection,
    ) -> Result<Scanned, Error> {
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

    /// Reads the orders of one statement. Returns them and the number of rows.
    async fn listed(&self, piece: &Scan, connection: &mut Connection) -> Result<(Vec<Listed>, usize), Error> {
        match self.decoded(piece, connection).await {
            // One of the rows cannot be received.
            Err(error) if error.cause().is_some() => {
                let rows = page(self.dialect, &self.tenant, piece, &POSITION, self.among.as_deref())
                    .fetch(connection)
                    .await?;
                let places: Vec<Position> =
                    rows.iter().filter_map(|row| position(&POSITION.of(row))).collect();
                Ok((by_ids(&places, connection).await?, rows.len()))
            }
            result => result,
        }
    }

    /// As [`Self::listed`], where each row can be received. Each row is decoded when it arrives, so that this process does
    /// not hold large orders twice.
    async fn decoded(
        &self,
        piece: &Scan,
        connection: &mut Connection,
    ) -> Result<(Vec<Listed>, usize), Error> {
        let mut rows = page(self.dialect, &self.tenant, piece, &columns::ORDER, self.among.as_deref())
            .stream(connection);
        let (mut items, mut received) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            received += 1;
            items.extend(listed(&row));
        }
        Ok((items, received))
    }

    pub(super) async fn ids(mut self, connection: &mut Connection) -> Result<Vec<OrderId>, Error> {
        if self.rest.is_some() {
            return Ok(self.search(connection).await?.into_iter().map(|place| place.id).collect());
        }
        let sql = page(self.dialect, &self.tenant, &self.scan, &columns::ID, self.among.as_deref());
        Ok(sql.fetch(connection).await?.iter().filter_map(|row| rows::id(row, 0).ok()).collect())
    }

    /// Reads the orders that a search finds.
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
        while self.piece(connection, size, &mut |place, _| found.push(place)).await? == size
            && found.len() < limit
        {
            if Instant::now() >= self.until {
                return Err(Error::TooMuchToRead);
            }
            size = next_size(size);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Compares the next `size` orders and calls `found` with those that match. Returns the number of orders; when it is
    /// `size`, more may follow.
    pub(super) async fn piece(
        &mut self,
        connection: &mut Connection,
        size: u32,
        found: &mut (dyn FnMut(Position, &OrderRow<'_>) + Send),
    ) -> Result<u32, Error> {
        let scan = Scan { limit: size, ..self.scan.clone() };
        let Some(rest) = &mut self.rest else { return Ok(0) };
        let sql = page(self.dialect, &self.tenant, &scan, rest.columns(), self.among.as_deref());
        let mut seen = 0;
        let mut rows = sql.stream(connection);
        loop {
            let row = match rows.try_next().await {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(seen),
                Err(error) if error.cause().is_some() => break,
                Err(error) => return Err(error),
            };
            seen += 1;
            let row = rest.columns().of(&row);
            let Some(place) = position(&row) else { continue };
            self.scan.start = ScanStart::Behind(place);
            // An order that cannot be compared does not match.
            if rest.matches(&row).unwrap_or(false) {
                found(place, &row);
            }
        }
        drop(rows);
        Ok(seen + self.match_individually(connection, size - seen, found).await?)
    }

    /// As [`Self::piece`], where one of the rows cannot be received.
    async fn match_individually(
        &mut self,
        connection: &mut Connection,
        size: u32,
        found: &mut (dyn FnMut(Position, &OrderRow<'_>) + Send),
    ) -> Result<u32, Error> {
        let scan = Scan { limit: size, ..self.scan.clone() };
        let Some(rest) = &mut self.rest else { return Ok(0) };
        let rows = page(self.dialect, &self.tenant, &scan, &POSITION, self.among.as_deref())
            .fetch(connection)
            .await?;
        for place in rows.iter().filter_map(|row| position(&POSITION.of(row))) {
            self.scan.start = ScanStart::Behind(place);
            let row = select_orders(connection, rest.columns(), &[place.id], &Owner::Any, "").await?;
            if let Some(row) = row.iter().next()
                && rest.matches(&row).unwrap_or(false)
            {
                found(place, &row);
            }
        }
        Ok(rows.len() as u32)
    }
}

/// Returns the number of orders in the next statement of a search.
pub(super) fn next_size(size: u32) -> u32 {
    (size * 2).min(SEARCHED_AT_ONCE)
}

/// Returns the position of an order, with 0 for an unreadable total. `None` for a row without an id, which cannot be
/// named.
fn position(row: &OrderRow<'_>) -> Option<Position> {
    Some(Position { id: row.id().ok()?, total_minor: row.get(Column::Total).unwrap_or_default() })
}

/// Reads an entry of a list, from the columns of [`columns::ORDER`].
fn listed(row: &Row) -> Option<Listed> {
    let row = columns::ORDER.of(row);
    let (_, order) = columns::whole(&row).ok()?;
    Some(match order {
        Ok(order) => Listed::Order(Box::new(order)),
        Err(unreadable) => Listed::Unreadable { position: position(&row)?, unreadable },
    })
}

/// Reads the orders at these positions, in their sequence, without those that were removed meanwhile.
pub(super) async fn by_ids(places: &[Position], connection: &mut Connection) -> Result<Vec<Listed>, Error> {
    let ids: Vec<OrderId> = places.iter().map(|place| place.id).collect();
    let FoundOrders { orders, unreadable } = read::find(connection, &ids, &Owner::Any).await?;
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
