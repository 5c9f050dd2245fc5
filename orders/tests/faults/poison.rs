//! An order that kills its worker each time.

use crate::harness::Api;
use crate::run::Run;
use crate::system::Plan;
use crate::webhook::{CHOSEN, Webhook};

const MAX_ATTEMPTS: u32 = 3;

/// It ends as failed after its attempts. The others are completed, if some of them later.
#[tokio::test(flavor = "multi_thread")]
async fn poison_order() {
    let mut webhook = Webhook::start().await;
    let plan = Plan { webhook: Some(webhook.base.clone()), ..Plan::default() };
    let mut run = Run::on_servers("poison_order", plan).await;
    let id = run.ledger.create(CHOSEN, MAX_ATTEMPTS).await;
    for number in 1..=MAX_ATTEMPTS {
        let attempt = webhook.attempt().await;
        assert_eq!(attempt.number, u64::from(number));
        let victim = &mut run.system.processors[attempt.processor];
        victim.process.kill();
        victim.restart().await;
    }
    Api::new(run.system.http[0].clone()).reaches(&id, "failed").await;
    run.reckon_with(|reference| reference == CHOSEN).await;
}
