//! A clock is set while orders wait, are held and are worked on. One that was set forward is set right after a while,
//! which is a step back; one that was set back stays so, and every order has to end all the same.
//!
//! The clock of a processor or of a gateway is used by nothing, so nobody notices. The clock of the database is the
//! clock of all gateways: no accepted order stalls, however far it was set back, and no live lease is taken, however
//! far it was set forward. With SQLite the clock of the program is the one of the database.

use crate::run::{LONG, Run};
use crate::shim::Shim;
use crate::system::Plan;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Whose clock is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Processor,
    Gateway,
    Database,
    Embedded,
}

async fn jump(name: &'static str, seconds: i64, of: Of) {
    let clock = Shim::clock();
    let mut plan = Plan::patient();
    match of {
        Of::Processor => plan.processor_variables = clock.variables(),
        Of::Gateway => plan.gateway_variables = clock.variables(),
        Of::Database => plan.database_variables = clock.variables(),
        Of::Embedded => {}
    }
    let run = match of {
        Of::Embedded => Run::embedded(name, &clock.variables()).await,
        Of::Processor | Of::Gateway | Of::Database => Run::on_servers(name, plan).await,
    };
    clock.begin(&seconds.to_string());
    run.lasts(LONG).await;
    if seconds > 0 {
        clock.end();
    }
    let outcome = run.reckon().await;
    match of {
        // Its leases are short, and a busy machine alone may let one run out.
        Of::Embedded => outcome.clients_do_not_notice(),
        Of::Processor | Of::Gateway | Of::Database => outcome.costs_delay_only(),
    }
}

macro_rules! jumps {
    ($($name:ident: $seconds:expr, $of:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                jump(stringify!($name), $seconds, $of).await;
            }
        )*
    };
}

jumps! {
    processor_clock_plus_5_min: 5 * MINUTE, Of::Processor;
    processor_clock_minus_5_min: -5 * MINUTE, Of::Processor;
    gateway_clock_plus_5_min: 5 * MINUTE, Of::Gateway;
    gateway_clock_minus_5_min: -5 * MINUTE, Of::Gateway;
    gateway_clock_minus_1_day: -DAY, Of::Gateway;
    database_clock_minus_1_min: -MINUTE, Of::Database;
    database_clock_minus_1_hour: -HOUR, Of::Database;
    database_clock_minus_1_day: -DAY, Of::Database;
    database_clock_plus_1_min: MINUTE, Of::Database;
    database_clock_plus_1_hour: HOUR, Of::Database;
    database_clock_plus_1_day: DAY, Of::Database;
    embedded_clock_minus_1_min: -MINUTE, Of::Embedded;
    embedded_clock_minus_1_hour: -HOUR, Of::Embedded;
    embedded_clock_plus_1_hour: HOUR, Of::Embedded;
    embedded_clock_minus_1_day: -DAY, Of::Embedded;
}
