//! Sends a batch until the gateway has decided about it.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::batches::Batch;
use super::rejects::Reject;
use crate::commands::api::{Api, BulkAnswer};
use crate::error::Error;

/// Wait before a batch is sent again; each further wait is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Maximum wait before a batch is sent again.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// Time after which a batch that finds no gateway ends the import.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// Sends the batches of an import.
pub(super) struct Sender<'a> {
    pub(super) api: &'a Api,
    pub(super) key_prefix: String,
}

/// A batch that is done.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) batch: Batch,
    pub(super) created: u64,
    pub(super) rejected: Vec<Reject>,
}

/// The result of a bulk create, without the orders.
#[derive(Debug, Deserialize)]
struct Results {
    results: Vec<RowResult>,
}

#[derive(Debug, Deserialize)]
struct RowResult {
    index: usize,
    status: String,
    #[serde(default)]
    errors: Value,
}

impl Sender<'_> {
    /// Sends a batch. Its key is the same for each attempt, also in a later run of the command.
    pub(super) async fn send(&self, batch: Batch) -> Result<Sent, Error> {
        let first = batch.rows.first().map_or(0, |row| row.line);
        let key = format!("{}-{first}", self.key_prefix);
        let body: String = batch.rows.iter().map(|row| format!("{}\n", row.text)).collect();
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.api.create_bulk(body.clone(), &key).await? {
                BulkAnswer::Results(text) => return done(batch, &text),
                BulkAnswer::TryAgain { error, .. } if started.elapsed() > GIVE_UP_AFTER => {
                    return Err(error.hint("repeat the command later; it continues the import"));
                }
                BulkAnswer::TryAgain { after, .. } => tokio::time::sleep(after.unwrap_or(pause)).await,
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

fn done(batch: Batch, text: &str) -> Result<Sent, Error> {
    let Results { results } = serde_json::from_str(text)
        .map_err(|error| Error::failed(format!("the result of a bulk create cannot be read: {error}")))?;
    if results.len() != batch.rows.len() {
        let problem =
            format!("the gateway returned {} results for {} orders", results.len(), batch.rows.len());
        return Err(Error::failed(problem).hint("check that no proxy changes the requests"));
    }
    let created = results.iter().filter(|result| result.status == "created").count() as u64;
    let rejected = results.into_iter().filter(|result| result.status != "created");
    let reject = |result: RowResult| {
        let row = batch.rows.get(result.index)?;
        let order = serde_json::from_str(&row.text).unwrap_or_else(|_| Value::String(row.text.clone()));
        Some(Reject { line: row.line, order, status: result.status, errors: result.errors })
    };
    let rejected: Vec<Reject> = rejected.filter_map(reject).collect();
    Ok(Sent { batch, created, rejected })
}

#[cfg(test)]
mod tests {
    use super::super::batches::Row;
    use super::*;

    #[test]
    fn results_belong_to_lines() {
        let row = |line, text: &str| Row { line, text: text.to_owned() };
        let batch = || Batch { rows: vec![row(3, r#"{"a":1}"#), row(5, "{")], end: 9, last_line: 5 };
        let text = r#"{"created":1,"failed":1,"results":[{"index":0,"status":"created","order":{"total":1.00}},
            {"index":1,"status":"invalid","errors":[{"pointer":"/","detail":"x"}]}]}"#;
        let sent = done(batch(), text).unwrap();
        assert_eq!((sent.created, sent.rejected.len()), (1, 1));
        assert_eq!((sent.rejected[0].line, &sent.rejected[0].order), (5, &Value::from("{")));
        assert_eq!(sent.rejected[0].errors[0]["detail"], "x");
        assert!(done(batch(), r#"{"results":[]}"#).is_err());
        assert!(done(batch(), "proxy").is_err());
    }
}
