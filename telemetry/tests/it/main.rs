//! The export of traces to a receiver. One test, because a process exports to one receiver.

#![cfg(test)]

use std::time::{Duration, SystemTime};

use domain::TraceContext;
use telemetry::trace::{self, MAX_LINKS, Span, SpanKind, TraceConfig};
use test_traces::Collector;

fn context(n: u8) -> TraceContext {
    TraceContext::new([n; 16], [n; 8], true).unwrap()
}

fn trace_id(n: u8) -> String {
    context(n).trace_id_text()
}

/// Returns the context of a request, as a caller would see it.
fn request(caller: Option<TraceContext>) -> Option<TraceContext> {
    trace::request(|| "POST /orders".into(), caller).as_ref().and_then(Span::context)
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_recorded_traces_are_exported() {
    // Without export, nothing is recorded.
    assert!(!trace::is_enabled() && trace::now().is_none() && request(Some(context(1))).is_none());
    assert_eq!(trace::scope(context(1), async { trace::current() }).await, None);

    let collector = Collector::start().await;
    let config = TraceConfig { endpoint: collector.endpoint.clone(), ratio: 0.5, service: "orders-test" };
    let export = trace::install(&config).unwrap();
    assert!(trace::install(&config).is_err(), "a process exports once");

    // The ratio decides about requests without a caller that has decided.
    let recorded = (0..1_000).filter(|_| request(None).is_some()).count();
    assert!((350..650).contains(&recorded), "{recorded} of 1000");
    let not_sampled = TraceContext::new([1; 16], [1; 8], false);
    assert!((0..100).all(|_| request(not_sampled).is_none()));
    assert!(trace::span(SpanKind::Internal, "never", not_sampled).is_none());
    assert!(trace::span(SpanKind::Internal, "never", None).is_none());

    // A request, what it causes, and a failure.
    let mut server = trace::request(|| "POST /orders".into(), Some(context(2))).unwrap();
    server.set("orders.tenant", "acme");
    let at_server = server.context().unwrap();
    let inside = trace::scope(at_server, async {
        tokio::task::yield_now().await;
        trace::current()
    });
    assert_eq!(inside.await, Some(at_server));
    assert_eq!(trace::current(), None);
    let mut client = trace::span(SpanKind::Client, "POST webhook", Some(at_server)).unwrap();
    client.fail("503");
    drop((client, server));

    // A batch is a child of its first member, and linked with the others.
    let began = SystemTime::now();
    let members = (3..10 + MAX_LINKS as u8).chain([3]).map(context);
    trace::record_batch("orders insert", began, members, []);
    trace::record_batch("never", began, not_sampled, []);
    let attributes = [("orders.attempt", 1_i64.into())];
    assert!(trace::record(SpanKind::Internal, "order start", context(2), began, attributes).is_some());

    tokio::task::spawn_blocking(|| export.shutdown(Duration::from_secs(20))).await.unwrap();
    let spans = collector.spans();
    let find = |name: &str, trace: u8| {
        let mut found = spans.iter().filter(|span| span.name == name && span.trace_id == trace_id(trace));
        let span = found.next().unwrap_or_else(|| panic!("no span {name}: {spans:?}"));
        assert_eq!(found.next(), None, "one span {name}");
        span
    };
    let caller = Some("0202020202020202".to_owned());
    let server = find("POST /orders", 2);
    assert_eq!((&server.parent_id, server.service.as_str()), (&caller, "orders-test"));
    assert_eq!((server.attribute("orders.tenant"), server.is_error), ("acme", false));
    let client = find("POST webhook", 2);
    assert_eq!((client.parent_id.as_ref(), client.is_error), (Some(&server.span_id), true));
    let start = find("order start", 2);
    assert_eq!((&start.parent_id, start.attribute("orders.attempt")), (&caller, "1"));
    let batch = find("orders insert", 3);
    assert_eq!(batch.parent_id.as_deref(), Some("0303030303030303"));
    let linked: Vec<String> = (4..4 + MAX_LINKS as u8).map(trace_id).collect();
    assert_eq!(batch.links, linked);
    assert!(spans.iter().all(|span| span.name != "never"));
    assert_eq!(spans.iter().filter(|span| span.parent_id.is_none()).count(), recorded);
}
