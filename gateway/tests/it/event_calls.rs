//! The event log over gRPC: the bytes of REST, filters, waits, errors, and named readers.

use std::time::Duration;

use domain::{Limits, Principal, Scope, Scopes};
use gateway::Config;
use gateway::store::{LogRetention, MAX_EVENT_READERS, Options, ReaderChange, ReaderCommit, Store};
use proto::v1;
use proto::v1::events_client::EventsClient;
use serde_json::json;
use tonic::transport::Channel;

use crate::access::{key, with_keys};
use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;
use crate::quotas::tenant;

pub(crate) type Client = EventsClient<Channel>;

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn after(cursor: &str) -> v1::ReadEventsRequest {
    v1::ReadEventsRequest { after: cursor.to_owned(), ..v1::ReadEventsRequest::default() }
}

pub(crate) fn of_reader(name: &str) -> v1::ReadEventsRequest {
    v1::ReadEventsRequest { reader: name.to_owned(), ..v1::ReadEventsRequest::default() }
}

pub(crate) async fn read(client: &mut Client, request: v1::ReadEventsRequest) -> v1::ReadEventsResponse {
    client.read(request).await.unwrap().into_inner()
}

async fn commit(client: &mut Client, reader: &str, cursor: &str, rewind: bool) -> Result<(), tonic::Status> {
    let (reader, cursor) = (reader.to_owned(), cursor.to_owned());
    let request = v1::CommitRequest { reader, cursor, rewind, ..v1::CommitRequest::default() };
    client.commit(request).await.map(drop)
}

/// The status code, the error code, and the value of a metadata key.
pub(crate) fn shown(error: &tonic::Status, name: &str) -> (tonic::Code, String, String) {
    let metadata = |name| error.metadata().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    (error.code(), metadata(proto::ERROR_METADATA), metadata(name))
}

/// Waits until the log has numbered this number of events, and returns all.
pub(crate) async fn numbered(client: &mut Client, count: usize) -> v1::ReadEventsResponse {
    let client = &client.clone();
    eventually("numbered events", async || {
        let page = read(&mut client.clone(), after("")).await;
        (page.events.len() == count).then_some(page)
    })
    .await
}

async fn create(gateway: &Gateway<'_>, customer: &str, currency: &str) -> String {
    let order = json!({"item": "Tea", "quantity": 1, "price": 1, "customer": customer, "currency": currency});
    gateway.create(order).await
}

