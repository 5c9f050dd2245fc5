//! The pages of an export: a list of any length, also with a filter that no index serves.
//!
//! A page of an export can be empty: it ends when the time of a search is over, and states where the next one begins. An
//! export therefore makes progress where a list would fail.

use domain::Principal;
use domain::query::{Filter, Position, Sort};
use tokio::time::Instant;

use super::reader::{Reader, SEARCHED_FIRST, by_ids, next_size};
use crate::connection::Connection;
use crate::replica::Freshness;
use crate::scan::{Listed, Scan, ScanStart, Scanned};
use crate::search::ReadPath;
use crate::search_pool::SearchPass;
use crate::{Error, Shard};

/// A page of an export.
#[derive(Debug)]
pub struct ExportPage {
    /// The orders, newest first.
    pub items: Vec<Listed>,
    /// The position behind which the next page begins; `None` at the end.
    pub next: Option<Position>,
}

impl Shard {
    /// Reads the next orders of the caller's tenant that match, newest first: at most `limit`, of about `bytes` bytes.
    ///
    /// While other searches run, it waits up to the deadline of the store. A replica may be read.
    ///
    /// # Errors
    /// [`Error::TooManySearches`] when the wait was too short, and the errors of a read.
    pub async fn export_page(
        &self,
        principal: &Principal,
        filter: &Filter,
        after: Option<Position>,
        limit: u32,
        bytes: usize,
    ) -> Result<ExportPage, Error> {
        let (tenant, sort) = (&principal.tenant, Sort::default());
        let start = after.map_or(ScanStart::Begin, ScanStart::Behind);
        let scan = Scan { filter: filter.clone(), sort, start, end: None, limit };
        let among = self.few_matches(tenant, filter).await?;
        let mut pass = SearchPass::default();
        let way = match self.read_path(tenant, filter, sort, &mut pass).await {
            Err(Error::TooManySearches) => {
                ReadPath::Search(self.inner.lane.wait(&mut pass, self.inner.deadline).await?)
            }
            way => way?,
        };
        let reader = Reader { among, ..self.reader(tenant, &scan) };
        self.searching(way, Freshness::MayBeOlder, reader, move |reader, connection| {
            Box::pin(reader.export(bytes, connection))
        })
        .await
    }
}

impl Reader {
    async fn export(mut self, mut bytes: usize, connection: &mut Connection) -> Result<ExportPage, Error> {
        let limit = self.scan.limit as usize;
        if self.rest.is_none() {
            let Scanned { items, cut } = self.orders(bytes, connection).await?;
            let more = cut || items.len() >= limit;
            let next = items.last().filter(|_| more).map(Listed::position);
            return Ok(ExportPage { items, next });
        }
        let mut found = Vec::new();
        let mut size = SEARCHED_FIRST;
        let ended = loop {
            if self.piece(connection, size, &mut |place, _| found.push(place)).await? < size {
                break true;
            }
            if found.len() >= limit || Instant::now() >= self.until {
                break false;
            }
            size = next_size(size);
        };
        let mut next = match self.scan.start {
            ScanStart::Behind(position) if !ended => Some(position),
            _ => None,
        };
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().copied();
        }
        let mut scanned = Scanned::default();
        for item in by_ids(&found, connection).await? {
            if !scanned.add(item, &mut bytes) {
                next = scanned.items.last().map(Listed::position);
                break;
            }
        }
        Ok(ExportPage { items: scanned.items, next })
    }
}
