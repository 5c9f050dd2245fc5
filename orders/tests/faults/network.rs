//! A connection is cut, stalls or is slow, between each pair of parts. The others of their kind, the
//! second gateway and the second processor, keep theirs.

use std::time::Duration;

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
