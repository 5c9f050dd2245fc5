//! Compares the ledger with the database.

use std::collections::{BTreeMap, BTreeSet};

use domain::OrderId;
use domain::transition::UNDELIVERED;
use test_database::Database;

use super::Ledger;
use super::subscriber::is_final;

/// An order in the database.
pub(crate) struct StoredOrder {
    pub(crate) id: String,
    pub(crate) reference: String,
    pub(crate) status: String,
    pub(crate) attempt: i64,
    /// Attempts whose jobs did not reach a worker, which do not count.
    pub(crate) undelivered: i64,
    pub(crate) reason: Option<String>,
    pub(crate) events: Vec<(i64, String)>,
}

/// The result of a comparison.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) finished: usize,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) extra_attempts: i64,
    /// Descriptions of all differences.
    pub(crate) wrong: Vec<String>,
}

async fn connect(url: &str) -> Database {
    Database::connect(url).await.expect("the database can be read")
}

fn order_id(bytes: Vec<u8>) -> String {
    OrderId::from_bytes(bytes.try_into().expect("16 bytes")).to_string()
}

/// Returns the ids of the orders that are not final.
pub(crate) async fn unfinished(url: &str) -> BTreeSet<String> {
    let mut connection = connect(url).await;
    let rows = connection.rows("SELECT id FROM orders WHERE status IN ('pending', 'processing')").await;
    connection.close().await;
    let rows: Vec<(Vec<u8>,)> = rows.expect("the database can be read");
    rows.into_iter().map(|(bytes,)| order_id(bytes)).collect()
}

/// The events of all orders: the first and the two latest are in the order's row.
const EVENTS: &str = "SELECT id, 1 AS sequence, 'pending' AS status, NULL AS reason FROM orders WHERE version > 1 \
    UNION ALL SELECT order_id, sequence, status, reason FROM order_events \
    UNION ALL SELECT id, version - 1, previous_status, previous_reason FROM orders WHERE version > 2 \
    UNION ALL SELECT id, version, status, reason FROM orders \
    ORDER BY 1, 2";

/// Id, reference, status, attempt and reason of an order.
type OrderColumns = (Vec<u8>, String, String, i64, Option<String>);

/// Reads all orders with their events.
pub(crate) async fn read_orders(url: &str) -> Vec<StoredOrder> {
    let mut connection = connect(url).await;
    let rows: Vec<(Vec<u8>, i64, String, Option<String>)> =
        connection.rows(EVENTS).await.expect("the database can be read");
    let mut events: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    let mut undelivered: BTreeMap<String, i64> = BTreeMap::new();
    for (bytes, sequence, status, reason) in rows {
        let id = order_id(bytes);
        if reason.as_deref() == Some(UNDELIVERED) {
            *undelivered.entry(id.clone()).or_default() += 1;
        }
        events.entry(id).or_default().push((sequence, status));
    }
    let orders = "SELECT id, external_reference, status, attempt, reason FROM orders";
    let rows: Vec<OrderColumns> = connection.rows(orders).await.expect("the database can be read");
    connection.close().await;
    let found = rows.into_iter().map(|(bytes, reference, status, attempt, reason)| {
        let id = order_id(bytes);
        let events = events.remove(&id).unwrap_or_default();
        let undelivered = undelivered.remove(&id).unwrap_or_default();
        StoredOrder { id, reference, status, attempt, undelivered, reason, events }
    });
    found.collect()
}

