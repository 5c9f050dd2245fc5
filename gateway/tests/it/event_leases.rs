//! The lease of a named reader of the event log, and the metadata of its commits.

use std::time::{Duration, Instant};

use gateway::Config;
use proto::v1;
use serde_json::json;
use test_database::Database;

use crate::event_calls::{Client, after, numbered, of_reader, read, shown};
use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

const FIRST: &str = "00000000000000aa";
const SECOND: &str = "00000000000000bb";
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A read that takes the lease for the default time.
fn held_by(holder: &str) -> v1::ReadEventsRequest {
    v1::ReadEventsRequest { holder: holder.to_owned(), ..of_reader("billing") }
}

fn short(holder: &str) -> v1::ReadEventsRequest {
    v1::ReadEventsRequest { lease_ms: 1_000, ..held_by(holder) }
}

/// Waits until the process has a short lease.
async fn taken(client: &Client, holder: &str) -> v1::ReadEventsResponse {
    eventually("the lease", async || client.clone().read(short(holder)).await.ok()).await.into_inner()
}

/// A commit that keeps the cursor.
fn renewal(holder: &str) -> v1::CommitRequest {
    let (reader, holder) = ("billing".to_owned(), holder.to_owned());
    v1::CommitRequest { reader, holder, ..v1::CommitRequest::default() }
}

async fn commit(client: &mut Client, request: v1::CommitRequest) -> Result<(), tonic::Status> {
    client.commit(request).await.map(drop)
}

async fn create(gateway: &Gateway<'_>) {
    gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})).await;
}

/// Asserts that another process has the lease, and returns how long.
fn leased<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> Duration {
    let (code, word, wait) = shown(&result.expect_err("another process has the lease"), PUSHBACK);
    assert_eq!((code, word.as_str()), (tonic::Code::FailedPrecondition, "reader_leased"));
    Duration::from_millis(wait.parse().expect("milliseconds"))
}

fn stale<T: std::fmt::Debug>(result: Result<T, tonic::Status>) {
    let (code, word, _) = shown(&result.expect_err("the lease is stale"), "");
    assert_eq!((code, word.as_str()), (tonic::Code::FailedPrecondition, "stale_reader_lease"));
}

on_both!(one_process_at_a_time_has_the_lease, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let other = backend.gateway(Config::default()).await;
    let (mut client, mut elsewhere) = (gateway.events().await, other.events().await);
    for _ in 0..2 {
        create(&gateway).await;
    }
    let every = numbered(&mut client, 2).await;
    let start = read(&mut client, of_reader("billing")).await;
    assert_eq!((start.committed.as_str(), &start.events), ("", &every.events));
    let page = read(&mut client, held_by(FIRST)).await;
    assert_eq!((&page.events, &page.next, page.metadata.as_str()), (&every.events, &every.next, ""));
    // Another process waits; one without a lease can read, and neither commit nor remove the reader.
    let left = leased(elsewhere.read(held_by(SECOND)).await);
    assert!(left > Duration::from_secs(20) && left <= Duration::from_secs(30), "{left:?}");
    stale(commit(&mut elsewhere, renewal(SECOND)).await);
    let cursor = every.events[0].cursor.clone();
    let without = v1::CommitRequest { cursor: cursor.clone(), ..renewal("") };
    leased(commit(&mut elsewhere, without.clone()).await);
    leased(elsewhere.remove_reader(v1::RemoveReaderRequest { reader: "billing".to_owned() }).await);
    assert_eq!(read(&mut elsewhere, of_reader("billing")).await.events, every.events);
    // The holder commits, also over another gateway. A commit without metadata or cursor keeps them.
    let metadata = Some("sending 1".to_owned());
    let first = v1::CommitRequest { cursor: cursor.clone(), metadata, ..renewal(FIRST) };
    commit(&mut elsewhere, first).await.unwrap();
    commit(&mut client, renewal(FIRST)).await.unwrap();
    let page = read(&mut client, held_by(FIRST)).await;
    assert_eq!((page.metadata.as_str(), page.committed.as_str()), ("sending 1", cursor.as_str()));
    assert_eq!(page.events, every.events[1..]);
    // The end of the lease lets another process continue, and shuts the first one out.
    commit(&mut client, v1::CommitRequest { release: true, ..renewal(FIRST) }).await.unwrap();
    stale(commit(&mut client, renewal(FIRST)).await);
    let page = read(&mut elsewhere, held_by(SECOND)).await;
    assert_eq!((page.metadata.as_str(), page.events.as_slice()), ("sending 1", &every.events[1..]));
    leased(client.read(held_by(FIRST)).await);
    let empty = Some(String::new());
    let last =
        v1::CommitRequest { cursor: every.next.clone(), metadata: empty, release: true, ..renewal(SECOND) };
    commit(&mut elsewhere, last).await.unwrap();
    let page = read(&mut client, of_reader("billing")).await;
    assert_eq!((page.metadata.as_str(), &page.committed), ("", &every.next));
    commit(&mut client, v1::CommitRequest { rewind: true, ..without }).await.unwrap();
    other.stop().await;
    gateway.stop().await;
});

