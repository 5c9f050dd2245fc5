//! The event log has every committed event once, without gaps, and the events of an order in their sequence.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use domain::event_codec::encode_events;
use domain::transition::{Command, Rules};
use domain::{Draft, LeaseToken, OrderEvent, OrderId, Outcome, Principal, Status, TenantId};
use gateway::Store;
use gateway::store::{LogEnds, LogPage, LogRetention, LoggedEvent, NewOrder, Options};
use rand::Rng;
use sqlx::{Connection, MySqlConnection};

use crate::defective_rows::damage;
use crate::harness::{Backend, On, eventually};
use crate::lost_commits::{LOSE_ANSWER, LOSE_COMMIT, Way};
use crate::on_both;

pub(crate) async fn insert(store: &Store, count: usize) -> Vec<OrderId> {
    let now = store.now();
    let draft = Draft {
        item: Some("Laptop".into()),
        quantity: Some(1),
        price: Some("1.00".into()),
        ..Draft::default()
    };
    let content = draft.check(domain::Currency::USD).unwrap();
    let ids = OrderId::new(now).consecutive(count);
    let orders = ids.iter().map(|id| NewOrder::new(*id, TenantId::default(), content.clone(), now).into());
    store.insert(orders.collect()).await.unwrap();
    ids
}

async fn apply(store: &Store, ids: &[OrderId], command: impl Fn() -> Command) {
    store.apply(ids.iter().map(|id| (*id, command())).collect(), Rules::default()).await.unwrap();
}

/// Numbers all events that are committed.
pub(crate) async fn number(store: &Store) -> LogEnds {
    loop {
        let numbered = store.number_events().await.unwrap();
        if !numbered.more {
            return numbered.ends;
        }
    }
}

/// Reads everything after a position, and checks that the positions have no gaps.
pub(crate) async fn read(store: &Store, mut after: u64) -> Vec<LoggedEvent> {
    let mut all = Vec::new();
    loop {
        let LogPage::Events(events) = store.read_event_log(after).await.unwrap() else {
            panic!("{after} has expired");
        };
        let Some(last) = events.last() else { return all };
        let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
        assert_eq!(positions, (after + 1..=last.position).collect::<Vec<_>>(), "there are gaps");
        after = last.position;
        all.extend(events);
    }
}

/// Checks that the events of each order have the sequences 1, 2, 3 …, and returns their numbers.
fn sequences(events: &[LoggedEvent]) -> HashMap<OrderId, u32> {
    let mut last = HashMap::new();
    for LoggedEvent { position, event } in events {
        let before = last.insert(event.order_id, event.sequence).unwrap_or(0);
        assert_eq!(event.sequence, before + 1, "{} at position {position}", event.order_id);
    }
    last
}

on_both!(every_event_is_in_the_log, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let ids = insert(store, 3).await;
    let lease = LeaseToken::random();
    apply(store, &ids[..2], || Command::start(lease)).await;
    let failed = || Command::Finish { lease, outcome: Outcome::failed("no carrier") };
    apply(store, &ids[..1], failed).await;
    apply(store, &ids[2..], || Command::Cancel { reason: Some("late".into()), requester: None }).await;
    // Commands without an effect and heartbeats are no events.
    apply(store, &ids[..1], failed).await;
    apply(store, &ids[1..2], || Command::Heartbeat { lease }).await;

    assert!(store.has_unnumbered_events().await.unwrap());
    assert_eq!(store.read_event_log(0).await.unwrap(), LogPage::Events(Vec::new()), "nothing is numbered");
    let numbered = store.number_events().await.unwrap();
    assert_eq!((numbered.events, numbered.more, numbered.ends.next), (7, false, 8));
    assert!(numbered.ends.bytes > 7 * 40 && numbered.oldest.unwrap() <= store.now());
    assert!(!store.has_unnumbered_events().await.unwrap());
    assert_eq!(store.event_log_ends().await.unwrap(), numbered.ends);

    let logged = read(store, 0).await;
    sequences(&logged);
    for id in &ids {
        let timeline = store.events_after(&Principal::anonymous(), &[(*id, 0)]).await.unwrap();
        let of_order = logged.iter().filter(|logged| logged.event.order_id == *id);
        let of_order: Vec<Arc<OrderEvent>> = of_order.map(|logged| logged.event.clone()).collect();
        assert_eq!(of_order, timeline);
    }
    for after in 0..=7 {
        assert_eq!(read(store, after).await, logged[after as usize..]);
    }
    assert_eq!(store.read_event_log(8).await.unwrap(), LogPage::Expired(1), "it has no such position");
    assert_eq!(store.read_event_log(u64::MAX).await.unwrap(), LogPage::Expired(1));
});

