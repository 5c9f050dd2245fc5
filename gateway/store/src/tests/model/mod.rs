//! The store against a model of what it should do: random creates, commands (late, repeated, several at
//! once), dispatch, pauses and time, checked after each step. The model is written without a look at
//! `domain::transition`, in terms of what users are promised.

mod known;
mod steps;
mod world;

use std::time::Duration;

use domain::RetryPolicy;
use proptest::prelude::*;

use steps::steps;
use world::World;

const LEASE: Duration = Duration::from_secs(30);
const GUARD: Duration = Duration::from_secs(10);
/// What clocks of gateways may differ by.
const TOLERANCE: Duration = domain::transition::CLOCK_TOLERANCE;
const RETRY: RetryPolicy = RetryPolicy { base: Duration::from_secs(4), cap: Duration::from_secs(60) };

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.step(step).await;
            }
            world.store.close().await;
        });
    }
}