on_both!(events_have_the_ids_and_bytes_of_rest, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    for (customer, currency) in [("ann", "USD"), ("bob", "EUR"), ("ann", "EUR")] {
        let id = create(&gateway, customer, currency).await;
        gateway.client.post(gateway.url(&format!("/orders/{id}/cancel"))).send().await.unwrap();
    }
    let every = numbered(&mut client, 6).await;
    let response = gateway.client.get(gateway.url("/events")).send().await.unwrap().text().await.unwrap();
    let events: Vec<&str> = every.events.iter().map(|event| event.json.as_str()).collect();
    assert_eq!(response, format!(r#"{{"events":[{}],"next":"{}"}}"#, events.join(","), every.next));
    for event in &every.events {
        let json: serde_json::Value = serde_json::from_str(&event.json).unwrap();
        assert_eq!((&json["id"], &json["type"]), (&json!(event.id), &json!(event.r#type)));
    }
    // Pages continue after `next` and after the cursor of an event.
    let two = read(&mut client, v1::ReadEventsRequest { limit: 2, ..after("") }).await;
    assert_eq!((two.events.as_slice(), &two.next), (&every.events[..2], &every.events[1].cursor));
    assert_eq!(read(&mut client, after(&two.next)).await.events, every.events[2..]);
    let end = v1::ReadEventsResponse { next: every.next.clone(), ..v1::ReadEventsResponse::default() };
    assert_eq!(read(&mut client, after(&every.next)).await, end);
    for (types, customer, currency, positions) in [
        (&["order.*"][..], "", "", &[0, 1, 2, 3, 4, 5][..]),
        (&["order.cancelled", "order.failed"], "", "", &[1, 3, 5]),
        (&[], "ann", "EUR", &[4, 5]),
        (&["order.created"], "eve", "", &[]),
    ] {
        let (types, customer, currency) =
            (types.iter().map(|name| (*name).to_owned()).collect(), customer.to_owned(), currency.to_owned());
        let page = read(&mut client, v1::ReadEventsRequest { types, customer, currency, ..after("") }).await;
        let expected: Vec<v1::LogEvent> = positions.iter().map(|n| every.events[*n].clone()).collect();
        assert_eq!(page, v1::ReadEventsResponse { events: expected, ..every.clone() });
    }
    gateway.stop().await;
});

on_both!(a_call_waits_for_events_of_every_gateway, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let other = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    for creating in [&gateway, &other] {
        let next = read(&mut client, after("")).await.next;
        let request = v1::ReadEventsRequest { wait_ms: 30_000, ..after(&next) };
        let (page, id) = tokio::join!(read(&mut client, request), create(creating, "ann", "USD"));
        let ids: Vec<&str> = page.events.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids, [format!("{id}-1")]);
    }
    let next = read(&mut client, after("")).await.next;
    let page = read(&mut client, v1::ReadEventsRequest { wait_ms: 100, ..after(&next) }).await;
    assert_eq!((page.events.len(), page.next), (0, next));
    other.stop().await;
    gateway.stop().await;
});

on_both!(a_waiting_call_ends_with_its_key, |on| async move {
    gateway::metrics::install();
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let [of_monitoring, issued] =
        [Scope::MetricsRead, Scope::EventsRead].map(|scope| key(&backend, Scopes::of(&[scope]), DAY));
    let (of_monitoring, issued) = tokio::join!(of_monitoring, issued);
    let mut request = tonic::Request::new(v1::ReadEventsRequest { wait_ms: 55_000, ..after("") });
    let bearer = format!("Bearer {}", issued.key.expose());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let mut client = gateway.events().await;
    let waiting = tokio::spawn(async move { client.read(request).await });
    eventually("the wait", async || {
        let request = gateway.client.get(gateway.url("/metrics")).bearer_auth(of_monitoring.key.expose());
        let metrics = request.send().await.ok()?.text().await.ok()?;
        let is_open = |line: &str| line.contains(r#"kind="read_events""#) && !line.ends_with(" 0");
        metrics.lines().any(is_open).then_some(())
    })
    .await;
    gateway::access::revoke(&backend.store, &Principal::anonymous(), &issued.stored.id, None).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unauthenticated, "{error}");
    gateway.stop().await;
});

on_both!(invalid_calls_of_the_event_log_are_refused, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    create(&gateway, "ann", "USD").await;
    let next = numbered(&mut client, 1).await.next;
    for (request, name) in [
        (after("7"), "after"),
        (v1::ReadEventsRequest { limit: 1_001, ..after("") }, "limit"),
        (v1::ReadEventsRequest { wait_ms: 55_001, ..after("") }, "wait_ms"),
        (v1::ReadEventsRequest { types: vec!["order.paid".to_owned()], ..after("") }, "types"),
        (v1::ReadEventsRequest { currency: "dollars".to_owned(), ..after("") }, "currency"),
        (of_reader("a b"), "reader"),
        (v1::ReadEventsRequest { reader: "x".to_owned(), ..after(&next) }, "reader"),
    ] {
        let error = client.read(request).await.unwrap_err();
        let (code, word, _) = shown(&error, "");
        assert_eq!((code, word.as_str()), (tonic::Code::InvalidArgument, "invalid_input"), "{error}");
        assert!(error.message().starts_with(name), "{error}");
    }
    for (reader, cursor, name) in [("", next.as_str(), "reader"), ("x", "", "cursor"), ("x", "7", "cursor")] {
        let error = commit(&mut client, reader, cursor, false).await.unwrap_err();
        assert!(error.message().starts_with(name), "{error}");
    }
    // A cursor of another database; the metadata has the oldest cursor of this one.
    let other = Backend::new(on).await;
    let elsewhere = other.gateway(Config::default()).await;
    let mut of_other = elsewhere.events().await;
    let oldest = read(&mut of_other, after("")).await.next;
    let expired = (tonic::Code::OutOfRange, "cursor_expired".to_owned(), oldest);
    let error = of_other.read(after(&next)).await.unwrap_err();
    assert_eq!(shown(&error, proto::OLDEST_CURSOR_METADATA), expired);
    let error = commit(&mut of_other, "x", &next, true).await.unwrap_err();
    assert_eq!(shown(&error, proto::OLDEST_CURSOR_METADATA), expired);
    elsewhere.stop().await;
    // A gateway without the log.
    let (url, _folder) = Backend::empty_database(on).await;
    let store = Store::connect(&url, &Options { event_log: false, ..Options::default() }).await.unwrap();
    store.migrate().await.unwrap();
    let without = other.gateway_with(store, Config::default()).await;
    let mut client = without.events().await;
    let disabled = (tonic::Code::FailedPrecondition, "event_log_disabled".to_owned(), String::new());
    assert_eq!(shown(&client.read(after("")).await.unwrap_err(), ""), disabled);
    assert_eq!(shown(&client.read(of_reader("x")).await.unwrap_err(), ""), disabled);
    assert_eq!(shown(&commit(&mut client, "x", &next, false).await.unwrap_err(), ""), disabled);
    without.stop().await;
    gateway.stop().await;
});

on_both!(a_named_reader_continues_after_its_committed_cursor, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    for _ in 0..3 {
        create(&gateway, "ann", "USD").await;
    }
    let every = numbered(&mut client, 3).await;
    let cursors: Vec<&str> = every.events.iter().map(|event| event.cursor.as_str()).collect();
    // Before its first commit, a reader begins with the oldest event.
    assert_eq!(read(&mut client, of_reader("billing")).await, every);
    commit(&mut client, "billing", cursors[1], false).await.unwrap();
    assert_eq!(read(&mut client, of_reader("billing")).await.committed, cursors[1]);
    let other = backend.gateway(Config::default()).await;
    assert_eq!(read(&mut other.events().await, of_reader("billing")).await.events, every.events[2..]);
    // Names are compared byte by byte.
    for name in ["Billing", "billin", "billing2"] {
        assert_eq!(read(&mut client, of_reader(name)).await, every, "{name}");
    }
    // The same cursor is repeated, and an earlier one needs `rewind`.
    commit(&mut client, "billing", cursors[1], false).await.unwrap();
    let error = commit(&mut client, "billing", cursors[0], false).await.unwrap_err();
    let behind = (tonic::Code::FailedPrecondition, "reader_behind".to_owned(), cursors[1].to_owned());
    assert_eq!(shown(&error, proto::COMMITTED_CURSOR_METADATA), behind);
    assert_eq!(read(&mut client, of_reader("billing")).await.events, every.events[2..]);
    commit(&mut client, "billing", cursors[0], true).await.unwrap();
    assert_eq!(read(&mut client, of_reader("billing")).await.events, every.events[1..]);
    commit(&mut client, "billing", &every.next, false).await.unwrap();
    // A reader whose cursor is older than the log learns the oldest cursor.
    commit(&mut client, "slow", cursors[0], false).await.unwrap();
    let none = LogRetention { age: None, bytes: Some(0) };
    backend.store.trim_event_log(none).await.unwrap();
    let error = client.read(of_reader("slow")).await.unwrap_err();
    let expired = (tonic::Code::OutOfRange, "cursor_expired".to_owned(), every.next.clone());
    assert_eq!(shown(&error, proto::OLDEST_CURSOR_METADATA), expired);
    assert_eq!(read(&mut client, of_reader("billing")).await.events, []);
    for removed in [true, false] {
        let request = v1::RemoveReaderRequest { reader: "slow".to_owned() };
        assert_eq!(client.remove_reader(request).await.unwrap().into_inner().removed, removed);
    }
    assert_eq!(read(&mut client, of_reader("slow")).await.next, every.next);
    other.stop().await;
    gateway.stop().await;
});

