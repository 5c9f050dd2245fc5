//! Statements over many rows at once.
//!
//! One body of SQL serves both kinds of databases: each takes `?` as a placeholder.
//!
//! Written by hand: the number of rows of a statement is limited to certain values, so that each connection keeps few
//! prepared statements, which the query builder of sqlx does not support. A batch of 37 rows takes two INSERTs, and 28
//! statements serve up to 256 rows. Chunks with lengths of powers of two take three INSERTs for such a batch. Statements
//! were counted and not timed, so no command measures it.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::OrderId;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::mysql::MySqlArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, MySql, Sqlite};

use super::Error;
use super::connection::{Connection, Link};
use super::row::Row;

/// A value that is bound to a placeholder.
#[derive(Clone)]
pub(super) enum Value<'v> {
    Null,
    Number(i64),
    Text(Cow<'v, str>),
    Bytes(Cow<'v, [u8]>),
    /// Most byte strings are ids, which need no allocation.
    Id(OrderId),
}

/// A statement under construction. Its text comes from this program only; values are bound.
#[derive(Default)]
pub(super) struct Statement<'v> {
    text: String,
    values: Vec<Value<'v>>,
}

impl<'v> Statement<'v> {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// Returns the statement that explains this one.
    #[cfg(test)]
    pub(super) fn explained(self) -> Self {
        Self { text: format!("EXPLAIN QUERY PLAN {}", self.text), ..self }
    }

    /// Returns the text and the values of its placeholders.
    pub(super) fn parts(&self) -> (&str, &[Value<'v>]) {
        (&self.text, &self.values)
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub(super) fn bind(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        self.values.push(value.into());
        self
    }

    /// Adds `row` `rows` times, separated by commas.
    pub(super) fn rows(&mut self, rows: usize, row: &str) -> &mut Self {
        self.text.reserve(rows * (row.len() + 1));
        let placeholders = row.bytes().filter(|byte| *byte == b'?').count();
        self.values.reserve(rows * placeholders);
        for n in 0..rows {
            if n > 0 {
                self.text.push(',');
            }
            self.text.push_str(row);
        }
        self
    }

    /// Adds ` IN (?,?,…)` and binds the values.
    pub(super) fn push_in<T: Into<Value<'v>>>(
        &mut self,
        values: impl ExactSizeIterator<Item = T>,
    ) -> &mut Self {
        self.push(" IN (").rows(values.len(), "?").push(")");
        self.values.extend(values.map(Into::into));
        self
    }

    /// As [`Self::push_in`], padded to a power of two with the last value.
    pub(super) fn push_in_padded<T: Into<Value<'v>>>(
        &mut self,
        values: impl ExactSizeIterator<Item = T>,
    ) -> &mut Self {
        let length = values.len();
        if length == 0 {
            return self.push_in(values);
        }
        let padded = length.next_power_of_two();
        self.push(" IN (").rows(padded, "?").push(")");
        self.values.extend(values.map(Into::into));
        if let Some(last) = self.values.last().cloned() {
            self.values.extend(std::iter::repeat_n(last, padded - length));
        }
        self
    }

    /// Executes the statement and returns the number of rows that it has changed.
    pub(super) async fn execute(self, connection: &mut Connection) -> Result<u64, Error> {
        count_statement();
        let statement = self.for_shard(connection);
        Ok(match &mut connection.link {
            Link::MySql(connection) => statement.mysql()?.execute(&mut **connection).await?.rows_affected(),
            Link::Sqlite(connection) => statement.sqlite()?.execute(&mut **connection).await?.rows_affected(),
        })
    }

    pub(super) async fn fetch(self, connection: &mut Connection) -> Result<Vec<Row>, Error> {
        count_statement();
        let statement = self.for_shard(connection);
        Ok(match &mut connection.link {
            Link::MySql(connection) => {
                statement.mysql()?.fetch(&mut **connection).map_ok(Row::MySql).try_collect().await?
            }
            Link::Sqlite(connection) => {
                statement.sqlite()?.fetch(&mut **connection).map_ok(Row::Sqlite).try_collect().await?
            }
        })
    }

