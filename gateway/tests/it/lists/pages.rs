//! Pages of every size in both directions, compared with a list that the test computes.

use std::collections::HashSet;

use domain::query::Filter;
use domain::{Order, Status};
use serde_json::{Value, json};

use super::ids;
use crate::harness::{Backend, Gateway, quick};
use crate::on_both;
use crate::rest::{link, value};

/// A filter in GraphQL, in REST, and as a predicate.
struct Case {
    graphql: Value,
    rest: &'static str,
    matches: fn(&Order) -> bool,
}

/// The value in GraphQL, the value in REST, whether it sorts by total, whether it is descending.
const SORTS: [(&str, &str, bool, bool); 4] = [
    ("CREATED_AT_DESC", "-createdAt", false, true),
    ("CREATED_AT_ASC", "createdAt", false, false),
    ("TOTAL_DESC", "-total", true, true),
    ("TOTAL_ASC", "total", true, false),
];

fn dollars(order: &Order) -> bool {
    order.total.currency().code() == "USD"
}

fn cases(middle: &Order) -> Vec<(Case, Option<domain::Timestamp>)> {
    let from = middle.created_at;
    let case = |graphql, rest, matches| (Case { graphql, rest, matches }, None);
    vec![
        case(json!(null), "", |_| true),
        case(json!({"statuses": ["CANCELLED"]}), "&status=cancelled", |o| o.status == Status::Cancelled),
        case(json!({"statuses": ["CANCELLED", "PENDING"]}), "&status=cancelled,pending", |_| true),
        case(json!({"customer": "Ann & Co"}), "&customer=Ann%20%26%20Co", |o| {
            o.customer.as_deref() == Some("Ann & Co")
        }),
        case(json!({"externalReference": "R-7"}), "&externalReference=R-7", |o| {
            o.external_reference.as_deref() == Some("R-7")
        }),
        case(json!({"errorClass": "http_503"}), "&errorClass=http_503", |_| false),
        case(json!({"totalFrom": "2", "totalTo": 3}), "&totalFrom=2&totalTo=3.00", |o| {
            dollars(o) && (200..=300).contains(&o.total.minor())
        }),
        case(json!({"currency": "EUR"}), "&currency=EUR", |o| o.total.currency().code() == "EUR"),
        case(json!({"itemContains": "LAPTOP"}), "&itemContains=laptop", |o| {
            o.line_items.iter().any(|line| line.item.contains("Laptop"))
        }),
        case(
            json!({"itemContains": "mouse", "customer": "Bob", "totalFrom": "2", "statuses": ["PENDING"]}),
            "&itemContains=MOUSE&customer=Bob&totalFrom=2&status=pending",
            |o| {
                dollars(o)
                    && o.total.minor() >= 200
                    && o.customer.as_deref() == Some("Bob")
                    && o.status == Status::Pending
                    && o.line_items.iter().any(|line| line.item.contains("Mouse"))
            },
        ),
        (Case { graphql: json!({"createdFrom": from.to_string()}), rest: "", matches: |_| true }, Some(from)),
    ]
}

/// The expected list.
fn expected(
    orders: &[Order],
    keep: impl Fn(&Order) -> bool,
    by_total: bool,
    descending: bool,
) -> Vec<String> {
    let mut kept: Vec<&Order> = orders.iter().filter(|order| keep(order)).collect();
    kept.sort_by_key(|order| (if by_total { order.total.minor() } else { 0 }, order.id));
    if descending {
        kept.reverse();
    }
    kept.into_iter().map(|order| order.id.to_string()).collect()
}

