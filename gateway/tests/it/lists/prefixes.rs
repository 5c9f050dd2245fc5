//! The filters `search`, `customerPrefix`, `referencePrefix` and `waitsFor`.

use domain::query::{Filter, Sort};
use domain::{OrderId, Prefix, Principal, SearchText};
use serde_json::json;

use super::ids;
use crate::harness::{Backend, quick};
use crate::on_both;

on_both!(orders_are_found_by_the_beginning_of_their_names, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let mut created = Vec::new();
    for (customer, reference) in [
        (Some("Ann@example.com"), Some("WEB-1001")),
        (Some("anna@example.com"), Some("web-1002")),
        (Some("Bob"), Some("ann-7")),
        (Some("a%b_c"), Some("web_1")),
        (Some("\u{c4}pfel GmbH"), None),
        (None, None),
    ] {
        let order = json!({"item": "Tea", "quantity": 1, "price": 1, "customer": customer, "externalReference": reference});
        created.push(gateway.create(order).await);
    }
    let id = created[5].clone();
    let beginning = created[5][..13].to_uppercase();
    for (filter, found) in [
        (json!({"customerPrefix": "ann"}), &[0, 1][..]),
        (json!({"customerPrefix": "ANN@"}), &[0]),
        (json!({"customerPrefix": "ann@example.com"}), &[0]),
        (json!({"customerPrefix": "nn"}), &[]),
        (json!({"customerPrefix": "A%"}), &[3]),
        (json!({"customerPrefix": "a_"}), &[]),
        (json!({"customerPrefix": "äp"}), &[4]),
        (json!({"customerPrefix": "ann", "currency": "EUR"}), &[]),
        (json!({"customerPrefix": "ann", "statuses": ["PENDING"], "totalFrom": 1}), &[0, 1]),
        (json!({"customerPrefix": "ann", "itemContains": "TEA"}), &[0, 1]),
        (json!({"customerPrefix": "ann", "externalReference": "web-1002"}), &[1]),
        (json!({"referencePrefix": "web-"}), &[0, 1]),
        (json!({"referencePrefix": "WEB-1001"}), &[0]),
        (json!({"referencePrefix": "web", "customerPrefix": "a%"}), &[3]),
        (json!({"search": "ann"}), &[0, 1, 2]),
        (json!({"search": "Web"}), &[0, 1, 3]),
        (json!({"search": id}), &[5]),
        (json!({"search": id, "customerPrefix": "ann"}), &[]),
        (json!({"search": "zzz"}), &[]),
    ] {
        let mut expected: Vec<&String> = found.iter().map(|n: &usize| &created[*n]).collect();
        expected.reverse();
        let page = gateway.connection(json!({"filter": filter})).await;
        assert_eq!(ids(&page["nodes"]).iter().collect::<Vec<_>>(), expected, "{filter}");
        expected.reverse();
        for sort in ["CREATED_AT_ASC", "TOTAL_ASC"] {
            let page = gateway.connection(json!({"filter": filter, "sort": sort})).await;
            let euros = filter["currency"] == "EUR";
            assert!(euros || ids(&page["nodes"]).iter().collect::<Vec<_>>() == expected, "{filter} {sort}");
        }
    }
    // The orders of one test have the same first digits of their ids.
    assert!(gateway.listed(&format!("/orders?search={beginning}")).await.contains(&id));
    assert_eq!(gateway.listed("/orders?search=AnN&limit=1").await, [created[2].clone()]);
    let (_, page) = gateway.graphql("{ orders(filter: {search: \" \"}) { nodes { id } } }", json!({})).await;
    assert_eq!(page["errors"][0]["message"], "filter.search must not be empty");
    gateway.stop().await;
});

on_both!(
    /// More customers have the prefix than are looked up: the orders are searched in the sequence of the list.
    a_common_prefix_is_found_in_pages,
    |on| async move {
        let backend = Backend::new(on).await;
        let gateway = backend.gateway(quick()).await;
        let mut expected = Vec::new();
        for _ in 0..2 {
            let orders: Vec<_> = (0..400)
                .map(|n| {
                    let customer = if n % 4 == 0 { "Zoe".to_owned() } else { format!("Customer {n}") };
                    json!({"item": "Tea", "quantity": 1, "price": 1, "customer": customer})
                })
                .collect();
            let created = gateway.create_all(&orders).await;
            expected.extend(created.into_iter().enumerate().filter(|(n, _)| n % 4 != 0).map(|(_, id)| id));
        }
        expected.reverse();
        for filter in [
            Filter { customer_prefix: Some(Prefix::parse("cust", 200).unwrap()), ..Filter::default() },
            Filter { search: Some(SearchText::parse("CUST", 200).unwrap()), ..Filter::default() },
        ] {
            let (mut found, mut after): (Vec<OrderId>, _) = (Vec::new(), None);
            loop {
                let page =
                    backend.store.list_ids(&Principal::anonymous(), &filter, after, 128).await.unwrap();
                found.extend(page.iter().copied());
                after = page.last().copied();
                if page.len() < 128 {
                    break;
                }
            }
            assert_eq!(found.iter().map(OrderId::to_string).collect::<Vec<_>>(), expected);
        }
        assert_eq!(Sort::default(), Sort::CreatedDescending);
        gateway.stop().await;
    }
);

on_both!(pending_orders_are_found_by_what_they_wait_for, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let order = json!({"item": "Tea", "quantity": 1, "price": 1});
    let ready = gateway.create(order.clone()).await;
    let mut later = order.clone();
    later["processAfter"] = json!(backend.store.now() + std::time::Duration::from_secs(3_600));
    let scheduled = gateway.create(later).await;
    let failed = gateway.create(order).await;
    gateway.fail(&failed, "error", "it broke").await;
    let found = async |word: &str| gateway.listed(&format!("/orders?waitsFor={word}")).await;
    assert_eq!(found("worker").await, std::slice::from_ref(&ready));
    assert_eq!(found("schedule").await, std::slice::from_ref(&scheduled));
    assert_eq!((found("retry").await.len(), found("pause").await.len()), (0, 0));
    let page = gateway.connection(json!({"filter": {"waitsFor": "SCHEDULE"}})).await;
    assert_eq!(ids(&page["nodes"]), std::slice::from_ref(&scheduled));
    gateway.command("/queue/pause", json!({})).await;
    assert_eq!((found("pause").await, found("worker").await.len()), (vec![ready.clone()], 0));
    // No failed order waits.
    let redrive = json!({"filter": {"waitsFor": "worker"}, "dryRun": true});
    assert_eq!(gateway.command("/dead-letters/redrive", redrive).await["count"], 0);
    let cancel = json!({"filter": {"waitsFor": "schedule"}});
    assert_eq!(gateway.command("/orders/cancel", cancel).await["orderIds"], json!([scheduled]));
    let refused = gateway.get("/dead-letters?waitsFor=worker").await;
    assert_eq!(refused.status(), 400);
    gateway.stop().await;
});
