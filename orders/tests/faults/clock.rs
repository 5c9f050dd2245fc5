//! A clock is changed while orders wait, are queued and are processed. A clock that was set forward is corrected later,
//! which is a step back. A clock that was set back is not corrected, and every order must still become final.
//!
//! No component uses the clock of a processor or of a gateway, so a change has no effect. The clock of the database is
//! the clock of all gateways. After a step back of any size no accepted order stalls, and after a step forward no valid
//! lease ends. With SQLite the clock of the database is the clock of the program.

use crate::run::{LONG, Run};
use crate::shim::Shim;
use crate::system::Plan;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// The part whose clock is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    Processor,
    Gateway,
    Database,
    Embedded,
}

async fn step_clock(name: &'static str, seconds: i64, part: Clock) {
    let shim = Shim::clock();
    let mut plan = Plan::patient();
    match part {
        Clock::Processor => plan.processor_variables = shim.variables(),
        Clock::Gateway => plan.gateway_variables = shim.variables(),
        Clock::Database => plan.database_variables = shim.variables(),
        Clock::Embedded => {}
    }
    let run = match part {
        Clock::Embedded => Run::embedded(name, &shim.variables()).await,
        Clock::Processor | Clock::Gateway | Clock::Database => Run::on_servers(name, plan).await,
    };
    shim.begin(&seconds.to_string());
    run.lasts(LONG).await;
    if seconds > 0 {
        shim.end();
    }
    let outcome = run.reconcile().await;
    match part {
        // Its leases are short, and one can expire on a busy machine.
        Clock::Embedded => outcome.costs_no_create(),
        Clock::Processor | Clock::Gateway | Clock::Database => outcome.costs_delay_only(),
    }
}

macro_rules! clock_steps {
    ($($name:ident: $seconds:expr, $of:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                step_clock(stringify!($name), $seconds, $of).await;
            }
        )*
    };
}

clock_steps! {
    processor_clock_plus_5_min: 5 * MINUTE, Clock::Processor;
    processor_clock_minus_5_min: -5 * MINUTE, Clock::Processor;
    gateway_clock_plus_5_min: 5 * MINUTE, Clock::Gateway;
    gateway_clock_minus_5_min: -5 * MINUTE, Clock::Gateway;
    gateway_clock_minus_1_day: -DAY, Clock::Gateway;
    database_clock_minus_1_min: -MINUTE, Clock::Database;
    database_clock_minus_1_hour: -HOUR, Clock::Database;
    database_clock_minus_1_day: -DAY, Clock::Database;
    database_clock_plus_1_min: MINUTE, Clock::Database;
    database_clock_plus_1_hour: HOUR, Clock::Database;
    database_clock_plus_1_day: DAY, Clock::Database;
    embedded_clock_minus_1_min: -MINUTE, Clock::Embedded;
    embedded_clock_minus_1_hour: -HOUR, Clock::Embedded;
    embedded_clock_plus_1_hour: HOUR, Clock::Embedded;
    embedded_clock_minus_1_day: -DAY, Clock::Embedded;
}
