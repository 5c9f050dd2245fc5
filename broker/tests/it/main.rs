//! One suite for both adapters of the ports, and what only Redis can show.
//!
//! The Redis of `ORDERS_TEST_REDIS_URL` is shared by all tests, so each has a key prefix of its own.
//! Tests that stop a Redis start one for themselves. (`cfg(test)` tells clippy that these are tests.)

#[cfg(test)]
mod backend;
#[cfg(test)]
mod bus;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod server;

/// Runs each case, a function that takes a [`backend::Backend`], once for each adapter.
macro_rules! conformance {
    ($($module:ident: $($case:ident),+ $(,)?;)+) => {
        mod memory_conformance {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$module::$case(super::backend::memory()).await;
                }
            )+)+
        }

        mod redis_conformance {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$module::$case(super::backend::redis()).await;
                }
            )+)+
        }
    };
}

conformance! {
    queue:
        jobs_come_out_in_the_order_in_which_they_went_in,
        urgent_jobs_come_out_first,
        a_pull_takes_no_more_than_it_asked_for,
        a_pull_for_nothing_answers_at_once,
        an_empty_push_changes_nothing,
        a_pull_waits_for_the_first_job,
        a_pull_gives_up_when_its_wait_is_over,
        each_job_goes_to_exactly_one_of_many_pullers,
        a_cancelled_pull_loses_no_jobs;
    bus:
        connected_comes_first_then_the_events_in_order,
        a_batch_is_one_message,
        a_big_batch_is_split,
        a_loss_is_told_to_every_subscriber,
        every_subscriber_gets_everything,
        a_subscriber_that_falls_behind_is_told,
        publishing_to_nobody_works;
}
