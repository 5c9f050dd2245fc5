//! Searches do not slow other requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use domain::{Content, Currency, Draft, DraftLineItem, OrderId};
use gateway::store::{CreateRequest, NewOrder, SEARCHES};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, client, eventually, quick};
use crate::{ALONE, on_both};

/// Few enough to be written quickly, and more than a search scans at once.
const ORDERS: usize = 20_000;
const ITEMS: usize = 20;
const CLIENTS: usize = 20;
/// The retry interval of a rejected client; far below `Retry-After`.
const AGAIN: Duration = Duration::from_millis(50);
/// The limit of the 99th percentile of reads.
const BOUND: Duration = Duration::from_millis(100);
/// Another program may use the machine for a moment. A read that waits for searches waits in every round.
const ROUNDS: usize = 5;
/// Reads of the client without searches.
const READS: usize = 400;

fn content() -> Content {
    let line = |n: usize| DraftLineItem {
        item: Some(format!("a thing with the number {n} in its name")),
        quantity: Some(1),
        price: Some("12.34".into()),
    };
    let customer = Some("Ann".to_owned());
    let draft = Draft { line_items: Some((0..ITEMS).map(line).collect()), customer, ..Draft::default() };
    draft.check(Currency::USD).unwrap()
}

async fn fill(backend: &Backend) -> OrderId {
    let (content, mut last) = (content(), None);
    for _ in 0..ORDERS / 500 {
        let created_at = backend.store.now();
        let ids = OrderId::new(created_at).consecutive(500);
        last = ids.last().copied();
        let orders = ids
            .into_iter()
            .map(|id| NewOrder::new(id, domain::TenantId::default(), content.clone(), created_at));
        let creation = CreateRequest { orders: orders.collect(), idempotency: None };
        backend.store.insert([creation].into()).await.unwrap();
    }
    last.unwrap()
}

/// The 99th percentile of reads of an order. Creates and lists that use an index succeed meanwhile.
async fn p99_of_reads(gateway: &Gateway<'_>, id: OrderId) -> Duration {
    let mut took = Vec::new();
    let create = json!({"item": "x", "quantity": 1, "price": 1});
    for n in 0..READS {
        let started = Instant::now();
        let response = gateway.client.get(gateway.url(&format!("/orders/{id}"))).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.bytes().await.unwrap();
        took.push(started.elapsed());
        if n % 20 == 0 {
            gateway.create(create.clone()).await;
            let listed =
                gateway.client.get(gateway.url("/orders?customer=Ann&limit=5")).send().await.unwrap();
            assert_eq!(listed.status(), StatusCode::OK);
        }
    }
    took.sort_unstable();
    took[READS * 99 / 100]
}

on_both!(twenty_searching_clients_do_not_slow_down_a_read, |on| async move {
    let _alone = ALONE.lock().await;
    let backend = Backend::new(on).await;
    let id = fill(&backend).await;
    let mut config = quick();
    config.service.max_queue_depth = 1;
    let gateway = backend.gateway(config).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (found, refused) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let paths = [
        "/orders?itemContains=zzzz&limit=1000",
        "/orders?errorClass=zzz",
        "/orders?customer=Ann&sort=-total&status=failed",
        "/orders?totalFrom=99999999",
        "/dead-letters?errorClass=zzz&itemContains=zzz",
    ];
    let mut searching = Vec::new();
    for n in 0..CLIENTS {
        let (url, stop) = (gateway.url(paths[n % paths.len()]), stop.clone());
        let (found, refused) = (found.clone(), refused.clone());
        searching.push(tokio::spawn(async move {
            let client = client();
            while !stop.load(Ordering::Relaxed) {
                let response = client.get(&url).send().await.unwrap();
                let (status, wait) = (response.status(), response.headers().contains_key("retry-after"));
                let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
                match (status.as_u16(), body["code"].as_str()) {
                    (200, None) => assert_eq!(body, json!([])),
                    // A slow machine scans fewer rows in the time of a search.
                    (503, Some("query_timeout")) => {}
                    (503, Some("overloaded")) => {
                        assert!(wait, "{body}");
                        refused.fetch_add(1, Ordering::Relaxed);
                        // Twenty clients without a pause would measure the rejections.
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                    _ => panic!("{body}"),
                }
                found.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    eventually("both kinds of answers", || async {
        let seen = (found.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
        (seen.0 > 0 && seen.1 > 0).then_some(())
    })
    .await;
    let mut rounds = Vec::new();
    while rounds.len() < ROUNDS && rounds.iter().all(|p99| *p99 >= BOUND) {
        rounds.push(p99_of_reads(&gateway, id).await);
    }
    stop.store(true, Ordering::Relaxed);
    for client in searching {
        client.await.unwrap();
    }
    println!("{on:?}: p99 {rounds:?}, {found:?} searches, {refused:?} refused");
    assert!(rounds.last().is_some_and(|p99| *p99 < BOUND), "{rounds:?}");
    gateway.stop().await;
});

on_both!(a_search_that_is_given_up_makes_room_for_the_next, |on| async move {
    let _alone = ALONE.lock().await;
    let backend = Backend::new(on).await;
    fill(&backend).await;
    let mut config = quick();
    config.service.max_queue_depth = 1;
    let gateway = backend.gateway(config).await;
    let search = || gateway.client.get(gateway.url("/orders?itemContains=zzzz"));
    for _ in 0..5 {
        let mut given_up = Vec::new();
        for _ in 0..SEARCHES {
            given_up.push(tokio::spawn(search().timeout(Duration::from_millis(20)).send()));
        }
        for request in given_up {
            // Most of them; a fast machine may finish in time.
            let _ = request.await.unwrap();
        }
        eventually("a place", || async {
            let answer = search().send().await.unwrap().text().await.unwrap();
            (!answer.contains("overloaded")).then_some(())
        })
        .await;
    }
    let document = json!({"query": "{ orders(filter: {itemContains: \"zzzz\"}) { nodes { id } } }"});
    let graphql = || {
        let request = gateway.client.post(gateway.url("/graphql")).header("content-type", "application/json");
        request.body(document.to_string()).send()
    };
    let answers = futures_util::future::join_all((0..8).map(|_| graphql())).await;
    let mut refused = 0;
    for answer in answers {
        let answer: Value = serde_json::from_str(&answer.unwrap().text().await.unwrap()).unwrap();
        match answer["errors"][0]["extensions"]["code"].as_str() {
            None => assert_eq!(answer["data"]["orders"]["nodes"], json!([])),
            Some("overloaded") => refused += 1,
            code => assert_eq!(code, Some("query_timeout"), "{answer}"),
        }
    }
    assert!(refused > 0, "eight searches at once are more than may run");
    gateway.stop().await;
});
