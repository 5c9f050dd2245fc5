//! A connection is cut, stalls or is slow, between each pair of parts. The others of their kind, the
//! second gateway and the second processor, keep theirs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Api, id};
use crate::proxy::Mode;
use crate::run::{LONG, Outcome, Run};
use crate::system::{Link, Plan};

const SHORT: Duration = Duration::from_secs(3);

async fn spoil(name: &'static str, link: Link, mode: Mode) -> Outcome {
    // What is slow is not gone, so it may not cost an attempt.
    let plan = if mode == Mode::Slow { Plan::patient() } else { Plan::default() };
    let run = Run::on_servers(name, Plan { link: Some(link), ..plan }).await;
    run.system.spoil(mode);
    // A stall is noticed by its length alone.
    run.lasts(if mode == Mode::Stall { LONG } else { SHORT }).await;
    run.system.spoil(Mode::Pass);
    run.reckon().await
}

/// Tests of the links. What is said of the outcome stands last.
macro_rules! faults {
    ($($name:ident: $mode:ident $link:ident $clients:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let outcome = spoil(stringify!($name), Link::$link, Mode::$mode).await;
            outcome.$clients();
        }
    )*};
}

faults! {
    cut_gateway_mariadb: Cut GatewayToMariaDb clients_may_notice;
    stall_gateway_mariadb: Stall GatewayToMariaDb clients_may_notice;
    slow_gateway_mariadb: Slow GatewayToMariaDb costs_delay_only;
    cut_gateway_redis: Cut GatewayToRedis clients_do_not_notice;
    stall_gateway_redis: Stall GatewayToRedis clients_do_not_notice;
    slow_gateway_redis: Slow GatewayToRedis costs_delay_only;
    cut_processor_redis: Cut ProcessorToRedis clients_do_not_notice;
    stall_processor_redis: Stall ProcessorToRedis clients_do_not_notice;
    slow_processor_redis: Slow ProcessorToRedis costs_delay_only;
    cut_processor_gateway: Cut ProcessorToGateway clients_do_not_notice;
    stall_processor_gateway: Stall ProcessorToGateway clients_do_not_notice;
    slow_processor_gateway: Slow ProcessorToGateway costs_delay_only;
    cut_client_gateway: Cut ClientToGateway clients_may_notice;
    stall_client_gateway: Stall ClientToGateway clients_may_notice;
    slow_client_gateway: Slow ClientToGateway costs_delay_only;
}

/// 1.8 MB, which a narrow connection carries in more than two leases and twice the time that a worker waits for an answer.
const LARGE_ORDERS: usize = 40;

/// Large orders on a slow connection to a processor delay only each other: no lease runs out, the connection is kept,
/// and small orders that come later are completed earlier.
#[tokio::test(flavor = "multi_thread")]
async fn large_orders_on_slow_link() {
    let plan = Plan { link: Some(Link::ProcessorToGateway), processors: 1, ..Plan::patient() };
    let run = Run::on_servers("large_orders_on_slow_link", plan).await;
    run.system.spoil(Mode::Narrow);
    let gateway = Api::new(run.system.http[0].clone());
    let line = json!({"item": "x".repeat(200), "quantity": 1, "price": 1});
    let create = async |reference: String, lines: usize| {
        let order = json!({"lineItems": vec![&line; lines], "externalReference": reference});
        let (status, order) = gateway.post("/orders", &order).await;
        assert_eq!(status, 201, "{order}");
        id(&order)
    };
    let mut ids = Vec::new();
    for n in 0..LARGE_ORDERS {
        ids.push(create(format!("large-{n}"), 200).await);
    }
    let small = create("small".to_owned(), 1).await;
    let small = gateway.wait_for_status(&small, "completed").await;
    let mut last = String::new();
    for id in &ids {
        let order = gateway.wait_for_status(id, "completed").await;
        last = last.max(updated_at(&order));
    }
    assert!(updated_at(&small) < last, "the small order was completed after the last large one");
    let processor = &run.system.processors[0].process;
    assert_eq!(processor.count_logged("stream to the gateway lost"), 0);
    run.system.spoil(Mode::Pass);
    run.reckon().await.costs_delay_only();
}

fn updated_at(order: &Value) -> String {
    order["updatedAt"].as_str().expect("an order has a time").to_owned()
}