on_both!(a_large_transaction_is_several_rows, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend.store, 1_201).await;
    assert_eq!(number(&backend.store).await.next, 1_202);
    let logged: Vec<OrderId> =
        read(&backend.store, 0).await.iter().map(|logged| logged.event.order_id).collect();
    assert_eq!(logged, ids);
    assert_eq!(read(&backend.store, 700).await.len(), 501);
});

on_both!(old_events_are_removed_by_age_and_by_bytes, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    for _ in 0..10 {
        insert(store, 2).await;
    }
    let ends = number(store).await;
    let unlimited = LogRetention { age: None, bytes: None };
    let young = LogRetention { age: Some(Duration::from_secs(3_600)), bytes: Some(ends.bytes) };
    for retention in [unlimited, young] {
        assert!(!store.trim_event_log(retention).await.unwrap());
        assert_eq!(store.event_log_ends().await.unwrap(), ends);
    }
    // Half of the bytes: whole rows, the oldest ones.
    let half = LogRetention { age: None, bytes: Some(ends.bytes / 2) };
    assert!(!store.trim_event_log(half).await.unwrap());
    let left = store.event_log_ends().await.unwrap();
    assert_eq!((left.first, left.next, left.bytes), (11, 21, ends.bytes / 2));
    for after in 0..10 {
        assert_eq!(store.read_event_log(after).await.unwrap(), LogPage::Expired(11), "{after}");
    }
    assert_eq!(read(store, 10).await.len(), 10);
    // An event that is not numbered yet is kept, also if it is old.
    let [late] = insert(store, 1).await[..] else { unreachable!() };
    let all = LogRetention { age: Some(Duration::ZERO), bytes: None };
    eventually("the clock to advance", || async {
        store.trim_event_log(all).await.unwrap();
        (store.event_log_ends().await.unwrap().first == 21).then_some(())
    })
    .await;
    assert_eq!(store.read_event_log(19).await.unwrap(), LogPage::Expired(21));
    assert_eq!(store.read_event_log(20).await.unwrap(), LogPage::Events(Vec::new()));
    number(store).await;
    assert_eq!(read(store, 20).await[0].event.order_id, late);
});

on_both!(a_row_that_cannot_be_read_is_a_gap_that_readers_learn_of, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    for _ in 0..3 {
        insert(store, 2).await;
        number(store).await;
    }
    let mut database = damage(&backend, on).await;
    let payload = "UPDATE event_log SET payload = x'02ff' WHERE position = 3";
    assert_eq!(database.run(payload).await.unwrap(), 1);
    let LogPage::Events(before) = store.read_event_log(0).await.unwrap() else { panic!("it can be read") };
    assert_eq!(before.last().unwrap().position, 2);
    assert_eq!(store.read_event_log(2).await.unwrap(), LogPage::Expired(5));
    assert_eq!(read(store, 4).await.len(), 2);
    // A row that cannot be numbered does not stop the others.
    insert(store, 1).await;
    database.run("UPDATE event_log SET events = -1 WHERE position IS NULL").await.unwrap();
    insert(store, 2).await;
    assert_eq!(number(store).await.next, 9);
    assert_eq!(read(store, 6).await.len(), 2);
});

