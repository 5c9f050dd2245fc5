//! Groups of dead letters, and the filter of their orders.

use domain::query::Filter;
use domain::{OrderId, Principal, ReasonPattern};
use gateway::Config;
use serde_json::{Value, json};

use crate::harness::Backend;
use crate::on_both;

on_both!(dead_letters_are_grouped_and_each_group_selects_its_orders, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut failed = Vec::new();
    for (customer, class, reason) in [
        ("ann", "http_503", "HTTP 503 from host-1"),
        ("bob", "http_503", "HTTP 503 from host-22"),
        ("ann", "http_503", "HTTP 503 from host-1"),
        ("ann", "http_503", "HTTP 503 from host-1 after 30 s"),
        ("zoe", "card_declined", "card \"4242\" of order 01890a5d-ac96-774b-bcce-b302099a8057 declined"),
        ("zoe", "card_declined", ""),
    ] {
        let order = json!({"item": "Tea", "quantity": 1, "price": 1, "customer": customer});
        let id = gateway.create(order).await;
        gateway.fail(&id, class, reason).await;
        failed.push(id);
    }
    let found = gateway.ask("/dead-letters/groups").await;
    assert_eq!((&found["orders"], &found["complete"]), (&json!(6), &json!(true)));
    let groups = found["groups"].as_array().unwrap();
    let shown = |group: &Value| {
        (
            group["errorClass"].clone(),
            group["reason"].clone(),
            group["count"].clone(),
            group["customers"].clone(),
        )
    };
    let group = |class: &str, reason: &str, count: u32, customers: u32| {
        (json!(class), json!(reason), json!(count), json!(customers))
    };
    assert_eq!(
        groups.iter().map(shown).collect::<Vec<_>>(),
        [
            group("http_503", "HTTP 503 from host-*", 3, 2),
            group("card_declined", "the worker reported a failure", 1, 1),
            group("card_declined", "card \"*\" of order * declined", 1, 1),
            group("http_503", "HTTP 503 from host-* after * s", 1, 1),
        ]
    );
    assert_eq!(groups[0]["latestOrderId"], json!(failed[2]));
    let times = |group: &Value| {
        ["firstFailedAt", "lastFailedAt"].map(|name| group[name].as_str().unwrap().to_owned())
    };
    let [first, last] = times(&groups[0]);
    assert!(first < last, "{first} {last}");

    for (group, orders) in groups.iter().zip([&[2, 1, 0][..], &[5], &[4], &[3]]) {
        let expected: Vec<&String> = orders.iter().map(|n: &usize| &failed[*n]).collect();
        let filter = json!({"errorClass": group["errorClass"], "reason": group["reason"]});
        let looked =
            gateway.command("/dead-letters/redrive", json!({"filter": filter, "dryRun": true})).await;
        assert_eq!(looked["orderIds"], json!(expected), "{group}");
        let query = "query($filter: OrderFilter) { orders(filter: $filter) { nodes { id } } }";
        let (_, page) = gateway.graphql(query, json!({"filter": filter})).await;
        let ids: Vec<Value> = expected.iter().map(|id| json!({"id": id})).collect();
        assert_eq!(page["data"]["orders"]["nodes"], json!(ids), "{page}");
    }
    let wide = gateway.ask("/dead-letters?reason=HTTP+503**").await;
    assert_eq!(wide.as_array().unwrap().len(), 4);

    // The other filters apply, and the rest is counted beyond the limit.
    let of_ann = gateway.ask("/dead-letters/groups?customer=ann&limit=1").await;
    assert_eq!((of_ann["groups"].as_array().unwrap().len(), &of_ann["orders"]), (1, &json!(3)));
    let by_item = gateway.ask("/dead-letters/groups?itemContains=coffee").await;
    assert_eq!(by_item, json!({"groups": [], "orders": 0, "complete": true}));
    let query = "query($filter: OrderFilter) { deadLetterGroups(filter: $filter, first: 1) { orders complete
        groups { errorClass reason count customers firstFailedAt lastFailedAt latestOrderId } } }";
    let (_, json) = gateway.graphql(query, json!({"filter": {"customer": "ann"}})).await;
    assert_eq!(json["data"]["deadLetterGroups"], of_ann, "{json}");
    let (_, json) =
        gateway.graphql("{ deadLetterGroups(filter: {reason: \" \"}) { orders } }", json!({})).await;
    assert_eq!(json["errors"][0]["message"], "filter.reason must not be empty");
    gateway.stop().await;
});

on_both!(a_search_by_reason_continues_in_pages, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut expected: Vec<OrderId> = Vec::new();
    for n in 0..6 {
        let id = gateway.create_order().await;
        gateway.fail(&id, "error", &format!("disk {n} is full")).await;
        expected.insert(0, id.parse().unwrap());
    }
    let filter =
        Filter { reason: Some(ReasonPattern::parse("disk * is full").unwrap()), ..Filter::default() };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = backend.store.list_ids(&Principal::anonymous(), &filter, after, 4).await.unwrap();
        found.extend(page.iter().copied());
        after = page.last().copied();
        if page.len() < 4 {
            break;
        }
    }
    assert_eq!(found, expected);
    gateway.stop().await;
});