async fn walk_graphql(gateway: &Gateway<'_>, filter: &Value, sort: &str, size: usize, all: &[String]) {
    let (mut start, mut after) = (0, Value::Null);
    loop {
        let variables = json!({"first": size, "after": after, "filter": filter, "sort": sort});
        let page = gateway.connection(variables.clone()).await;
        let end = all.len().min(start + size);
        assert_eq!(ids(&page["nodes"]), all[start..end], "{variables}");
        assert_eq!(page["pageInfo"]["hasNextPage"], end < all.len(), "{variables}");
        assert_eq!(page["pageInfo"]["hasPreviousPage"], start > 0, "{variables}");
        if end == all.len() {
            break;
        }
        (start, after) = (end, page["pageInfo"]["endCursor"].clone());
    }
    let (mut end, mut before) = (all.len(), Value::Null);
    loop {
        let variables = json!({"last": size, "before": before, "filter": filter, "sort": sort});
        let page = gateway.connection(variables.clone()).await;
        let start = end.saturating_sub(size);
        assert_eq!(ids(&page["nodes"]), all[start..end], "{variables}");
        assert_eq!(page["pageInfo"]["hasNextPage"], end < all.len(), "{variables}");
        assert_eq!(page["pageInfo"]["hasPreviousPage"], start > 0, "{variables}");
        if start == 0 {
            break;
        }
        (end, before) = (start, page["pageInfo"]["startCursor"].clone());
    }
}

async fn walk_rest(gateway: &Gateway<'_>, filter: &str, sort: &str, size: usize, all: &[String]) {
    let first = format!("/orders?limit={size}&sort={sort}{filter}");
    let (mut path, mut start) = (first.clone(), 0);
    let last = loop {
        let response = gateway.get(&path).await;
        let (next, previous) = (link(&response, "next"), link(&response, "prev"));
        let end = all.len().min(start + size);
        assert_eq!(ids(&value(response).await), all[start..end], "{path}");
        assert_eq!((next.is_some(), previous.is_some()), (end < all.len(), start > 0), "{path}");
        match next {
            Some(next) => (path, start) = (next, end),
            None => break previous,
        }
    };
    let mut end = start;
    let mut back = last;
    while let Some(path) = back {
        let response = gateway.get(&path).await;
        back = link(&response, "prev");
        assert!(link(&response, "next").is_some(), "{path}");
        let beginning = link(&response, "first").expect("a page in the middle knows the beginning");
        let start = end.saturating_sub(size);
        assert_eq!(ids(&value(response).await), all[start..end], "{path}");
        if start == 0 {
            assert_eq!(gateway.listed(&beginning).await, all[start..end]);
        }
        end = start;
    }
    assert_eq!(end, 0, "{first} back to its beginning");
}

on_both!(
    /// Totals are from a small set, so that most of them are equal.
    every_page_is_the_slice_that_it_should_be,
    |on| async move {
        let backend = Backend::new(on).await;
        let gateway = backend.gateway(quick()).await;
        let order = |n: usize| {
            let one_of = |names: [&str; 2], n: usize| names[n % 2].to_owned();
            json!({
                "lineItems": [
                    {"item": one_of(["Laptop 15\"", "Pad"], n), "quantity": 1, "price": format!("{}.5", n % 3)},
                    {"item": one_of(["Mouse", "Cable"], n / 2), "quantity": 1, "price": 0.5},
                ],
                "currency": if n % 4 == 3 { "EUR" } else { "USD" },
                "customer": one_of(["Ann & Co", "Bob"], n / 3), "externalReference": format!("R-{}", n % 9),
            })
        };
        let mut created = gateway.create_all(&(0..7).map(order).collect::<Vec<_>>()).await;
        for n in 7..17 {
            created.push(gateway.create(order(n)).await);
        }
        for id in created.iter().step_by(5) {
            gateway.post(&format!("/orders/{id}/cancel"), "").await;
        }
        let orders = backend.store.list(&domain::Principal::anonymous(), &Filter::default(), None, 1_000).await.unwrap();
        assert_eq!(orders.len(), created.len());
        assert!(orders.is_sorted_by_key(|order| std::cmp::Reverse(order.created_at)));
        for (Case { graphql, rest, matches }, from) in cases(&orders[8]) {
            let rest = from.map_or(rest.to_owned(), |from| format!("&createdFrom={from}"));
            for (word, sort, by_total, descending) in SORTS {
                let other = graphql["currency"].is_string();
                let keep = |order: &Order| {
                    matches(order)
                        && (!by_total || other || dollars(order))
                        && from.is_none_or(|from| order.created_at >= from)
                };
                let all = expected(&orders, keep, by_total, descending);
                for size in [1, 4, 100] {
                    walk_graphql(&gateway, &graphql, word, size, &all).await;
                }
                walk_rest(&gateway, &rest, sort, 4, &all).await;
            }
        }
        gateway.stop().await;
    }
);