/// Compares the ledger with the orders of the database. `poisoned` selects the creates that must end as failed.
pub(crate) fn check(ledger: &Ledger, orders: &[StoredOrder], poisoned: impl Fn(&str) -> bool) -> Verdict {
    let mut verdict = Verdict { wrong: ledger.wrong.clone(), ..Verdict::default() };
    let by_id: BTreeMap<_, _> = orders.iter().map(|order| (order.id.as_str(), order)).collect();
    for (reference, accepted) in &ledger.accepted {
        match by_id.get(accepted.id.as_str()) {
            Some(order) if order.reference != *reference => {
                verdict
                    .wrong
                    .push(format!("the client of {reference} received the id of {}", order.reference));
            }
            Some(order) if is_final(&order.status) => verdict.finished += 1,
            Some(order) => {
                verdict.lost += 1;
                verdict.wrong.push(format!("{reference} {} stays {}", order.id, order.status));
            }
            None => {
                verdict.lost += 1;
                verdict.wrong.push(format!("{reference} {} is missing", accepted.id));
            }
        }
    }
    let mut logged: BTreeMap<&str, Vec<(i64, String)>> = BTreeMap::new();
    for (id, sequence, status) in &ledger.logged {
        logged.entry(id).or_default().push((*sequence, status.clone()));
    }
    let mut creates = BTreeSet::new();
    for order in orders {
        let (events, logged) = (&order.events, logged.remove(order.id.as_str()).unwrap_or_default());
        if logged != *events {
            let id = &order.id;
            verdict.wrong.push(format!("{id} has the events {events:?}, the event log has {logged:?}"));
        }
        let delivered = ledger.delivered.get(&order.id).map(Vec::as_slice).unwrap_or_default();
        if let Some(difference) = undelivered(events.len(), delivered) {
            verdict.wrong.push(format!("{} at the webhook endpoint: {difference}", order.id));
        }
        verdict.extra_attempts += (order.attempt - 1).max(0);
        verdict.wrong.extend(differences(ledger, order, poisoned(&order.reference)));
        if !creates.insert(&order.reference) {
            verdict.duplicated += 1;
            verdict.wrong.push(format!("{} has more than one order", order.reference));
        }
    }
    for id in logged.keys() {
        verdict.wrong.push(format!("{id} is in the event log and is missing"));
    }
    for id in ledger.watched.keys().filter(|id| !by_id.contains_key(id.as_str())) {
        verdict.wrong.push(format!("{id} was watched and is missing"));
    }
    verdict
}

/// Compares the sequences that a webhook endpoint received with those of the order: each arrives, and none goes back. A
/// gateway that is killed repeats the latest one.
fn undelivered(count: usize, delivered: &[i64]) -> Option<String> {
    let mut sequences = delivered.to_vec();
    sequences.dedup();
    let is_complete = sequences.iter().copied().eq(1..=i64::try_from(count).expect("few"));
    (!is_complete).then(|| format!("{delivered:?} in place of 1 to {count}"))
}

