//! Limits the bytes and the errors of one response.
//!
//! Bytes are counted while the response is built. An extension of async-graphql is called for every field and every
//! item of a list, and charges the key, the value and the punctuation. When the budget is spent, no further field is
//! resolved, and the executor responds with an error instead of the data. A request for a gigabyte therefore uses no
//! more memory than the budget permits.
//!
//! A value uses more memory than its JSON, so each value counts as at least [`VALUE_BYTES`].
//!
//! Operations that select no list do not need the extension: the query limits bound the length of their results. The
//! length of the finished JSON is checked for every operation.
//!
//! Hand-written: the limits of async-graphql (depth, complexity) are applied before execution and know no bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextResolve, ResolveInfo};
use async_graphql::parser::types::{Selection, SelectionSet};
use async_graphql::{Context, QueryPathSegment, ServerError, ServerResult, Value};
use async_trait::async_trait;
use domain::ErrorCode;

use crate::errors::limit_error;
use crate::language::text_size;

/// Maximum number of errors in one response: `errors`, and the `userErrors` of all fields and rows.
pub(crate) const MAX_ERRORS: usize = 100;
/// Minimum size of a value: about half of the memory that it uses until the response is written.
const VALUE_BYTES: usize = 64;

/// The budget of one response. A batch is one response; each result of a stream has a full budget.
///
/// One task at a time builds a response, so relaxed loads and stores are sufficient.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Inner>);

struct Inner {
    max_bytes: usize,
    left: AtomicUsize,
    spent: AtomicBool,
    errors: AtomicUsize,
}

impl Budget {
    /// Creates the budget of a response of at most `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let (left, errors) = (AtomicUsize::new(max_bytes), AtomicUsize::new(MAX_ERRORS));
        Self(Arc::new(Inner { max_bytes, left, spent: AtomicBool::new(false), errors }))
    }

    /// Returns the budget of the operation that is executed.
    pub(crate) fn of<'a>(ctx: &Context<'a>) -> &'a Self {
        ctx.data_unchecked()
    }

    /// Resets the budget for the next result of a stream.
    pub(crate) fn renew(&self) {
        self.0.left.store(self.0.max_bytes, Ordering::Relaxed);
        self.0.spent.store(false, Ordering::Relaxed);
        self.0.errors.store(MAX_ERRORS, Ordering::Relaxed);
    }

    /// Returns the remaining bytes.
    pub(crate) fn left(&self) -> usize {
        self.0.left.load(Ordering::Relaxed)
    }

    /// Sets the remaining bytes after the exact length of a part is known.
    pub(crate) fn set_left(&self, left: usize) {
        self.0.left.store(left, Ordering::Relaxed);
    }

    /// Returns whether the budget was exceeded.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.spent.load(Ordering::Relaxed)
    }

    /// Marks the budget as exceeded.
    pub(crate) fn spend(&self) {
        self.0.left.store(0, Ordering::Relaxed);
        self.0.spent.store(true, Ordering::Relaxed);
    }

    /// Takes bytes; returns false if fewer remain.
    fn take(&self, bytes: usize) -> bool {
        let left = self.left();
        match left.checked_sub(bytes) {
            Some(left) => self.set_left(left),
            None => self.spend(),
        }
        left >= bytes
    }

    /// Reserves one error for each further root field of an operation.
    pub(crate) fn reserve_errors(&self, fields: usize) {
        let left = self.0.errors.load(Ordering::Relaxed);
        self.0.errors.store(left.saturating_sub(fields.saturating_sub(1)), Ordering::Relaxed);
    }

    /// Takes up to `wanted` errors and returns their number. Request errors and user errors share the limit.
    pub(crate) fn take_errors(&self, wanted: usize) -> usize {
        let left = self.0.errors.load(Ordering::Relaxed);
        let taken = wanted.min(left);
        self.0.errors.store(left - taken, Ordering::Relaxed);
        taken
    }

    /// Returns the first errors of a field or of a request, at least one.
    pub(crate) fn first_errors<T>(&self, mut errors: Vec<T>) -> Vec<T> {
        errors.truncate(self.take_errors(errors.len()).max(1));
        errors
    }

    /// Returns the error that replaces the response.
    pub(crate) fn exceeded(&self) -> ServerError {
        let max_bytes = self.0.max_bytes;
        limit_error(
            ErrorCode::LimitExceeded,
            "response",
            format!("the response would be longer than {max_bytes} bytes: select less"),
        )
    }
}

