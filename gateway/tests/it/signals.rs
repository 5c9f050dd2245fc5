//! Statistics, the list of workers, and the health in words.

use gateway::Config;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, On, eventually};
use crate::on_both;
use crate::workers::{Worker, lease};

async fn get(gateway: &Gateway<'_>, path: &str) -> Value {
    let response = gateway.client.get(gateway.url(path)).send().await.unwrap();
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

async fn graphql(gateway: &Gateway<'_>, query: &str) -> Value {
    let body = json!({ "query": query }).to_string();
    let request = gateway.client.post(gateway.url("/graphql")).header("content-type", "application/json");
    let response: Value =
        serde_json::from_str(&request.body(body).send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(response["errors"], Value::Null, "{response}");
    response["data"].clone()
}

async fn create(gateway: &Gateway<'_>) -> String {
    let order = gateway.create_full(json!({"item": "Laptop", "quantity": 1, "price": 1})).await;
    order["id"].as_str().unwrap().to_owned()
}

/// Returns what the statistics count: accepted, started and completed orders, and the waits and times.
async fn counts(gateway: &Gateway<'_>) -> [u64; 5] {
    let stats = get(gateway, "/stats?window=15m").await;
    let totals = &stats["totals"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    assert_eq!(totals["complete"], true, "{stats}");
    [
        count(&totals["accepted"]),
        count(&totals["started"]),
        count(&totals["completed"]),
        count(&totals["wait"]["count"]),
        count(&totals["handling"]["count"]),
    ]
}

on_both!(every_gateway_knows_what_happened_over_all, |on| async move {
    let backend = Backend::new(on).await;
    let (first, second) =
        (backend.gateway(Config::default()).await, backend.gateway(Config::default()).await);
    let mut worker = Worker::connect(&second).await;
    for _ in 0..3 {
        let lease = lease(&create(&first).await);
        assert_eq!(worker.start(std::slice::from_ref(&lease)).await.attempts.len(), 1);
        assert!(worker.finish(&lease).await.refused.is_empty());
    }
    create(&first).await;
    // Each gateway knows at once what it did itself.
    assert_eq!(counts(&first).await, [4, 0, 0, 0, 0]);
    assert_eq!(counts(&second).await, [0, 3, 3, 3, 3]);
    let all = [4, 3, 3, 3, 3];
    for gateway in [&first, &second] {
        eventually("the statistics of all gateways", async || (counts(gateway).await == all).then_some(()))
            .await;
    }
    let totals = graphql(&first, "{ stats(window: \"15m\") { totals { accepted completed } } }").await;
    assert_eq!(totals["stats"]["totals"], json!({"accepted": 4, "completed": 3}));
    drop(worker);
    first.stop().await;
    second.stop().await;
    let third = backend.gateway(Config::default()).await;
    assert_eq!(counts(&third).await, all, "after the end of both gateways");
    third.stop().await;
});

on_both!(the_worker_of_an_attempt_is_known, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = create(&gateway).await;
    let mut worker = Worker::connect(&gateway).await;
    let lease = lease(&id);
    assert_eq!(worker.start(std::slice::from_ref(&lease)).await.attempts.len(), 1);

    let listed = get(&gateway, "/workers").await["workers"][0].clone();
    assert_eq!(
        (&listed["name"], &listed["state"], &listed["inFlight"]),
        (&json!("test"), &json!("connected"), &json!(1))
    );
    let detail = get(&gateway, "/workers/test").await;
    assert_eq!((&detail["name"], &detail["orders"][0]["orderId"]), (&json!("test"), &json!(id)));
    assert_eq!(detail["orders"][0]["attempt"], 1);
    let query = "{ worker(name: \"test\") { inFlight orders { orderId attempt } } workers { name state } }";
    let found = graphql(&gateway, query).await;
    assert_eq!(found["worker"]["orders"][0]["orderId"], json!(id));
    assert_eq!(found["workers"][0], json!({"name": "test", "state": "connected"}));

    assert!(worker.finish(&lease).await.refused.is_empty());
    // A second attempt of another worker, which reports one status at a time.
    let redone = create(&gateway).await;
    let client = gateway.workers().await;
    let by_hand = |status: &str, token: &str| {
        let mut client = client.clone();
        let report = proto::v1::UpdateStatusRequest {
            order_id: redone.clone(),
            status: status.to_owned(),
            lease_token: token.to_owned(),
            worker_id: "by hand".to_owned(),
            ..Default::default()
        };
        async move { client.update_status(report).await.unwrap().into_inner() }
    };
    let token = by_hand("processing", "").await.lease_token;
    by_hand("completed", &token).await;
    for (id, name) in [(&id, "test"), (&redone, "by-hand")] {
        let order = get(&gateway, &format!("/orders/{id}")).await;
        assert_eq!((&order["worker"], &order["status"]), (&json!(name), &json!("completed")));
        assert_eq!(gateway.order(id).await.worker.as_deref(), Some(name));
        let query = format!("{{ order(id: \"{id}\") {{ worker events {{ status worker }} }} }}");
        let order = graphql(&gateway, &query).await["order"].clone();
        assert_eq!(order["worker"], json!(name));
        let workers: Vec<_> =
            order["events"].as_array().unwrap().iter().map(|event| &event["worker"]).collect();
        assert_eq!(workers, [&Value::Null, &json!(name), &Value::Null]);
    }
    let of_worker = get(&gateway, "/orders?worker=test").await;
    let ids: Vec<_> = of_worker.as_array().unwrap().iter().map(|order| &order["id"]).collect();
    assert_eq!(ids, [&json!(id)]);
    let found =
        graphql(&gateway, "{ orders(filter: {worker: \"by-hand\"}) { edges { node { id } } } }").await;
    assert_eq!(found["orders"]["edges"], json!([{"node": {"id": redone}}]));
    let events = eventually("the events of both orders", async || {
        let page = get(&gateway, "/events?types=order.processing").await;
        Some(page["events"].as_array()?.clone()).filter(|events| events.len() == 2)
    })
    .await;
    let workers: Vec<_> = events.iter().map(|event| &event["data"]["worker"]).collect();
    assert_eq!(workers, [&json!("test"), &json!("by-hand")]);

    drop(worker);
    eventually("the end of the worker's stream", async || {
        (get(&gateway, "/workers/test").await["state"] == "disconnected").then_some(())
    })
    .await;
    let unknown = get(&gateway, "/workers/unknown-worker").await;
    assert_eq!(unknown["code"], "worker_not_found");
    gateway.stop().await;
});

on_both!(retried_attempts_keep_their_workers, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = Config::default();
    config.service.rules.retry.base = std::time::Duration::from_millis(1);
    config.service.rules.retry.cap = std::time::Duration::from_millis(1);
    let gateway = backend.gateway(config).await;
    let id = create(&gateway).await;
    for attempt in 1..=4 {
        let report = |status: &str, token: &str| proto::v1::UpdateStatusRequest {
            order_id: id.clone(),
            status: status.to_owned(),
            lease_token: token.to_owned(),
            worker_id: format!("worker-{attempt}"),
            ..Default::default()
        };
        let mut client = gateway.workers().await;
        let token = eventually("the start", async || {
            let started = client.clone().update_status(report("processing", "")).await;
            started.ok().map(|started| started.into_inner().lease_token)
        })
        .await;
        let end = if attempt == 4 { "completed" } else { "pending" };
        client.update_status(report(end, &token)).await.unwrap();
    }
    let query = format!("{{ order(id: \"{id}\") {{ events {{ status worker }} }} }}");
    let order = graphql(&gateway, &query).await["order"].clone();
    let events = order["events"].as_array().unwrap();
    let workers: Vec<_> = events.iter().filter_map(|event| event["worker"].as_str()).collect();
    assert_eq!((events.len(), workers), (9, vec!["worker-1", "worker-2", "worker-3", "worker-4"]));
    gateway.stop().await;
});

on_both!(the_health_names_what_is_wrong, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let codes = async || {
        let health = get(&gateway, "/health").await;
        let reasons = health["reasons"].as_array().unwrap();
        let codes: Vec<_> =
            reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect();
        assert_eq!(health["status"] == "ok", codes.is_empty(), "{health}");
        codes
    };
    eventually("the missing worker", async || codes().await.contains(&"no_workers".to_owned()).then_some(()))
        .await;
    let worker = Worker::connect(&gateway).await;
    eventually("no reason", async || codes().await.is_empty().then_some(())).await;
    let pause = gateway.client.post(gateway.url("/queue/pause")).header("content-type", "application/json");
    assert!(pause.body("{}").send().await.unwrap().status().is_success());
    assert_eq!(codes().await, ["paused"]);
    let health =
        graphql(&gateway, "{ health { status reasons { code severity message } } }").await["health"].clone();
    assert_eq!(
        (&health["status"], &health["reasons"][0]["severity"]),
        (&json!("degraded"), &json!("warning"))
    );
    drop(worker);
    gateway.stop().await;
});

