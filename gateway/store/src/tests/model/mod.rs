//! Compares the store with a model: random creates, commands (late, repeated, several at once), dispatch, pauses and
//! time, checked after each step.
//!
//! The model is written independently of `domain::transition`, by what users are promised.

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
/// The permitted difference between the clocks of gateways.
const TOLERANCE: Duration = domain::transition::CLOCK_TOLERANCE;
const RETRY: RetryPolicy = RetryPolicy { base: Duration::from_secs(4), cap: Duration::from_secs(60) };

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_the_model(steps in steps()) {
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
