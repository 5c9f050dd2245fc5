//! Repairs all orders where that needs no decision, for `orders doctor --repair`. Repairs one order whose row cannot be
//! used, or marks it as failed, for `orders repair`.
//!
//! Nothing is guessed: a column gets another value only when the operator gives one. Events of `order_events` that
//! repeat the row are removed, because the row counts.

use domain::{OrderId, Timestamp};

use super::connection::Connection;
use super::inspect::MAX_HOLD;
use super::isolate::select_orders;
use super::owner::Owner;
use super::rows::NEVER;
use super::statement::Statement;
use super::{Error, Shard, columns, event_log, rows, timeline};

/// A column that an operator sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    column: &'static str,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(i64),
    Null,
}

/// Columns of text, and whether they may be NULL.
const TEXTS: [(&str, bool); 8] = [
    ("currency", false),
    ("line_items", false),
    ("priority", false),
    ("status", false),
    ("customer", true),
    ("external_reference", true),
    ("reason", true),
    ("error_class", true),
];
/// Columns of numbers, and whether they may be NULL.
const NUMBERS: [(&str, bool); 11] = [
    ("total_minor", false),
    ("quantity", false),
    ("version", false),
    ("attempt", false),
    ("failures", false),
    ("max_attempts", false),
    ("not_before", false),
    ("created_at", false),
    ("updated_at", false),
    ("lease_token", false),
    ("process_after", true),
];

/// The argument is not `COLUMN=VALUE` of a column that can be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not COLUMN=VALUE with one of these columns and a value of its type: {}", columns())]
pub struct InvalidSetting;

fn columns() -> String {
    let names: Vec<&str> = TEXTS.iter().chain(&NUMBERS).map(|(name, _)| *name).collect();
    names.join(", ")
}

impl std::str::FromStr for Setting {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let (name, value) = text.split_once('=').ok_or(InvalidSetting)?;
        let find = |columns: &'static [(&str, bool)]| columns.iter().find(|(column, _)| *column == name);
        let (column, value) = match (find(&TEXTS), find(&NUMBERS)) {
            (Some((column, true)), _) | (_, Some((column, true))) if value.is_empty() => {
                (column, Value::Null)
            }
            (Some((column, _)), _) => (column, Value::Text(value.to_owned())),
            (None, Some((column, _))) => (column, Value::Number(value.parse().map_err(|_| InvalidSetting)?)),
            (None, None) => return Err(InvalidSetting),
        };
        Ok(Self { column, value })
    }
}

/// The outcome of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// There is no such order.
    NotFound,
    /// The order can be processed.
    Sound,
    /// The order is marked as failed.
    Failed,
    /// The order is marked as failed, and one of its columns still cannot be read.
    FailedUnreadable(String),
    /// The order is final, so it cannot be marked as failed.
    Final,
    /// Nothing was changed: the order could not be read afterwards either.
    StillUnreadable(String),
}

/// The error class of orders that an operator has marked as failed.
const CLASS: &str = "operator";