    /// Returns the rows one by one, so that this process holds one of them at a time.
    pub(super) fn stream(self, connection: &mut Connection) -> BoxStream<'_, Result<Row, Error>> {
        count_statement();
        let statement = self.for_shard(connection);
        match &mut connection.link {
            Link::MySql(connection) => match statement.mysql() {
                Ok(query) => query.fetch(&mut **connection).map_ok(Row::MySql).map_err(Error::from).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            },
            Link::Sqlite(connection) => match statement.sqlite() {
                Ok(query) => query.fetch(&mut **connection).map_ok(Row::Sqlite).map_err(Error::from).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            },
        }
    }

    /// Writes the values of LIMIT and OFFSET as numbers on a connection to a shard of Vitess: vtgate prepares a statement by
    /// executing it with NULL for each value, which MySQL refuses there.
    fn for_shard(self, connection: &Connection) -> Self {
        if connection.place.is_none() || !self.text.contains("LIMIT ?") {
            return self;
        }
        let (mut text, mut values) =
            (String::with_capacity(self.text.len()), Vec::with_capacity(self.values.len()));
        let mut pieces = self.text.split('?');
        text.push_str(pieces.next().unwrap_or_default());
        for (piece, value) in pieces.zip(self.values) {
            match value {
                Value::Number(number) if text.ends_with("LIMIT ") || text.ends_with("OFFSET ") => {
                    text.push_str(&number.to_string());
                }
                value => {
                    text.push('?');
                    values.push(value);
                }
            }
            text.push_str(piece);
        }
        Self { text, values }
    }

    fn mysql(self) -> Result<sqlx::query::Query<'static, MySql, MySqlArguments>, Error> {
        let mut arguments = MySqlArguments::default();
        arguments.reserve(self.values.len(), self.values.iter().map(Value::size).sum());
        for value in self.values {
            match value {
                Value::Null => arguments.add(None::<&str>),
                Value::Number(number) => arguments.add(number),
                Value::Text(text) => arguments.add(&*text),
                Value::Bytes(bytes) => arguments.add(&*bytes),
                Value::Id(id) => arguments.add(id.as_bytes().as_slice()),
            }
            .map_err(|error| Error::Defect(sqlx::Error::Encode(error)))?;
        }
        Ok(sqlx::query_with(AssertSqlSafe(self.text), arguments))
    }

    fn sqlite(self) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>, Error> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(self.values.len(), 0);
        for value in self.values {
            match value {
                Value::Null => arguments.add(None::<&str>),
                Value::Number(number) => arguments.add(number),
                Value::Text(text) => arguments.add(text.into_owned()),
                Value::Bytes(bytes) => arguments.add(bytes.into_owned()),
                Value::Id(id) => arguments.add(id.as_bytes().as_slice()),
            }
            .map_err(|error| Error::Defect(sqlx::Error::Encode(error)))?;
        }
        Ok(sqlx::query_with(AssertSqlSafe(self.text), arguments))
    }
}

impl Value<'_> {
    /// Returns the number of bytes in MySQL's protocol, without the long form of a length.
    fn size(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Number(_) => 8,
            Self::Text(text) => text.len() + 3,
            Self::Bytes(bytes) => bytes.len() + 3,
            Self::Id(_) => 17,
        }
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<OrderId> for Value<'_> {
    fn from(id: OrderId) -> Self {
        Self::Id(id)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(bytes: &'v [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl<'v, T: Into<Value<'v>>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

tokio::task_local! {
    /// The counter of the store that the present work belongs to.
    static STATEMENTS: Arc<AtomicU64>;
}

/// Counts the statements that `work` sends.
pub(super) fn counted<F: Future>(counter: &Arc<AtomicU64>, work: F) -> impl Future<Output = F::Output> {
    STATEMENTS.scope(Arc::clone(counter), work)
}

/// Counts a statement.
pub(super) fn count_statement() {
    metrics::counter!("orders_database_statements_total").increment(1);
    // Outside of the work of a store there is no counter.
    let _ = STATEMENTS.try_with(|counter| counter.fetch_add(1, Ordering::Relaxed));
}

/// Splits `items` into few chunks of certain lengths: up to 8, and then four between each power of two and the next.
///
/// The text of a statement depends on its number of rows, and each text is prepared once. So 28 statements serve up to 256
/// rows, not 256.
pub(super) fn bucketed_chunks<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let step = (1_usize << rest.len().ilog2()).div_ceil(4).max(1);
        let length = (rest.len() / step * step).min(MAX_ROWS_PER_STATEMENT);
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        Some(piece)
    })
}

/// As [`bucketed_chunks`], for statements that may name a row twice: as few chunks as possible, each padded to a power
/// of two with its last item.
pub(super) fn padded_chunks<T: Clone>(items: &[T]) -> impl Iterator<Item = Vec<T>> {
    items.chunks(MAX_ROWS_PER_STATEMENT).map(|chunk| {
        let mut piece = chunk.to_vec();
        piece.extend(vec![chunk[chunk.len() - 1].clone(); chunk.len().next_power_of_two() - chunk.len()]);
        piece
    })
}

/// Maximum number of rows in one statement.
pub(super) const MAX_ROWS_PER_STATEMENT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucketed_chunks_have_few_lengths_and_contain_everything() {
        let lengths = |n: usize| bucketed_chunks(&vec![0; n]).map(<[i32]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(0), [0; 0]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(7), [7]);
        assert_eq!(lengths(9), [8, 1]);
        assert_eq!(lengths(100), [96, 4]);
        assert_eq!(lengths(607), [256, 256, 80, 14, 1]);
        let texts: std::collections::BTreeSet<_> = (1..=MAX_ROWS_PER_STATEMENT).flat_map(lengths).collect();
        assert_eq!(texts.len(), 28);
    }

    #[test]
    fn padded_chunks_have_few_lengths_and_contain_everything() {
        let lengths = |n: usize| padded_chunks(&vec![0; n]).map(|piece| piece.len()).collect::<Vec<_>>();
        assert_eq!(lengths(0), [0; 0]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(100), [128]);
        assert_eq!(lengths(257), [256, 1]);
        assert_eq!(padded_chunks(&[1, 2, 3]).collect::<Vec<_>>(), [[1, 2, 3, 3]]);
    }
}