on_both!(the_parts_of_the_system_are_listed, |on| async move {
    let backend = Backend::new(on).await;
    let config = |host: &str| {
        let mut config = Config::default();
        config.service.host = host.to_owned();
        config
    };
    let (first, second) = (backend.gateway(config("web-1")).await, backend.gateway(config("web-2")).await);
    let hosts = |system: &Value| -> Vec<String> {
        let gateways = system["gateways"].as_array().unwrap().iter();
        let mut hosts: Vec<_> =
            gateways.map(|gateway| gateway["host"].as_str().unwrap().to_owned()).collect();
        hosts.sort();
        hosts
    };
    for gateway in [&first, &second] {
        let system = eventually("both gateways", async || {
            let system = get(gateway, "/system").await;
            (hosts(&system) == ["web-1", "web-2"]).then_some(system)
        })
        .await;
        let database = system["database"]["version"].as_str().unwrap();
        let redis = system["redis"]["version"].as_str();
        match on {
            On::Embedded => assert!(database.starts_with("SQLite 3.") && redis.is_none(), "{system}"),
            On::Servers => {
                let known = ["MariaDB ", "MySQL "].iter().any(|name| database.starts_with(name));
                assert!(known && redis.unwrap().starts_with("Redis "), "{system}");
            }
        }
        assert!(system["database"]["latencySeconds"].as_f64().unwrap() > 0.0);
        let query = "{ system { gateways { id host version startedAt } database { version } redis { version } \
                     settings { name value source } } }";
        let same = graphql(gateway, query).await["system"].clone();
        assert_eq!(same["database"]["version"], database);
        assert_eq!(same["redis"]["version"].as_str(), redis);
        assert_eq!(same["settings"], system["settings"]);
        for (one, other) in
            same["gateways"].as_array().unwrap().iter().zip(system["gateways"].as_array().unwrap())
        {
            for name in ["id", "host", "version", "startedAt"] {
                assert_eq!(one[name], other[name]);
            }
        }
    }
    second.stop().await;
    eventually("the end of the second gateway", async || {
        (hosts(&get(&first, "/system").await) == ["web-1"]).then_some(())
    })
    .await;
    first.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_statistics_are_checked() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(Config::default()).await;
    for (query, parameter) in [
        ("window=7h", "window"),
        ("window=59s", "window"),
        ("window=soon", "window"),
        ("window=15m&step=15s", "step"),
        ("window=6h&step=10s", "step"),
        ("span=1h", "span"),
    ] {
        let problem = get(&gateway, &format!("/stats?{query}")).await;
        assert_eq!(
            (&problem["code"], &problem["errors"][0]["parameter"]),
            (&json!("invalid_input"), &json!(parameter)),
            "{query}: {problem}"
        );
    }
    gateway.stop().await;
}