on_both!(readers_of_a_tenant_are_limited, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut client = gateway.events().await;
    create(&gateway, "ann", "USD").await;
    let next = numbered(&mut client, 1).await.next;
    let (store, caller) = (&backend.store, Principal::anonymous());
    let at_start = ReaderChange { position: Some(0), ..ReaderChange::default() };
    for n in 1..MAX_EVENT_READERS {
        let outcome = store.commit_event_reader(&caller, &format!("reader-{n}"), &at_start).await;
        assert_eq!(outcome.unwrap(), ReaderCommit::Done);
    }
    // Of several new readers at once, one has the last place.
    let names = ["a", "b", "c", "d"];
    let outcomes = names.map(|name| store.commit_event_reader(&caller, name, &at_start));
    let outcomes = futures_util::future::try_join_all(outcomes).await.unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == ReaderCommit::Done).count(), 1, "{outcomes:?}");
    let error = commit(&mut client, "e", &next, false).await.unwrap_err();
    let limited = (tonic::Code::FailedPrecondition, "reader_limit".to_owned(), String::new());
    assert_eq!(shown(&error, ""), limited);
    // An existing one continues, and a removed one gives its place to another.
    commit(&mut client, "reader-1", &next, false).await.unwrap();
    assert!(store.remove_event_reader(&caller, "reader-1").await.unwrap().unwrap());
    commit(&mut client, "e", &next, false).await.unwrap();
    gateway.stop().await;
});

on_both!(readers_belong_to_a_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let [shop, _] = tenant(&backend, "shop", Limits::default()).await;
    let [cafe, _] = tenant(&backend, "cafe", Limits::default()).await;
    let operator = key(&backend, Scopes::ALL, DAY).await;
    let operator = operator.key.expose().to_owned();
    for (key, count) in [(&shop, 3), (&cafe, 2)] {
        for _ in 0..count {
            let order = json!({"item": "Tea", "quantity": 1, "price": 1});
            let create = gateway.client.post(gateway.url("/orders")).bearer_auth(key).json(&order);
            assert_eq!(create.send().await.unwrap().status(), 201);
        }
    }
    let client = gateway.events().await;
    let read = async |key: &str| {
        let mut request = tonic::Request::new(of_reader("billing"));
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        client.clone().read(request).await.unwrap().into_inner()
    };
    // Each of the three commits to its reader of the same name, without an effect on the others.
    for (key, count) in [(&shop, 3), (&cafe, 2), (&operator, 5)] {
        let page = eventually("the events of a tenant", async || {
            let page = read(key).await;
            assert!(page.events.len() <= count, "{page:?}");
            (page.events.len() == count).then_some(page)
        })
        .await;
        let (reader, cursor) = ("billing".to_owned(), page.next);
        let commit = v1::CommitRequest { reader, cursor, ..v1::CommitRequest::default() };
        let mut request = tonic::Request::new(commit);
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        client.clone().commit(request).await.unwrap();
        assert_eq!(read(key).await.events, []);
    }
    gateway.stop().await;
});
