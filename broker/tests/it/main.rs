//! One conformance suite for both adapters of the ports, and tests of the Redis adapter only.
//!
//! All tests share the Redis of `ORDERS_TEST_REDIS_URL`, so each has a separate key prefix. Tests that stop a Redis start
//! a private one. (`cfg(test)` tells clippy that these are tests.)

#[cfg(test)]
mod adapters;
#[cfg(test)]
mod bus;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod redis_adapter;
#[cfg(test)]
mod redis_server;
#[cfg(test)]
mod rejecting_servers;

/// Runs each case, a function with an [`adapters::Adapter`] argument, once for each adapter.
macro_rules! conformance {
    ($($module:ident: $($case:ident),+ $(,)?;)+) => {
        mod memory_conformance {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$module::$case(super::adapters::memory()).await;
                }
            )+)+
        }

        mod redis_conformance {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$module::$case(super::adapters::redis()).await;
                }
            )+)+
        }
    };
}

conformance! {
    queue:
        jobs_are_pulled_in_push_order,
        front_jobs_are_pulled_first,
        pull_returns_at_most_max_jobs,
        pull_with_max_0_returns_immediately,
        empty_push_changes_nothing,
        pull_waits_for_the_first_job,
        pull_returns_after_its_wait,
        each_job_goes_to_one_puller,
        cancelled_pull_loses_no_jobs;
    bus:
        connected_precedes_the_events_in_order,
        batch_is_one_message,
        large_batch_is_split,
        gap_reaches_every_subscriber,
        announcement_reaches_every_subscriber,
        every_subscriber_receives_all_events,
        slow_subscriber_receives_connected,
        publish_without_subscribers_succeeds;
}