on_both!(without_the_log_nothing_is_written, |on| async move {
    let (url, _folder) = Backend::empty_database(on).await;
    let store = Store::connect(&url, &Options { event_log: false, ..Options::default() }).await.unwrap();
    store.migrate().await.unwrap();
    let ids = insert(&store, 2).await;
    apply(&store, &ids, || Command::start(LeaseToken::random())).await;
    assert!(!store.has_unnumbered_events().await.unwrap());
    store.close().await;
});

on_both!(the_doctor_finds_damaged_rows_and_gaps, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    for _ in 0..5 {
        insert(store, 2).await;
    }
    let unnumbered = store.inspect_event_log(|_| {}).await.unwrap();
    assert_eq!((unnumbered.unnumbered, unnumbered.damages.len()), (5, 0));
    let ends = number(store).await;
    let mut progress = Vec::new();
    let report = store.inspect_event_log(|position| progress.push(position)).await.unwrap();
    assert_eq!((report.ends, report.unnumbered, report.damages), (ends, 0, Vec::new()));
    assert_eq!(progress, [11]);
    let mut database = damage(&backend, on).await;
    database.run("UPDATE event_log SET payload = x'02ff' WHERE position = 3").await.unwrap();
    database.run("DELETE FROM event_log WHERE position = 7").await.unwrap();
    let damages = store.inspect_event_log(|_| {}).await.unwrap().damages;
    assert!(damages.len() == 2 && damages[0].contains("position 3"), "{damages:?}");
    assert_eq!(damages[1], "positions 7 to 8 are missing");
    database.run("DELETE FROM event_log WHERE position = 9").await.unwrap();
    let damages = store.inspect_event_log(|_| {}).await.unwrap().damages;
    assert_eq!(damages[1], "positions 7 to 10 are missing");
});

/// Numbers events until `stop`, as a gateway does, and counts the failed passes.
async fn number_until(store: Store, stop: Arc<AtomicBool>) -> usize {
    let mut failures = 0;
    while !stop.load(Ordering::SeqCst) {
        match store.number_events().await {
            Ok(_) => tokio::task::yield_now().await,
            Err(_) => failures += 1,
        }
    }
    failures
}