impl Shard {
    /// Fixes the violations that [`IssueKind::is_repairable`](super::IssueKind::is_repairable) permits: an order that is not final becomes due, and a
    /// final one does not stay due. Returns the number of fixed orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repair(&self) -> Result<u64, Error> {
        let now = self.now().as_micros();
        let held = (self.now() + MAX_HOLD).as_micros();
        let repaired = self
            .write(|connection| {
                Box::pin(async move {
                    let mut pending = Statement::new(
                        "UPDATE orders SET stage = 'waiting', due_at = not_before, held_until = 0 \
                     WHERE status = 'pending' AND stage <> 'held' AND (stage <> 'waiting' OR due_at = ?)",
                    );
                    pending.bind(NEVER);
                    let mut processing = Statement::new(
                        "UPDATE orders SET stage = 'held', due_at = ?, held_until = ? \
                     WHERE status = 'processing' AND stage <> 'held'",
                    );
                    processing.bind(NEVER).bind(now);
                    let mut done = Statement::new(
                        "UPDATE orders SET stage = status, due_at = ?, held_until = 0 \
                     WHERE status IN ('completed', 'failed', 'cancelled') AND stage <> status",
                    );
                    done.bind(NEVER);
                    // Dispatch finds them at once, and expires those without a worker.
                    let mut ahead = Statement::new(
                        "UPDATE orders SET held_until = ? WHERE stage = 'held' AND held_until > ?",
                    );
                    ahead.bind(now).bind(held);
                    let mut repaired = 0;
                    for sql in [pending, processing, done, ahead] {
                        repaired += sql.execute(connection).await?;
                    }
                    Ok(repaired)
                })
            })
            .await?;
        Ok(repaired + self.shorten_waits().await?)
    }

    /// Sets columns of an order, removes events that its row repeats, and makes it processable, all or nothing.
    ///
    /// With `fail`, which states the reason, it marks the order as failed instead.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repair_order(
        &self,
        id: OrderId,
        settings: &[Setting],
        fail: Option<&str>,
    ) -> Result<Repaired, Error> {
        let settings = settings.to_vec();
        let fail = fail.and_then(domain::strings::clean_reason);
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        let result = self
            .write(|connection| {
                let (settings, fail) = (settings.clone(), fail.clone());
                Box::pin(async move {
                    let mut sql = Statement::new("SELECT id FROM orders WHERE id = ?");
                    sql.bind(id).push(for_update);
                    if sql.fetch(connection).await?.is_empty() {
                        return Ok(Repaired::NotFound);
                    }
                    for setting in &settings {
                        set(connection, id, setting).await?;
                    }
                    remove_repeated(connection, id).await?;
                    if let Some(reason) = fail {
                        return mark_as_failed(connection, id, &reason, now).await;
                    }
                    settle(connection, id, now).await?;
                    readable(connection, id).await.map(|()| Repaired::Sound)
                })
            })
            .await;
        self.inner.row_cache.remove([id].iter());
        match result {
            // The transaction is rolled back.
            Err(error) if error.cause().is_some() => Ok(Repaired::StillUnreadable(detail(error))),
            result => result,
        }
    }
}

fn detail(error: Error) -> String {
    match error {
        Error::Row(text) => text,
        other => other.to_string(),
    }
}

async fn set(connection: &mut Connection, id: OrderId, setting: &Setting) -> Result<(), Error> {
    // The name is one of the constants above.
    let mut sql = Statement::new(format!("UPDATE orders SET {} = ", setting.column));
    match &setting.value {
        Value::Text(text) => sql.push("?").bind(text.clone()),
        Value::Number(number) => sql.push("?").bind(*number),
        Value::Null => sql.push("NULL"),
    };
    sql.push(" WHERE id = ?").bind(id);
    sql.execute(connection).await.map(drop)
}

/// Removes events that the row contains: event 1 and the two latest ones.
async fn remove_repeated(connection: &mut Connection, id: OrderId) -> Result<(), Error> {
    let id = id.as_bytes();
    let mut sql = Statement::new(
        "DELETE FROM order_events WHERE order_id = ? AND (sequence < 2 OR sequence >= \
         (SELECT version - 1 FROM orders WHERE id = ?))",
    );
    sql.bind(id.to_vec()).bind(id.to_vec());
    sql.execute(connection).await.map(drop)
}

/// Sets the stage and the times by the status, and ends a parking.
async fn settle(connection: &mut Connection, id: OrderId, now: Timestamp) -> Result<(), Error> {
    // MySQL assigns from left to right, and SQLite by the values before; the stage comes last for both.
    let mut sql = Statement::new(
        "UPDATE orders SET held_until = CASE WHEN status = 'processing' THEN ? ELSE 0 END, \
         due_at = CASE WHEN status = 'pending' THEN not_before ELSE ? END, \
         stage = CASE status WHEN 'pending' THEN 'waiting' WHEN 'processing' THEN 'held' \
         WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'cancelled' END \
         WHERE status IN ('pending', 'processing', 'completed', 'failed', 'cancelled') AND id = ?",
    );
    sql.bind(now.as_micros()).bind(NEVER).bind(id);
    sql.execute(connection).await.map(drop)
}

