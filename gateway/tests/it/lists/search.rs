//! The search for a string in item names.

use std::time::Duration;

use domain::query::{Filter, Sort};
use domain::{Content, Currency, Draft, DraftLineItem, OrderId};
use gateway::store::{CreateRequest, NewOrder};
use reqwest::Url;
use serde_json::json;

use super::ids;
use crate::harness::{Backend, quick};
use crate::on_both;

/// The names of one order's items.
const ITEMS: [&[&str]; 9] = [
    &["Laptop", "Äpfel & Birnen"],
    &["100% wool", "sock"],
    &["1000 wool"],
    &["snake_case"],
    &["snakeXcase"],
    &["C:\\temp"],
    &["15\" screen"],
    &["😀 smile", "ΟΔΟΣ", "Straße"],
    &["a,b]:{}[", "x\"},{\"item\":\"laptop"],
];

on_both!(a_search_matches_item_names_only, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let mut created = Vec::new();
    for items in ITEMS {
        let lines: Vec<_> =
            items.iter().map(|item| json!({"item": item, "quantity": 7, "price": 12.34})).collect();
        let order = json!({"lineItems": lines, "customer": "Zoe", "externalReference": "Zoe-1"});
        created.push(gateway.create(order).await);
    }
    for (text, found) in [
        ("laptop", &[0, 8][..]),
        ("LAPTOP", &[0, 8]),
        ("äPFEL", &[0]),
        ("& b", &[0]),
        ("%", &[1]),
        ("100%", &[1]),
        ("1%", &[]),
        ("_", &[3]),
        ("snake_case", &[3]),
        ("snake", &[3, 4]),
        ("\\", &[5]),
        ("\\\\", &[]),
        ("\\t", &[5]),
        ("\"", &[6, 8]),
        ("😀", &[7]),
        ("οδοσ", &[7]),
        ("STRASSE", &[7]),
        ("a,b]:{}[", &[8]),
        ("\"item\":\"", &[8]),
        ("wool", &[1, 2]),
        // InstallationKeys, numbers and punctuation of the stored JSON, other fields, strings across two items.
        ("quantity", &[]),
        ("priceMinor", &[]),
        ("1234", &[]),
        ("\",\"", &[]),
        ("zoe", &[]),
        ("laptopäpfel", &[]),
        ("*", &[]),
        ("?", &[]),
        ("' OR '1'='1", &[]),
    ] {
        let mut expected: Vec<&String> = found.iter().map(|n: &usize| &created[*n]).collect();
        expected.reverse();
        let page = gateway.connection(json!({"filter": {"itemContains": text}})).await;
        assert_eq!(ids(&page["nodes"]).iter().collect::<Vec<_>>(), expected, "{text}");
        let path = Url::parse_with_params("http://x/orders", [("itemContains", text)]).unwrap();
        let path = format!("{}?{}", path.path(), path.query().unwrap());
        assert_eq!(gateway.listed(&path).await.iter().collect::<Vec<_>>(), expected, "{path}");
    }
    gateway.stop().await;
});

fn content(item: &str, price: usize) -> Content {
    let line = DraftLineItem { item: Some(item.into()), quantity: Some(1), price: Some(price.to_string()) };
    Draft { line_items: Some(vec![line]), ..Draft::default() }.check(Currency::USD).unwrap()
}

on_both!(
    /// More orders than one read returns lie between the matching ones.
    what_is_rare_is_found_page_by_page,
    |on| async move {
        const ORDERS: usize = 5_000;
        let rare = |n: usize| n.is_multiple_of(1_111);
        let backend = Backend::new(on).await;
        let mut expected = Vec::new();
        for start in (0..ORDERS).step_by(1_000) {
            let created_at = backend.store.now();
            let orders = OrderId::new(created_at).consecutive(1_000).into_iter().zip(start..).map(|(id, n)| {
                let item = if rare(n) { "Needle" } else { "hay" };
                if rare(n) {
                    expected.push((n % 7, id.to_string()));
                }
                NewOrder::new(id, domain::TenantId::default(), content(item, n % 7), created_at)
            });
            let creation = CreateRequest { orders: orders.collect(), idempotency: None };
            backend.store.insert([creation].into()).await.unwrap();
        }
        let mut config = quick();
        config.service.max_queue_depth = 1;
        let gateway = backend.gateway(config).await;
        for sort in [Sort::CreatedAscending, Sort::TotalDescending] {
            let (word, descending) = match sort {
                Sort::TotalDescending => ("TOTAL_DESC", true),
                _ => ("CREATED_AT_ASC", false),
            };
            let mut list = expected.clone();
            if sort.is_by_total() {
                list.sort();
            }
            if descending {
                list.reverse();
            }
            let list: Vec<String> = list.into_iter().map(|(_, id)| id).collect();
            let (mut seen, mut after) = (Vec::new(), json!(null));
            loop {
                let filter = json!({"itemContains": "needle"});
                let page =
                    gateway.connection(json!({"first": 2, "after": after, "filter": filter, "sort": word})).await;
                seen.extend(ids(&page["nodes"]));
                if page["pageInfo"]["hasNextPage"] == false {
                    break;
                }
                after = page["pageInfo"]["endCursor"].clone();
            }
            assert_eq!(seen, list, "{word}");
        }
        let filter = Filter { item_contains: Some("nowhere".to_owned()), ..Filter::default() };
        let found = tokio::time::timeout(Duration::from_secs(20), backend.store.list(&domain::Principal::anonymous(), &filter, None, 1)).await;
        assert!(found.unwrap().unwrap().is_empty());
    }
);