/// Reads from the begin until `stop` and the end of the log, as a client does.
async fn follow(store: Store, stop: Arc<AtomicBool>) -> Vec<LoggedEvent> {
    let mut all: Vec<LoggedEvent> = Vec::new();
    loop {
        let is_last = stop.load(Ordering::SeqCst);
        let new = read(&store, all.len() as u64).await;
        if is_last && new.is_empty() {
            return all;
        }
        all.extend(new);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

on_both!(concurrent_writers_numberings_and_a_reader_agree, |on| async move {
    let backend = Backend::new(on).await;
    let stop = Arc::new(AtomicBool::new(false));
    let second = match on {
        On::Embedded => backend.store.clone(),
        On::Servers => Store::connect(backend.url(), &Options::default()).await.unwrap(),
    };
    let numbering =
        [backend.store.clone(), second.clone()].map(|store| tokio::spawn(number_until(store, stop.clone())));
    let reader = tokio::spawn(follow(second.clone(), stop.clone()));
    let writers = (0..8).map(|n| {
        let store = if n % 2 == 0 { backend.store.clone() } else { second.clone() };
        tokio::spawn(async move {
            let mut all = Vec::new();
            for _ in 0..20 {
                let ids = insert(&store, 5).await;
                let lease = LeaseToken::random();
                apply(&store, &ids, || Command::start(lease)).await;
                apply(&store, &ids, || Command::Finish { lease, outcome: Outcome::Completed }).await;
                all.extend(ids);
            }
            all
        })
    });
    let mut ids = HashSet::new();
    for writer in futures_util::future::join_all(writers).await {
        ids.extend(writer.unwrap());
    }
    let expected = ids.len() as u64 * 3;
    eventually("all events to be numbered", || async {
        (backend.store.event_log_ends().await.unwrap().next == expected + 1).then_some(())
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    for numbering in numbering {
        numbering.await.unwrap();
    }
    let last = sequences(&reader.await.unwrap());
    assert_eq!(last.keys().copied().collect::<HashSet<_>>(), ids);
    assert!(last.values().all(|sequence| *sequence == 3));
});

/// An event of an order that exists in the log only.
fn event(order_id: OrderId, sequence: u32) -> OrderEvent {
    OrderEvent {
        order_id,
        tenant_id: TenantId::default(),
        sequence,
        status: Status::Pending,
        previous_status: None,
        attempt: 0,
        reason: None,
        error_class: None,
        worker: None,
        occurred_at: domain::Timestamp::from_micros(1),
    }
}

/// Writes transactions with several rows, of which a third stalls before COMMIT and a part is rolled back. Returns the
/// number of committed events of its order.
async fn write_with_stalls(url: String, order: OrderId, transactions: u32) -> u32 {
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let mut sequence = 0;
    for _ in 0..transactions {
        let (rows, stall, is_rolled_back) = {
            let mut rng = rand::rng();
            (rng.random_range(1..4), rng.random_range(0..60_u64), rng.random_range(0..100) < 3)
        };
        let mut transaction = connection.begin().await.unwrap();
        let mut next = sequence;
        for _ in 0..rows {
            next += 1;
            let payload = [&[2], &encode_events(&[Arc::new(event(order, next))])[..]].concat();
            let insert = "INSERT INTO event_log (events, created_at, payload) VALUES (1, 1, ?)";
            sqlx::query(insert).bind(payload).execute(&mut *transaction).await.unwrap();
        }
        if stall < 20 {
            tokio::time::sleep(Duration::from_millis(stall)).await;
        }
        if is_rolled_back {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            sequence = next;
        }
    }
    sequence
}

/// A reader of automatic ids would miss the events of the transactions that stall. Connections of the gateway that numbers
/// break between its UPDATE and its COMMIT, and after the COMMIT.
#[tokio::test(flavor = "multi_thread")]
async fn stalled_commits_and_broken_numbering_leave_no_gap() {
    let backend = Backend::new(On::Servers).await;
    let stop = Arc::new(AtomicBool::new(false));
    let way = Way::to(backend.url()).await;
    let breaking = Store::connect(&way.url, &Options::default()).await.unwrap();
    let numbering =
        [backend.store.clone(), breaking].map(|store| tokio::spawn(number_until(store, stop.clone())));
    let cuts = tokio::spawn({
        let (mode, stop) = (way.mode.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                for cut in [LOSE_COMMIT, LOSE_ANSWER] {
                    mode.store(cut, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
            }
        }
    });
    let reader = tokio::spawn(follow(backend.store.clone(), stop.clone()));
    let written = Arc::new(AtomicUsize::new(0));
    let writers = (0..8_u8).map(|n| {
        let (url, written) = (backend.url().to_owned(), written.clone());
        tokio::spawn(async move {
            let order = OrderId::from_bytes([n; 16]);
            let last = write_with_stalls(url, order, 150).await;
            written.fetch_add(last as usize, Ordering::SeqCst);
            (order, last)
        })
    });
    let writers = futures_util::future::join_all(writers).await;
    let expected: HashMap<OrderId, u32> = writers.into_iter().map(Result::unwrap).collect();
    let all = written.load(Ordering::SeqCst) as u64;
    eventually("all events to be numbered", || async {
        (backend.store.event_log_ends().await.unwrap().next == all + 1).then_some(())
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    cuts.await.unwrap();
    for numbering in numbering {
        numbering.await.unwrap();
    }
    assert_eq!(sequences(&reader.await.unwrap()), expected);
    assert!(way.lost.load(Ordering::SeqCst) > 10, "{} connections broke", way.lost.load(Ordering::SeqCst));
}