/// Fails if the row cannot be read.
async fn readable(connection: &mut Connection, id: OrderId) -> Result<(), Error> {
    let mut rows = select_orders(connection, &columns::ORDER, &[id], &Owner::Any, "").await?;
    if let Some(unreadable) = rows.unreadable.pop() {
        return Err(Error::Row(unreadable.detail));
    }
    rows.iter().next().map_or(Ok(()), |row| columns::order(&row).map(drop))
}

/// Appends the latest event of an order to the event log, if it can be read.
async fn log_latest(connection: &mut Connection, id: OrderId, now: Timestamp) -> Result<(), Error> {
    let mut sql = Statement::new("SELECT version FROM orders WHERE id = ?");
    sql.bind(id);
    let found = sql.fetch(connection).await?;
    let Some(version) = found.first().and_then(|row| rows::number::<u32>(row, 0).ok()) else { return Ok(()) };
    let latest = timeline::after(connection, &[(id, version.saturating_sub(1))], &Owner::Any).await?;
    event_log::append(connection, &latest.events, now).await
}

/// Writes the status and its event, whatever the other columns contain.
async fn mark_as_failed(
    connection: &mut Connection,
    id: OrderId,
    reason: &str,
    now: Timestamp,
) -> Result<Repaired, Error> {
    let bytes = id.as_bytes();
    let mut sql = timeline::moved_events();
    sql.push(
        "orders \
         WHERE id = ? AND version BETWEEN 3 AND 4294967293 AND status NOT IN ('completed', 'failed', 'cancelled')",
    );
    sql.bind(bytes.to_vec());
    sql.execute(connection).await?;
    let mut sql = Statement::new(
        "UPDATE orders SET previous_status = CASE WHEN status IN ('pending', 'processing') THEN status \
         ELSE 'pending' END, previous_attempt = attempt, previous_reason = reason, previous_error_class = error_class, previous_at = updated_at, \
         version = CASE WHEN version BETWEEN 1 AND 4294967293 THEN version + 1 ELSE 2 END, status = 'failed', stage = 'failed', \
         due_at = ?, held_until = 0, lease_token = 0, reason = ?, error_class = ?, updated_at = ? \
         WHERE status NOT IN ('completed', 'failed', 'cancelled') AND id = ?",
    );
    sql.bind(NEVER).bind(reason.to_owned()).bind(CLASS).bind(now.as_micros()).bind(bytes.to_vec());
    if sql.execute(connection).await? == 0 {
        return Ok(Repaired::Final);
    }
    remove_repeated(connection, id).await?;
    log_latest(connection, id, now).await?;
    match readable(connection, id).await {
        Ok(()) => Ok(Repaired::Failed),
        Err(error) if error.cause().is_some() => Ok(Repaired::FailedUnreadable(detail(error))),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_a_column_and_a_value_of_its_type() {
        for (text, value) in [
            ("currency=EUR", Value::Text("EUR".into())),
            ("line_items=[{\"item\":\"a=b\"}]", Value::Text("[{\"item\":\"a=b\"}]".into())),
            ("attempt=3", Value::Number(3)),
            ("customer=", Value::Null),
            ("process_after=", Value::Null),
        ] {
            assert_eq!(text.parse::<Setting>().unwrap().value, value, "{text}");
        }
        for text in ["currency", "attempt=many", "attempt=", "id=1", "id = 1; --=x", "=x"] {
            assert_eq!(text.parse::<Setting>(), Err(InvalidSetting), "{text}");
        }
    }
}
