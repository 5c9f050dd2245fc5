//! The erasure of the personal data of a customer, on both databases.

use domain::transition::{Command, Rules};
use domain::{JsonText, LeaseToken, OrderId, Outcome, Principal, TenantId};
use gateway::Config;
use serde_json::json;

use crate::harness::{Backend, check_invariants, requester};
use crate::on_both;

async fn apply(backend: &Backend, id: OrderId, command: Command) {
    backend.store.apply([(id, command)].into(), Rules::default()).await.unwrap();
}

on_both!(final_orders_of_a_customer_are_erased, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let create = async |customer: &str| -> OrderId {
        let order = json!({"item": "Tea", "quantity": 1, "price": 1, "customer": customer,
            "externalReference": format!("{customer}-1")});
        gateway.create(order).await.parse().unwrap()
    };
    let (cancelled, failed, open, of_bob) =
        (create("Ann").await, create("Ann").await, create("Ann").await, create("Bob").await);
    let because = |reason: &str| Command::Cancel { reason: Some(reason.to_owned()), requester: None };
    apply(&backend, cancelled, because("Ann called")).await;
    apply(&backend, of_bob, because("Bob called")).await;
    let lease = LeaseToken::random();
    apply(&backend, open, Command::start(lease)).await;
    apply(&backend, open, checkpoint(lease)).await;
    fail_twice(&backend, failed).await;

    let tenant = TenantId::default();
    let other: TenantId = "other".parse().unwrap();
    let none = backend.store.erase_customer(&other, "Ann", &requester()).await.unwrap();
    assert_eq!((none.orders, none.open), (0, 0));
    let erased = backend.store.erase_customer(&tenant, "Ann", &requester()).await.unwrap();
    assert_eq!((erased.orders, erased.open), (2, 1));
    let again = backend.store.erase_customer(&tenant, "Ann", &requester()).await.unwrap();
    assert_eq!((again.orders, again.open), (0, 1));

    let caller = Principal::anonymous();
    let outputs = backend.store.outputs(&[cancelled, failed, open, of_bob]).await.unwrap();
    assert!(!outputs.contains_key(&failed) && outputs.contains_key(&open), "{outputs:?}");
    let orders = backend.store.orders(&caller, &[cancelled, failed, open, of_bob]).await.unwrap();
    let order = |id| orders.iter().find(|order| order.id == id).unwrap();
    let pseudonym = order(cancelled).customer.clone().unwrap();
    assert!(pseudonym.starts_with("erased:") && !pseudonym.contains("Ann"), "{pseudonym}");
    for id in [cancelled, failed] {
        assert_eq!(order(id).customer.as_deref(), Some(pseudonym.as_str()));
        assert_eq!(order(id).external_reference, None);
        assert_eq!(order(id).reason.as_deref(), Some("erased"));
    }
    assert_eq!(order(open).customer.as_deref(), Some("Ann"));
    assert_eq!(order(of_bob).reason.as_deref(), Some("Bob called"));
    let events = backend.store.events_after(&caller, &[(cancelled, 0), (failed, 0)]).await.unwrap();
    let reasons: Vec<_> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
    assert_eq!(reasons, ["erased"; 4], "one of the cancelled order and three of the failed one");
    check_invariants(&backend.store).await;

    let log = backend.store.audit_log(None, None, 10).await.unwrap();
    assert_eq!(log.len(), 1, "only the erasure that changed something");
    assert_eq!((log[0].action.as_str(), &log[0].target), ("customer.erase", &pseudonym));
    assert_eq!(log[0].detail.as_deref(), Some("2 orders"));
    gateway.stop().await;
});

/// Lets an order fail, redrives it and lets it fail again, so that some of its events are outside its row.
fn checkpoint(lease: LeaseToken) -> Command {
    Command::Checkpoint { lease, checkpoint: JsonText::parse(r#"{"customer":"Ann"}"#).unwrap() }
}

async fn fail_twice(backend: &Backend, id: OrderId) {
    for reason in ["Ann is away", "Ann is still away"] {
        let lease = LeaseToken::random();
        let outcome = Outcome::failed(reason);
        apply(backend, id, Command::start(lease)).await;
        apply(backend, id, checkpoint(lease)).await;
        apply(backend, id, Command::Finish { lease, outcome }).await;
        if reason == "Ann is away" {
            let reason = Some("redriven by Ann".to_owned());
            apply(backend, id, Command::Redrive { reason, not_before: None, requester: None }).await;
        }
    }
}
