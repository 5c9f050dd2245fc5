//! A transaction that fails because of one order is repeated for the others alone.

use std::collections::BTreeSet;

use gateway::Config;
use gateway::Store;
use gateway::store::Options;
use proto::v1;
use serde_json::{Value, json};
use test_database::Database;

use crate::defective_rows::{damage, forgotten, run};
use crate::harness::{Backend, Gateway, On, eventually, unique_name};
use crate::on_both;
use crate::workers::{Worker, lease};

/// The store of a user whose statements the server ends after two seconds. MySQL has no such limit for an UPDATE.
async fn limited(backend: &Backend, admin: &mut Database) -> Option<Store> {
    let version: String = admin.value("SELECT VERSION()").await.unwrap();
    if !version.contains("MariaDB") {
        return None;
    }
    let user = unique_name();
    for statement in [
        format!("CREATE USER {user} IDENTIFIED BY 'pw' WITH MAX_STATEMENT_TIME 2"),
        format!("GRANT ALL ON *.* TO {user}"),
    ] {
        admin.run(statement).await.unwrap();
    }
    let mut url = url::Url::parse(backend.url()).unwrap();
    url.set_username(&user).unwrap();
    url.set_password(Some("pw")).unwrap();
    Some(Store::connect(url.as_str(), &Options::default()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_update_exceeds_the_statement_timeout_is_parked_alone() {
    let backend = Backend::new(On::Servers).await;
    let mut admin = damage(&backend, On::Servers).await;
    let limited = limited(&backend, &mut admin).await;
    let does = if limited.is_some() {
        "DO SLEEP(60)"
    } else {
        "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 3024, MESSAGE_TEXT = 'a test says so'"
    };
    let store = match limited {
        Some(store) => store,
        None => backend.gateway_store().await,
    };
    let mut config = Config::default();
    // Isolation takes several transactions.
    config.service.rules.lease = std::time::Duration::from_secs(600);
    let gateway = backend.gateway_over(store, config).await;
    let ids = forgotten(&gateway, 8).await;
    let slow = &ids[5];
    run(&mut admin, "UPDATE orders SET customer = 'slow' WHERE id = {id}", slow).await;
    let trigger = format!(
        "CREATE TRIGGER slow BEFORE UPDATE ON orders FOR EACH ROW IF OLD.customer = 'slow' \
         AND NEW.status = 'processing' THEN {does}; END IF"
    );
    run(&mut admin, &trigger, "").await;

    let mut worker = Worker::connect(&gateway).await;
    let leases: Vec<v1::Lease> = ids.iter().map(|id| lease(id)).collect();
    let mut open = leases.clone();
    let mut started = BTreeSet::new();
    let mut refused = Vec::new();
    // A worker repeats requests that were answered TryAgain.
    while !open.is_empty() {
        let Some(answer) = worker.try_start(&open).await else { continue };
        open.clear();
        started.extend(answer.attempts.into_iter().map(|attempt| attempt.order.unwrap().order_id));
        for one in answer.refused {
            match one.reason.as_str() {
                "try_again" => open.push(one.lease.unwrap()),
                _ => refused.push((one.lease.unwrap().order_id, one.reason)),
            }
        }
    }
    // The request during which the order is parked gets the answer, if its client still waits.
    assert!(
        refused == [(slow.clone(), "order_unreadable".to_owned())]
            || refused == [(slow.clone(), "not_yet".to_owned())],
        "{refused:?}"
    );
    assert_eq!(started, ids.iter().filter(|id| *id != slow).cloned().collect());
    assert_eq!(backend.store.parked().await.unwrap(), 1);
    for lease in leases.iter().filter(|lease| lease.order_id != *slow) {
        assert_eq!(worker.finish(lease).await.refused, []);
    }
    // Without the trigger the order is processed normally.
    run(&mut admin, "DROP TRIGGER slow", "").await;
    run(&mut admin, "UPDATE orders SET held_until = 1 WHERE id = {id}", slow).await;
    backend.store.recheck_parked(&[slow.parse().unwrap()]).await.unwrap();
    let lease = lease(slow);
    assert_eq!(worker.start(std::slice::from_ref(&lease)).await.attempts.len(), 1);
    assert_eq!(worker.finish(&lease).await.refused, []);
    drop(worker);
    gateway.stop().await;
}

async fn post(gateway: &Gateway<'_>, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let request = gateway.client.post(gateway.url(path)).header("content-type", "application/json");
    let response = request.header("idempotency-key", key).body(body.to_string()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

on_both!(a_create_that_the_database_rejects_fails_alone, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut connection = damage(&backend, on).await;
    let trigger = match on {
        On::Embedded => {
            "CREATE TRIGGER refused BEFORE INSERT ON orders WHEN NEW.customer = 'refused' \
             BEGIN SELECT RAISE(ABORT, 'refused by a rule'); END"
        }
        On::Servers => {
            "CREATE TRIGGER refused BEFORE INSERT ON orders FOR EACH ROW IF NEW.customer = 'refused' THEN \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused by a rule'; END IF"
        }
    };
    run(&mut connection, trigger, "").await;
    let order = |refused: bool| {
        let customer = if refused { "refused" } else { "accepted" };
        json!({"item": "Vase", "quantity": 1, "price": 1, "customer": customer})
    };
    let is_refused = |n: usize| n % 8 == 3;
    let keys: Vec<String> = (0..80).map(|n| format!("key-{n}")).collect();
    let creates = keys.iter().enumerate().map(|(n, key)| {
        let (gateway, body) = (&gateway, order(is_refused(n)));
        async move { post(gateway, "/orders", key, &body).await }
    });
    let answers = futures_util::future::join_all(creates).await;
    for (n, (status, body)) in answers.iter().enumerate() {
        let expected = if is_refused(n) { (422, json!("order_refused")) } else { (201, Value::Null) };
        // An accepted order also has a member `code`.
        let error = if *status == 201 { Value::Null } else { body["code"].clone() };
        assert_eq!((*status, error), expected, "{body}");
    }
    let orders = |gateway| {
        let gateway: &Gateway<'_> = gateway;
        async move {
            let response = gateway.client.get(gateway.url("/orders?limit=1000")).send().await.unwrap();
            let list: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            list.as_array().unwrap().len()
        }
    };
    assert_eq!(orders(&gateway).await, 70);

    // GraphQL returns a user error, and a bulk is rejected as a whole.
    let query = "mutation($input: CreateOrderInput!) { createOrder(input: $input) { order { id } userErrors { code } } }";
    let input = json!({"item": "Vase", "quantity": 1, "price": "1", "customer": "refused"});
    let (_, answer) = gateway.graphql(query, json!({"input": input})).await;
    assert_eq!(answer["data"]["createOrder"]["userErrors"][0]["code"], "order_refused", "{answer}");
    let bulk = json!([order(false), order(true)]);
    let (status, body) = post(&gateway, "/orders/bulk", "bulk", &bulk).await;
    assert_eq!((status, &body["code"]), (422, &json!("order_refused")), "{body}");
    assert_eq!(orders(&gateway).await, 70);

    // The key of a rejected create is free.
    run(&mut connection, "DROP TRIGGER refused", "").await;
    assert_eq!(post(&gateway, "/orders", &keys[3], &order(true)).await.0, 201);
    eventually("readiness", || async {
        let ready = gateway.client.get(gateway.url("/readyz")).send().await.unwrap();
        (ready.status() == 200).then_some(())
    })
    .await;
    gateway.stop().await;
});
