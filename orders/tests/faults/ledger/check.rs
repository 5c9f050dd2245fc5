//! Holds the ledger against the database.

use std::collections::{BTreeMap, BTreeSet};

use domain::OrderId;
use sqlx::{AnyConnection, Connection, Row};

use super::Book;
use super::subscriber::is_final;

/// An order as the database has it.
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) reference: String,
    pub(crate) status: String,
    pub(crate) attempt: i64,
    pub(crate) reason: Option<String>,
    pub(crate) events: Vec<(i64, String)>,
}

/// What a comparison has shown.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) finished: usize,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) extra_attempts: i64,
    /// In words: everything that must not be.
    pub(crate) wrong: Vec<String>,
}

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.expect("the database can be read")
}

fn id(row: &sqlx::any::AnyRow) -> String {
    let bytes: Vec<u8> = row.get(0);
    OrderId::from_bytes(bytes.try_into().expect("16 bytes")).to_string()
}

/// The ids of the orders that are not final.
pub(crate) async fn unfinished(url: &str) -> BTreeSet<String> {
    let mut connection = connect(url).await;
    let rows = sqlx::query("SELECT id FROM orders WHERE status IN ('pending', 'processing')")
        .fetch_all(&mut connection)
        .await;
    let _ = connection.close().await;
    rows.expect("the database can be read").iter().map(id).collect()
}

/// The events of all orders: the first and the two latest are in the order's row.
const EVENTS: &str = "SELECT id, 1 AS sequence, 'pending' AS status FROM orders WHERE version > 1 \
    UNION ALL SELECT order_id, sequence, status FROM order_events \
    UNION ALL SELECT id, version - 1, previous_status FROM orders WHERE version > 2 \
    UNION ALL SELECT id, version, status FROM orders \
    ORDER BY 1, 2";

/// Every order with its events.
pub(crate) async fn read(url: &str) -> Vec<Found> {
    let mut connection = connect(url).await;
    let rows = sqlx::query(EVENTS).fetch_all(&mut connection).await.expect("the database can be read");
    let mut events: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for row in &rows {
        events.entry(id(row)).or_default().push((row.get(1), row.get(2)));
    }
    let rows = sqlx::query("SELECT id, external_reference, status, attempt, reason FROM orders")
        .fetch_all(&mut connection)
        .await
        .expect("the database can be read");
    let _ = connection.close().await;
    let found = rows.iter().map(|row| Found {
        id: id(row),
        reference: row.get(1),
        status: row.get(2),
        attempt: row.get(3),
        reason: row.get(4),
        events: events.remove(&id(row)).unwrap_or_default(),
    });
    found.collect()
}

/// The ledger against the orders of the database. `poisoned` says which creates end as failed.
pub(crate) fn check(book: &Book, orders: &[Found], poisoned: impl Fn(&str) -> bool) -> Verdict {
    let mut verdict = Verdict { wrong: book.wrong.clone(), ..Verdict::default() };
    let by_id: BTreeMap<_, _> = orders.iter().map(|order| (order.id.as_str(), order)).collect();
    for (reference, accepted) in &book.accepted {
        match by_id.get(accepted.id.as_str()) {
            Some(order) if order.reference != *reference => {
                verdict.wrong.push(format!("{reference} was told the id of {}", order.reference));
            }
            Some(order) if is_final(&order.status) => verdict.finished += 1,
            Some(order) => {
                verdict.lost += 1;
                verdict.wrong.push(format!("{reference} {} stays {}", order.id, order.status));
            }
            None => {
                verdict.lost += 1;
                verdict.wrong.push(format!("{reference} {} is not there", accepted.id));
            }
        }
    }
    let mut creates = BTreeSet::new();
    for order in orders {
        verdict.extra_attempts += (order.attempt - 1).max(0);
        verdict.wrong.extend(faults_of(book, order, poisoned(&order.reference)));
        if !creates.insert(&order.reference) {
            verdict.duplicated += 1;
            verdict.wrong.push(format!("{} has more than one order", order.reference));
        }
    }
    for id in book.watched.keys().filter(|id| !by_id.contains_key(id.as_str())) {
        verdict.wrong.push(format!("{id} was watched and is not there"));
    }
    verdict
}

