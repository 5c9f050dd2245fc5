//! Statements over many rows at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, AnyConnection, Arguments, AssertSqlSafe, Encode, Type};

use super::Error;

/// A statement under construction. Text only ever comes from this program; values are bound.
#[derive(Default)]
pub(super) struct Sql {
    text: String,
    arguments: AnyArguments,
    error: Option<sqlx::error::BoxDynError>,
}

impl Sql {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// The statement that explains this one.
    #[cfg(test)]
    pub(super) fn explained(self) -> Self {
        Self { text: format!("EXPLAIN QUERY PLAN {}", self.text), ..self }
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.error = Some(error);
        }
        self
    }

    /// `(?,?,?)` `rows` times, each with `columns` placeholders or whatever `row` says.
    pub(super) fn rows(&mut self, rows: usize, row: &str) -> &mut Self {
        self.text.reserve(rows * (row.len() + 1));
        let placeholders = row.bytes().filter(|byte| *byte == b'?').count();
        self.arguments.reserve(rows * placeholders, 0);
        for n in 0..rows {
            if n > 0 {
                self.text.push(',');
            }
            self.text.push_str(row);
        }
        self
    }

    /// ` IN (?,?,…)`, and binds the values.
    pub(super) fn within<'t, T>(&mut self, values: impl ExactSizeIterator<Item = T>) -> &mut Self
    where
        T: Encode<'t, Any> + Type<Any>,
    {
        self.push(" IN (").rows(values.len(), "?").push(")");
        for value in values {
            self.bind(value);
        }
        self
    }

    /// As [`Self::within`], filled up to a power of two with the last value.
    pub(super) fn within_padded<'t, T>(&mut self, values: impl ExactSizeIterator<Item = T>) -> &mut Self
    where
        T: Clone + Encode<'t, Any> + Type<Any>,
    {
        let mut values: Vec<T> = values.collect();
        let length = values.len().next_power_of_two();
        values.extend(values.last().cloned().into_iter().cycle().take(length - values.len()));
        self.within(values.into_iter())
    }

    pub(super) async fn execute(self, connection: &mut AnyConnection) -> Result<u64, Error> {
        let query = self.query()?;
        count_statement();
        Ok(query.execute(connection).await?.rows_affected())
    }

    pub(super) async fn fetch(self, connection: &mut AnyConnection) -> Result<Vec<AnyRow>, Error> {
        let query = self.query()?;
        count_statement();
        Ok(query.fetch_all(connection).await?)
    }

    /// The rows one by one, so that no more than one of them takes up memory here.
    pub(super) fn stream(self, connection: &mut AnyConnection) -> BoxStream<'_, Result<AnyRow, Error>> {
        match self.query() {
            Ok(query) => {
                count_statement();
                query.fetch(connection).map_err(Error::from).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn query(self) -> Result<sqlx::query::Query<'static, Any, AnyArguments>, Error> {
        match self.error {
            Some(error) => Err(Error::Defect(sqlx::Error::Encode(error))),
            None => Ok(sqlx::query_with(AssertSqlSafe(self.text), self.arguments)),
        }
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

/// Notes that a statement is sent.
pub(super) fn count_statement() {
    metrics::counter!("orders_database_statements_total").increment(1);
    // Outside of a piece of work nobody counts.
    let _ = STATEMENTS.try_with(|counter| counter.fetch_add(1, Ordering::Relaxed));
}

/// Cuts `items` into few pieces of certain lengths: up to 8, and then four between each power of two and
/// the next. A statement's text depends on its number of rows and is prepared once for each text; so
/// there are 28 texts for up to 256 rows, and not 256.
pub(super) fn pieces<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let step = (1_usize << rest.len().ilog2()).div_ceil(4).max(1);
        let length = (rest.len() / step * step).min(LARGEST_PIECE);
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        Some(piece)
    })
}

/// As [`pieces`], for statements that may name a row twice: as few pieces as there can be, each filled
/// up to a power of two with its last item.
pub(super) fn padded<T: Clone>(items: &[T]) -> impl Iterator<Item = Vec<T>> {
    items.chunks(LARGEST_PIECE).map(|chunk| {
        let mut piece = chunk.to_vec();
        piece.extend(vec![chunk[chunk.len() - 1].clone(); chunk.len().next_power_of_two() - chunk.len()]);
        piece
    })
}

/// Rows in the largest statement.
pub(super) const LARGEST_PIECE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_few_and_lose_nothing() {
        let lengths = |n: usize| pieces(&vec![0; n]).map(<[i32]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(0), [0; 0]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(7), [7]);
        assert_eq!(lengths(9), [8, 1]);
        assert_eq!(lengths(100), [96, 4]);
        assert_eq!(lengths(607), [256, 256, 80, 14, 1]);
        let texts: std::collections::BTreeSet<_> = (1..=LARGEST_PIECE).flat_map(lengths).collect();
        assert_eq!(texts.len(), 28);
    }

    #[test]
    fn padded_pieces_are_few_and_lose_nothing() {
        let lengths = |n: usize| padded(&vec![0; n]).map(|piece| piece.len()).collect::<Vec<_>>();
        assert_eq!(lengths(0), [0; 0]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(100), [128]);
        assert_eq!(lengths(257), [256, 1]);
        assert_eq!(padded(&[1, 2, 3]).collect::<Vec<_>>(), [[1, 2, 3, 3]]);
    }
}
