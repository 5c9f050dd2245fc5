//! Tests each limit at its maximum and above, and documents that exhaust other servers.

use std::time::{Duration, Instant};

use async_graphql::Variables;
use domain::ErrorCode;

use super::*;
use crate::language::Coerced;

fn limits() -> Config {
    Config { max_complexity: 1_000, ..Config::default() }
}

fn parsed(text: &str) -> Document {
    Document::parse(text, "test.graphql").unwrap()
}

/// Runs all checks without a schema, with uncoerced variables. Returns the exceeded limit.
fn checked(text: &str, variables: serde_json::Value) -> Option<&'static str> {
    let document = parsed(text);
    let variables = Coerced::unchecked(Variables::from_json(variables));
    let refused = check_text(text, &limits())
        .and_then(|()| check_structure(&document, &limits()))
        .and_then(|()| check_variables(&document, None, &variables, &limits()));
    refused.err().map(|exceeded| exceeded.limit)
}

fn refused(text: &str) -> Option<&'static str> {
    checked(text, serde_json::Value::Null)
}

fn times(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_limit_permits_its_maximum_and_refuses_one_more() {
    type Document = Box<dyn Fn(usize) -> String>;
    let cases: [(&str, usize, Document); 10] = [
        ("document", 16 * 1024, Box::new(|n| format!("{{ a }}{}", " ".repeat(n - 5)))),
        ("tokens", 4_000, Box::new(|n| format!("{{ a(b: [{}]) }}", times(n - 9, |_| "1".to_owned())))),
        (
            "brackets",
            64,
            Box::new(|n| {
                let depth = n - 2;
                format!("{{ a(b: {}{}) }}", "[".repeat(depth), "]".repeat(depth))
            }),
        ),
        (
            "selections",
            1_000,
            Box::new(|n| {
                // Spreads of a fragment with 98 fields count 99 each; the rest are fields.
                let (spreads, rest) = ((n - 1) / 99, (n - 1) % 99);
                let fields = times(98, |_| "f".to_owned());
                let more = times(rest, |_| "f".to_owned());
                let spreads = times(spreads, |_| "...F".to_owned());
                format!("{{ a {{ {spreads} {more} }} }} fragment F on A {{ {fields} }}")
            }),
        ),
        ("depth", 12, Box::new(|n| format!("{}a{}", "{ a ".repeat(n - 1) + "{", "}".repeat(n)))),
        ("aliases", 30, Box::new(|n| format!("{{ x {{ {} }} }}", times(n, |i| format!("a{i}: a"))))),
        ("root_fields", 20, Box::new(|n| format!("{{ {} }}", times(n, |_| "a".to_owned())))),
        ("directives", 50, Box::new(|n| format!("{{ a {} }}", times(n, |_| "@skip(if: false)".to_owned())))),
        (
            "introspection",
            2,
            Box::new(|n| {
                format!(
                    "{{ __schema {{ types {} name {} }} }}",
                    "{ fields { type ".repeat(n) + "{",
                    "}".repeat(2 * n + 1)
                )
            }),
        ),
        (
            "complexity",
            1_000,
            Box::new(|n| {
                // 9 selections of the page count 100 each; the rest is outside of the list.
                let fields = times(8, |_| "f".to_owned());
                let rest = times(n - 902, |_| "f".to_owned());
                format!("{{ orders(first: 100) {{ nodes {{ {fields} }} }} x {{ {rest} }} }}")
            }),
        ),
    ];
    for (limit, n, document) in cases {
        assert_eq!(refused(&document(n)), None, "{limit} at {n}");
        assert_eq!(refused(&document(n + 1)), Some(limit), "{limit} at {}", n + 1);
    }
}

#[test]
fn exponential_spreads_are_refused_immediately() {
    let fragments = times(25, |n| format!("fragment f{n} on Order {{ ...f{} ...f{} }}", n + 1, n + 1));
    let bomb = format!("{{ order(id: 1) {{ ...f0 }} }} {fragments} fragment f25 on Order {{ id }}");
    assert!(bomb.len() < 1_500);
    let document = parsed(&bomb);
    let start = Instant::now();
    let refused = check_structure(&document, &limits()).unwrap_err();
    // A walk that follows every spread takes minutes.
    assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
    assert_eq!(refused.limit, "selections");
}

#[test]
fn unused_exponential_fragments_are_refused() {
    let fragments = times(25, |n| format!("fragment f{n} on Order {{ ...f{} ...f{} }}", n + 1, n + 1));
    assert_eq!(refused(&format!("{{ a }} {fragments} fragment f25 on Order {{ id }}")), Some("selections"));
}

#[test]
fn long_chains_of_fragments_do_not_exhaust_the_stack() {
    let fragments = times(400, |n| format!("fragment f{n} on O {{ ...f{} }}", n + 1));
    assert_eq!(refused(&format!("{{ ...f0 }} {fragments}")), Some("depth"));
    // The nesting of a visited fragment is stored.
    let fragments = times(22, |n| format!("fragment f{n} on O {{ ...f{} }}", n + 1));
    let deep = format!("{}...f0{}", "{ a ".repeat(11) + "{", "}".repeat(12));
    assert_eq!(refused(&format!("{deep} {fragments} fragment f22 on O {{ id }}")), Some("depth"));
}

#[test]
fn fragment_cycles_are_refused_in_used_and_unused_fragments() {
    assert_eq!(refused("{ ...A } fragment A on Q { ...A }"), Some("fragment_cycle"));
    let two = "fragment A on Q { a { ...B } } fragment B on Q { b { ...A } }";
    assert_eq!(refused(&format!("{{ ...A }} {two}")), Some("fragment_cycle"));
    assert_eq!(refused(&format!("{{ a }} {two}")), Some("fragment_cycle"));
}

#[test]
fn page_size_counts_from_literals_variables_and_defaults() {
    let list = |first: &str| format!("{first} nodes {{ {} }} }} }}", times(10, |_| "f".to_owned()));
    let literal = |n: &str| list(&format!("{{ orders(first: {n}) {{"));
    assert_eq!(refused(&literal("50")), None);
    assert_eq!(refused(&literal("100")), Some("complexity"));
    assert_eq!(refused(&literal("-1")), Some("complexity"));
    assert_eq!(refused(&list("{ orders {")), None);
    let variable = list("query($n: Int = 100) { orders(first: $n) {");
    assert_eq!(refused(&variable), Some("complexity"));
    assert_eq!(checked(&variable, serde_json::json!({"n": 5})), None);
    assert_eq!(checked(&variable, serde_json::json!({"n": 1000})), Some("complexity"));
    for arguments in ["last: 100", "first: 1, last: 100", "first: 100, last: 1", "last: -1", "last: 1000"] {
        let document = list(&format!("{{ orders({arguments}) {{"));
        assert_eq!(refused(&document), Some("complexity"), "{arguments}");
    }
    assert_eq!(refused(&list("{ orders(last: 5) {")), None);
}

#[test]
fn pages_of_the_event_log_multiply_the_complexity() {
    let fields = times(10, |_| "f".to_owned());
    let page = |list: &str| format!("{{ {list} {{ nodes {{ {fields} }} }} }}");
    assert_eq!(refused(&page("events")), None);
    assert_eq!(refused(&page("events(first: 100)")), Some("complexity"));
    let spread = format!("{{ ... {{ ...F }} }} fragment F on Query {}", page("events(first: 100)"));
    assert_eq!(refused(&spread), Some("complexity"));
    assert_eq!(refused(&format!("subscription {}", page("eventLog(first: 100)"))), Some("complexity"));
    // Timelines of the orders of the events are read for each event.
    assert_eq!(refused("{ events { nodes { order { events { status } } } } }"), None);
    let nested = "{ events { nodes { order { events { order { events { status } } } } } } }";
    assert_eq!(refused(nested), None);
    assert_eq!(refused(&nested.replace("events {", "events(first: 100) {")), Some("complexity"));
    // The orders that it reads limit the memory of large operations.
    let cost = |text: &str| check_variables(&parsed(text), None, &Coerced::default(), &limits()).unwrap();
    assert_eq!(cost("{ events(first: 50) { next } }").orders, 50);
    assert_eq!(cost("{ order(id: 1) { events { status } } }").orders, 1);
}

#[test]
fn nested_timelines_multiply_the_complexity() {
    let page = |of: &str| format!("{{ orders(first: 100) {{ nodes {{ {of} }} }} }}");
    assert_eq!(refused(&page("events { sequence status occurredAt }")), None);
    assert_eq!(refused(&page("events { order { status } }")), None);
    assert_eq!(refused(&page("events { order { events { status } } }")), Some("complexity"));
    let nested = "{ order(id: 1) { events { order { events { order { events { order { id } } } } } } } }";
    assert_eq!(refused(nested), None);
    let deeper = nested.replace("{ id }", "{ events { order { events { order { id } } } } }");
    assert_eq!(refused(&deeper), Some("complexity"));
}

#[test]
fn introspection_is_refused_when_disabled() {
    let limits = Config { introspection: false, ..limits() };
    for (text, code) in [
        ("{ __typename a { __typename } }", None),
        ("{ __schema { types { name } } }", Some(ErrorCode::IntrospectionDisabled)),
        ("{ x: __type(name: \"A\") { name } }", Some(ErrorCode::IntrospectionDisabled)),
        (
            "{ ...F } fragment F on Q { ... { __schema { types { name } } } }",
            Some(ErrorCode::IntrospectionDisabled),
        ),
    ] {
        let outcome = check_structure(&parsed(text), &limits);
        assert_eq!(outcome.err().map(|exceeded| exceeded.code), code, "{text}");
    }
}

#[test]
fn variables_count_once_per_use() {
    // 1,024 bytes of JSON.
    let value = serde_json::json!({"v": "x".repeat(1_022)});
    let inline = |n: usize| format!("{{ a(b: [{}]) }}", times(n, |_| "{c: $v}".to_owned()));
    // 64 spreads of 16 uses each, by fields of a fragment and by a directive.
    let fields = times(15, |_| "a(b: $v)".to_owned());
    let spread = |n: usize| {
        let spreads = times(n, |_| "...F".to_owned());
        format!("{{ {spreads} }} fragment F on Q {{ {fields} b @d(e: $v) }}")
    };
    let roomy = Config { max_root_fields: 2_000, max_complexity: 2_000, ..limits() };
    let refused = |text: &str, value: &serde_json::Value| {
        let variables = Coerced::unchecked(Variables::from_json(value.clone()));
        let checked = check_variables(&parsed(text), None, &variables, &roomy);
        checked.err().map(|exceeded| exceeded.limit)
    };
    for document in [&inline(1_024), &spread(64)] {
        assert_eq!(refused(document, &value), None);
        assert_eq!(refused(document, &serde_json::json!({"v": "x".repeat(1_023)})), Some("variables"));
    }
    // Only the uses of the selected operation count.
    let other = format!("query A {{ a }} query B {}", inline(1_025));
    let variables = Coerced::unchecked(Variables::from_json(value));
    let with = |name| check_variables(&parsed(&other), Some(name), &variables, &roomy).map(drop);
    assert_eq!(with("A"), Ok(()));
    assert_eq!(with("B").unwrap_err().limit, "variables");
}

/// Decision 10: every field of a page of 100 orders, without the orders of its events.
#[test]
fn page_of_100_orders_may_select_every_field() {
    let limits = Config::default();
    let fields = "id lineItems { item quantity price total } total currency quantity customer \
                  externalReference status sequence attempt failures maxAttempts priority processAfter \
                  waitsFor nextAttemptAt \
                  reason errorClass createdAt updatedAt";
    let page = format!("{{ orders(first: 100) {{ nodes {{ {fields} }} }} }}");
    check_variables(&parsed(&page), None, &Coerced::default(), &limits).unwrap();
    let aliases = times(25, |n| format!("a{n}: item"));
    let amplified = format!("{{ orders(first: 100) {{ nodes {{ lineItems {{ item {aliases} }} }} }} }}");
    let refused = check_variables(&parsed(&amplified), None, &Coerced::default(), &limits);
    assert_eq!(refused.unwrap_err().limit, "complexity");
}

#[test]
fn the_limits_are_documented() {
    let depth = Config::default().max_depth;
    limits_page::row("depth", &format!("{depth}; {MAX_NESTING} with fragments and introspection"));
    limits_page::row("nested lists of introspection", &MAX_INTROSPECTION_LISTS.to_string());
    let variables = limits_page::bytes(MAX_VARIABLE_BYTES);
    limits_page::row("variables: their JSON, each as often as the operation uses it", &variables);
}

#[test]
fn pages_of_webhook_endpoints_multiply() {
    let cost = |text: &str| {
        let document = parsed(text);
        let variables = Coerced::unchecked(Variables::default());
        check_variables(&document, None, &variables, &Config::default()).map(|cost| cost.complexity)
    };
    let one = cost("{ webhookEndpoint(id: 1) { attempts(first: 10) { nodes { id } } } }").unwrap();
    let ten =
        cost("{ webhookEndpoints(first: 10) { nodes { attempts(first: 10) { nodes { id } } } } }").unwrap();
    assert!(one > 20 && ten > 9 * one, "{one} {ten}");
    let all = "{ webhookEndpoints(first: 100) { nodes { messages(first: 100) { nodes { id attempts } } } } }";
    assert!(cost(all).is_err());
    // The number of attempts of a message has no pages.
    assert_eq!(cost("{ attempts messages }").unwrap(), 2);
}