fn faults_of(book: &Book, order: &Found, poisoned: bool) -> Vec<String> {
    let Found { id, reference, status, attempt, reason, events } = order;
    let mut wrong = Vec::new();
    if book.refused.contains(reference) {
        wrong.push(format!("{reference} was refused with the word that nothing was changed, and is there"));
    }
    if status != if poisoned { "failed" } else { "completed" } {
        wrong.push(format!("{reference} {id} is {status} after {attempt} attempts: {reason:?}"));
    }
    let count = i64::try_from(events.len()).expect("few");
    if !events.iter().map(|(sequence, _)| *sequence).eq(1..=count)
        || events.last().map(|(_, status)| status) != Some(status)
    {
        wrong.push(format!("{reference} {id} is {status} with the events {events:?}"));
    }
    // Each attempt has begun once; nobody went on with an attempt that was not the latest one.
    let begun = events.iter().filter(|(_, status)| status == "processing").count();
    if i64::try_from(begun) != Ok(*attempt) {
        wrong.push(format!("{reference} {id} has had {attempt} attempts but the events {events:?}"));
    }
    if let Some(seen) = book.watched.get(id).filter(|seen| *seen != events) {
        wrong.push(format!("{reference} {id} has the events {events:?}, a subscriber saw {seen:?}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::ledger::Accepted;

    fn events(statuses: &[&str]) -> Vec<(i64, String)> {
        (1..).zip(statuses).map(|(sequence, status)| (sequence, (*status).to_owned())).collect()
    }

    fn completed(id: &str, reference: &str) -> Found {
        Found {
            id: id.to_owned(),
            reference: reference.to_owned(),
            status: "completed".to_owned(),
            attempt: 1,
            reason: None,
            events: events(&["pending", "processing", "completed"]),
        }
    }

    fn book() -> Book {
        let mut book = Book::default();
        let accepted = Accepted { id: "1".to_owned(), at: Instant::now() };
        book.accepted.insert("a".to_owned(), accepted);
        book.watched.insert("1".to_owned(), completed("1", "a").events);
        book
    }

    fn checked(book: &Book, orders: &[Found]) -> Verdict {
        check(book, orders, |_| false)
    }

    #[test]
    fn what_was_promised_and_is_there_is_fine() {
        let verdict = checked(&book(), &[completed("1", "a"), completed("2", "never answered")]);
        assert_eq!((verdict.finished, verdict.lost, verdict.duplicated), (1, 0, 0));
        assert!(verdict.wrong.is_empty(), "{:?}", verdict.wrong);
    }

    #[test]
    fn an_order_that_is_missing_or_not_finished_is_lost() {
        assert_eq!(checked(&book(), &[]).lost, 1);
        let waiting = Found { status: "pending".to_owned(), ..completed("1", "a") };
        assert_eq!(checked(&book(), &[waiting]).lost, 1);
    }

    #[test]
    fn a_second_order_of_one_create_is_a_duplicate() {
        assert_eq!(checked(&book(), &[completed("1", "a"), completed("2", "a")]).duplicated, 1);
    }

    #[test]
    fn whatever_differs_from_what_was_said_is_wrong() {
        let mut refused = book();
        refused.refused.insert("b".to_owned());
        let mut gap = completed("1", "a");
        gap.events.remove(1);
        let mut unseen = book();
        unseen.watched.insert("1".to_owned(), events(&["pending", "completed"]));
        let overwritten = Found {
            events: events(&["pending", "processing", "pending", "processing", "completed"]),
            ..completed("1", "a")
        };
        let failed = Found { status: "failed".to_owned(), ..completed("1", "a") };
        for (book, orders) in [
            (refused, vec![completed("1", "a"), completed("2", "b")]),
            (book(), vec![gap]),
            (unseen, vec![completed("1", "a")]),
            (book(), vec![overwritten]),
            (book(), vec![failed]),
            (book(), vec![completed("1", "b")]),
        ] {
            assert!(!checked(&book, &orders).wrong.is_empty());
        }
    }
}