/// Creates the extension for each operation.
pub(crate) struct Metered;

impl ExtensionFactory for Metered {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Meter)
    }
}

struct Meter;

/// Stops the execution. Clients never receive it: the executor responds with [`Budget::exceeded`].
const TOO_LONG: &str = "the response is too long";

#[async_trait]
impl Extension for Meter {
    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let Some(budget) = ctx.data_opt::<Budget>() else { return next.run(ctx, info).await };
        let key = match info.path_node.segment {
            QueryPathSegment::Name(name) => name.len() + 4,
            QueryPathSegment::Index(_) => 1,
        };
        // async-graphql resolves `__typename` without a call of the extensions.
        let names = if info.field.selection_set.node.items.is_empty() {
            0
        } else {
            type_names(&info.field.selection_set.node, info.return_type.len())
        };
        if budget.is_spent() || !budget.take(key + names) {
            return Err(ServerError::new(TOO_LONG, None));
        }
        let value = next.run(ctx, info).await?;
        let size = value.as_ref().map_or(4, own_size);
        if budget.take(size.max(VALUE_BYTES.saturating_sub(key))) {
            Ok(value)
        } else {
            Err(ServerError::new(TOO_LONG, None))
        }
    }
}

/// Returns the length of a value in JSON without its items and fields, which were charged when they were resolved.
///
/// The schema has no list of scalars that is resolved as one value.
fn own_size(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Boolean(_) => 5,
        Value::Number(number) => match number.as_i64() {
            Some(number) => digits(number),
            None => 20,
        },
        Value::String(text) => text_size(text),
        Value::Enum(name) => name.len() + 2,
        Value::Binary(bytes) => bytes.len(),
        Value::List(_) | Value::Object(_) => 2,
    }
}

fn digits(number: i64) -> usize {
    let sign = usize::from(number < 0);
    sign + number.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Returns the bytes that `__typename` adds to each object.
fn type_names(set: &SelectionSet, length: usize) -> usize {
    let one = |selection: &Selection| match selection {
        Selection::Field(field) if field.node.name.node == "__typename" => {
            (field.node.response_key().node.len() + length + 6).max(VALUE_BYTES)
        }
        Selection::InlineFragment(inline) => type_names(&inline.node.selection_set.node, 2 * length),
        Selection::Field(_) | Selection::FragmentSpread(_) => 0,
    };
    set.items.iter().map(|selection| one(&selection.node)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_of_a_value_is_the_length_of_its_json() {
        for value in [
            Value::Null,
            Value::from(0),
            Value::from(-1),
            Value::from(10),
            Value::from(i64::MIN),
            Value::from("a\"\\\n\u{1}ä😀\u{7f}\u{8}"),
            Value::Enum(async_graphql::Name::new("A")),
            Value::List(vec![]),
        ] {
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(own_size(&value), json.len(), "{json}");
        }
    }

    #[test]
    fn renewed_budget_is_full() {
        let budget = Budget::new(10);
        assert!(budget.take(10) && !budget.is_spent());
        assert!(!budget.take(1) && budget.is_spent());
        budget.renew();
        assert!(!budget.is_spent() && budget.take(3));
        assert_eq!(budget.take_errors(MAX_ERRORS - 1), MAX_ERRORS - 1);
        assert_eq!((budget.take_errors(5), budget.take_errors(5)), (1, 0));
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "errors in a response, with the `userErrors` of all fields and rows",
            &MAX_ERRORS.to_string(),
        );
    }
}