on_both!(two_cursors_bound_a_page, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let body = |n: usize| json!({"item": "x", "quantity": 1, "price": n % 2});
    gateway.create_all(&(0..9).map(body).collect::<Vec<_>>()).await;
    for (sort, ..) in SORTS {
        let all = gateway.connection(json!({"first": 100, "sort": sort})).await;
        let cursor = |n: usize| all["edges"][n]["cursor"].clone();
        let nodes = ids(&all["nodes"]);
        for (take, end, range, previous, next) in [
            ("first", 100, 2..6, true, false),
            ("last", 100, 2..6, false, true),
            ("first", 2, 2..4, true, true),
            ("last", 2, 4..6, true, true),
            ("first", 4, 2..6, true, false),
            ("last", 4, 2..6, false, true),
        ] {
            let variables = json!({take: end, "sort": sort, "after": cursor(1), "before": cursor(6)});
            let page = gateway.connection(variables.clone()).await;
            assert_eq!(ids(&page["nodes"]), nodes[range], "{variables}");
            let info = &page["pageInfo"];
            assert_eq!((&info["hasPreviousPage"], &info["hasNextPage"]), (&json!(previous), &json!(next)));
        }
        // The bounds are equal, crossed, or at an end of the list.
        for (after, before, empty) in [(3, 4, true), (5, 2, true), (4, 4, true), (0, 8, false)] {
            let page = gateway
                .connection(json!({"sort": sort, "after": cursor(after), "before": cursor(before)}))
                .await;
            assert_eq!(ids(&page["nodes"]).is_empty(), empty, "{after} {before}");
        }
        let behind = gateway.connection(json!({"sort": sort, "after": cursor(8)})).await;
        let info =
            json!({"hasNextPage": false, "hasPreviousPage": true, "startCursor": null, "endCursor": null});
        assert_eq!((&behind["nodes"], &behind["pageInfo"]), (&json!([]), &info));
    }
    gateway.stop().await;
});

on_both!(new_orders_do_not_shift_the_pages, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let body = |n: usize| json!({"item": "x", "quantity": 1, "price": n % 3});
    for (sort, ..) in SORTS {
        for (take, bound, end, more) in [
            ("first", "after", "endCursor", "hasNextPage"),
            ("last", "before", "startCursor", "hasPreviousPage"),
        ] {
            let there = gateway.create_all(&(0..20).map(body).collect::<Vec<_>>()).await;
            let (mut seen, mut cursor, mut steps) = (Vec::new(), Value::Null, 0);
            loop {
                let page = gateway.connection(json!({take: 9, bound: cursor, "sort": sort})).await;
                seen.extend(ids(&page["nodes"]));
                if page["pageInfo"][more] == false {
                    break;
                }
                cursor = page["pageInfo"][end].clone();
                // Around every position of the list; the number of requests is limited.
                steps += 1;
                if steps < 20 {
                    gateway.create_all(&(0..3).map(body).collect::<Vec<_>>()).await;
                }
            }
            let distinct: HashSet<&String> = seen.iter().collect();
            assert_eq!(distinct.len(), seen.len(), "{sort} {take}: an order comes up twice");
            let missing: Vec<&String> = there.iter().filter(|id| !distinct.contains(id)).collect();
            assert!(missing.is_empty(), "{sort} {take}: {missing:?} are skipped");
        }
    }
    gateway.stop().await;
});