on_both!(a_lease_ends_without_a_renewal, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    create(&gateway).await;
    let next = numbered(&mut client, 1).await.next;
    read(&mut client, short(FIRST)).await;
    assert_eq!(taken(&client, SECOND).await.next, next);
    stale(commit(&mut client, renewal(FIRST)).await);
    // A renewal after the end succeeds, because no other process was there.
    commit(&mut client, v1::CommitRequest { cursor: next.clone(), lease_ms: 1_000, ..renewal(SECOND) })
        .await
        .unwrap();
    let ended = &client.clone();
    eventually("the end of the lease", async || {
        let mut connection = Database::connect(backend.url()).await.unwrap();
        let now = backend.store.now().as_micros();
        let live = format!("UPDATE event_readers SET changed_at = changed_at WHERE held_until > {now}");
        (connection.run(live).await.unwrap() == 0).then_some(())
    })
    .await;
    commit(&mut client, v1::CommitRequest { lease_ms: 1_000, ..renewal(SECOND) }).await.unwrap();
    // A commit without a lease after the end shuts the holder out.
    let (reader, cursor) = ("billing".to_owned(), next);
    let without = &v1::CommitRequest { reader, cursor, ..v1::CommitRequest::default() };
    eventually("the end of the lease", async || ended.clone().commit(without.clone()).await.ok()).await;
    stale(commit(&mut client, renewal(SECOND)).await);
    gateway.stop().await;
});

on_both!(a_lease_of_a_clock_that_was_set_back_ends, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    read(&mut client, short(FIRST)).await;
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let day = 86_400_000_000_i64;
    let shift = format!(
        "UPDATE event_readers SET changed_at = changed_at + {day}, held_until = held_until + {day} \
         WHERE name = 'billing'"
    );
    connection.run(shift).await.unwrap();
    assert!(leased(client.read(short(SECOND)).await) <= Duration::from_secs(1));
    taken(&client, SECOND).await;
    gateway.stop().await;
});

on_both!(a_new_reader_can_begin_at_the_end, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    create(&gateway).await;
    let next = numbered(&mut client, 1).await.next;
    let at_end = v1::ReadEventsRequest { new_at_end: true, ..held_by(FIRST) };
    let page = read(&mut client, at_end.clone()).await;
    assert_eq!((page.events.len(), &page.next, &page.committed), (0, &next, &next));
    create(&gateway).await;
    let every = numbered(&mut client, 2).await;
    // The reader exists now.
    assert_eq!(read(&mut client, at_end).await.events, every.events[1..]);
    gateway.stop().await;
});

on_both!(a_wait_is_shorter_than_the_lease, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    let begin = Instant::now();
    let request = v1::ReadEventsRequest { lease_ms: 1_500, wait_ms: 55_000, ..held_by(FIRST) };
    assert_eq!(read(&mut client, request).await.events, []);
    assert!(begin.elapsed() >= Duration::from_millis(500));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    gateway.stop().await;
});

on_both!(invalid_leases_are_refused, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    let holder = FIRST.to_owned();
    for (request, name) in [
        (held_by("billing"), "holder"),
        (v1::ReadEventsRequest { holder, ..after("") }, "holder"),
        (v1::ReadEventsRequest { lease_ms: 999, ..held_by(FIRST) }, "lease_ms"),
        (v1::ReadEventsRequest { lease_ms: 600_001, ..held_by(FIRST) }, "lease_ms"),
    ] {
        let error = client.read(request).await.unwrap_err();
        assert!(error.message().starts_with(name), "{error}");
        assert_eq!(shown(&error, "").1, "invalid_input");
    }
    for (request, name) in [
        (renewal(""), "cursor"),
        (renewal("0"), "holder"),
        (v1::CommitRequest { metadata: Some("x".repeat(1_025)), ..renewal(FIRST) }, "metadata"),
    ] {
        let error = commit(&mut client, request).await.unwrap_err();
        assert!(error.message().starts_with(name), "{error}");
    }
    read(&mut client, held_by(FIRST)).await;
    let longest = v1::CommitRequest { metadata: Some("ä".repeat(512)), ..renewal(FIRST) };
    commit(&mut client, longest).await.unwrap();
    gateway.stop().await;
});