fn differences(ledger: &Ledger, order: &StoredOrder, poisoned: bool) -> Vec<String> {
    let StoredOrder { id, reference, status, attempt, undelivered, reason, events } = order;
    let mut wrong = Vec::new();
    if ledger.refused.contains(reference) {
        wrong.push(format!("{reference} was rejected without a change, and exists"));
    }
    let is_cancelled = status == "cancelled" && ledger.cancelled.contains(id);
    if !is_cancelled && status != if poisoned { "failed" } else { "completed" } {
        wrong.push(format!("{reference} {id} is {status} after {attempt} attempts: {reason:?}"));
    }
    let count = i64::try_from(events.len()).expect("few");
    if !events.iter().map(|(sequence, _)| *sequence).eq(1..=count)
        || events.last().map(|(_, status)| status) != Some(status)
    {
        wrong.push(format!("{reference} {id} is {status} with the events {events:?}"));
    }
    // Each attempt has started once, and only the latest attempt was reported. One whose job did not arrive is repeated.
    let begun = events.iter().filter(|(_, status)| status == "processing").count();
    if i64::try_from(begun) != Ok(*attempt + *undelivered) {
        wrong.push(format!("{reference} {id} has had {attempt} attempts but the events {events:?}"));
    }
    if let Some(seen) = ledger.watched.get(id).filter(|seen| *seen != events) {
        wrong.push(format!("{reference} {id} has the events {events:?}, a subscriber saw {seen:?}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::ledger::Accepted;

    fn events(statuses: &[&str]) -> Vec<(i64, String)> {
        (1..).zip(statuses).map(|(sequence, status)| (sequence, (*status).to_owned())).collect()
    }

    fn completed(id: &str, reference: &str) -> StoredOrder {
        StoredOrder {
            id: id.to_owned(),
            reference: reference.to_owned(),
            status: "completed".to_owned(),
            attempt: 1,
            undelivered: 0,
            reason: None,
            events: events(&["pending", "processing", "completed"]),
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let accepted = Accepted { id: "1".to_owned(), at: Instant::now(), took: Duration::ZERO };
        ledger.accepted.insert("a".to_owned(), accepted);
        ledger.watched.insert("1".to_owned(), completed("1", "a").events);
        ledger
    }

    /// Compares with an event log that has all events.
    fn checked(mut ledger: Ledger, orders: &[StoredOrder]) -> Verdict {
        for order in orders {
            let event = |(sequence, status): &(i64, String)| (order.id.clone(), *sequence, status.clone());
            ledger.logged.extend(order.events.iter().map(event));
            let sequences = order.events.iter().map(|(sequence, _)| *sequence).collect();
            ledger.delivered.insert(order.id.clone(), sequences);
        }
        check(&ledger, orders, |_| false)
    }

    #[test]
    fn stored_orders_match_the_ledger() {
        let verdict = checked(ledger(), &[completed("1", "a"), completed("2", "without a response")]);
        assert_eq!((verdict.finished, verdict.lost, verdict.duplicated), (1, 0, 0));
        assert!(verdict.wrong.is_empty(), "{:?}", verdict.wrong);
    }

    #[test]
    fn missing_or_unfinished_order_is_lost() {
        assert_eq!(checked(ledger(), &[]).lost, 1);
        let waiting = StoredOrder { status: "pending".to_owned(), ..completed("1", "a") };
        assert_eq!(checked(ledger(), &[waiting]).lost, 1);
    }

    #[test]
    fn second_order_of_a_create_is_a_duplicate() {
        assert_eq!(checked(ledger(), &[completed("1", "a"), completed("2", "a")]).duplicated, 1);
    }

    #[test]
    fn differences_are_reported() {
        let mut refused = ledger();
        refused.refused.insert("b".to_owned());
        let mut gap = completed("1", "a");
        gap.events.remove(1);
        let mut unseen = ledger();
        unseen.watched.insert("1".to_owned(), events(&["pending", "completed"]));
        let overwritten = StoredOrder {
            events: events(&["pending", "processing", "pending", "processing", "completed"]),
            ..completed("1", "a")
        };
        let failed = StoredOrder { status: "failed".to_owned(), ..completed("1", "a") };
        let cancelled = StoredOrder {
            status: "cancelled".to_owned(),
            events: events(&["pending", "cancelled"]),
            attempt: 0,
            ..completed("1", "a")
        };
        for (ledger, orders) in [
            (refused, vec![completed("1", "a"), completed("2", "b")]),
            (ledger(), vec![gap]),
            (unseen, vec![completed("1", "a")]),
            (ledger(), vec![overwritten]),
            (ledger(), vec![failed]),
            (Ledger { watched: BTreeMap::new(), ..ledger() }, vec![cancelled]),
            (ledger(), vec![completed("1", "b")]),
        ] {
            assert!(!checked(ledger, &orders).wrong.is_empty());
        }
    }

    #[test]
    fn an_order_ends_as_cancelled_only_after_a_request() {
        let order = |status: &str| StoredOrder {
            status: status.to_owned(),
            events: events(&["pending", "processing", status]),
            ..completed("1", "a")
        };
        let requested =
            || Ledger { cancelled: ["1".to_owned()].into(), watched: BTreeMap::new(), ..ledger() };
        for status in ["cancelled", "completed"] {
            let verdict = checked(requested(), &[order(status)]);
            assert!(verdict.wrong.is_empty(), "{:?}", verdict.wrong);
        }
        assert_eq!(checked(requested(), &[order("failed")]).wrong.len(), 1);
    }

    #[test]
    fn the_event_log_has_each_event_once_and_in_order() {
        let order = || [completed("1", "a")];
        let all: Vec<_> =
            order()[0].events.iter().map(|(n, status)| ("1".to_owned(), *n, status.clone())).collect();
        let found = |logged: &[usize]| {
            let logged = logged.iter().map(|n| all[*n].clone()).collect();
            let delivered = [("1".to_owned(), vec![1, 2, 3])].into();
            check(&Ledger { logged, delivered, ..ledger() }, &order(), |_| false).wrong.len()
        };
        assert_eq!(found(&[0, 1, 2]), 0);
        for logged in [&[][..], &[0, 1], &[0, 2], &[1, 0, 2], &[0, 1, 1, 2]] {
            assert_eq!(found(logged), 1, "{logged:?}");
        }
        let unknown = Ledger { logged: vec![("2".to_owned(), 1, "pending".to_owned())], ..Ledger::default() };
        assert_eq!(check(&unknown, &[], |_| false).wrong.len(), 1);
    }

    #[test]
    fn a_webhook_endpoint_has_each_event_and_none_goes_back() {
        for delivered in [&[1, 2, 3][..], &[1, 1, 2, 3, 3]] {
            assert_eq!(undelivered(3, delivered), None);
        }
        for delivered in [&[][..], &[1, 2], &[1, 3], &[1, 2, 1, 2, 3], &[2, 1, 3], &[1, 2, 3, 4]] {
            assert!(undelivered(3, delivered).is_some(), "{delivered:?}");
        }
    }
}
