//! A connection between each pair of parts is cut, stalls or is slow. The second gateway and the second processor keep
//! their connections.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Api, id};
use crate::proxy::Mode;
use crate::run::{LONG, Outcome, Run};
use crate::system::{Link, Plan};

const SHORT: Duration = Duration::from_secs(3);

async fn run_with_faulty_link(name: &'static str, link: Link, mode: Mode) -> Outcome {
    // A slow connection must not cost an attempt.
    let plan = if mode == Mode::Slow { Plan::patient() } else { Plan::default() };
    let run = Run::on_servers(name, Plan { link: Some(link), ..plan }).await;
    run.system.set_link(mode);
    // Only the duration of a stall has an effect.
    run.lasts(if mode == Mode::Stall { LONG } else { SHORT }).await;
    run.system.set_link(Mode::Pass);
    run.reconcile().await
}

/// Defines the tests of the links; the last word is the check of the outcome.
macro_rules! faults {
    ($($name:ident: $mode:ident $link:ident $clients:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let outcome = run_with_faulty_link(stringify!($name), Link::$link, Mode::$mode).await;
            outcome.$clients();
        }
    )*};
}

faults! {
    cut_gateway_mariadb: Cut GatewayToMariaDb costs_creates;
    stall_gateway_mariadb: Stall GatewayToMariaDb costs_creates;
    slow_gateway_mariadb: Slow GatewayToMariaDb costs_delay_only;
    cut_gateway_redis: Cut GatewayToRedis costs_no_create;
    stall_gateway_redis: Stall GatewayToRedis costs_no_create;
    slow_gateway_redis: Slow GatewayToRedis costs_delay_only;
    cut_processor_redis: Cut ProcessorToRedis costs_no_create;
    stall_processor_redis: Stall ProcessorToRedis costs_no_create;
    slow_processor_redis: Slow ProcessorToRedis costs_delay_only;
    cut_processor_gateway: Cut ProcessorToGateway costs_no_create;
    stall_processor_gateway: Stall ProcessorToGateway costs_no_create;
    slow_processor_gateway: Slow ProcessorToGateway costs_delay_only;
    cut_client_gateway: Cut ClientToGateway costs_creates;
    stall_client_gateway: Stall ClientToGateway costs_creates;
    slow_client_gateway: Slow ClientToGateway costs_delay_only;
}

/// 1.8 MB. A narrow connection transfers it in more than two leases, and in twice the time that a worker waits for a
/// response.
const LARGE_ORDERS: usize = 40;

/// Large orders on a slow connection to a processor delay only each other. No lease expires, the connection stays open,
/// and later small orders are completed earlier.
#[tokio::test(flavor = "multi_thread")]
async fn large_orders_on_slow_link() {
    let plan = Plan { link: Some(Link::ProcessorToGateway), processors: 1, ..Plan::patient() };
    let run = Run::on_servers("large_orders_on_slow_link", plan).await;
    run.system.set_link(Mode::Narrow);
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
    run.system.set_link(Mode::Pass);
    run.reconcile().await.costs_delay_only();
}

fn updated_at(order: &Value) -> String {
    order["updatedAt"].as_str().expect("an order has a time").to_owned()
}
