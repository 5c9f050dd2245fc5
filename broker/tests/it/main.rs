//! One conformance suite for both adapters of the ports, and tests of the Redis adapter only.
//!
//! All tests share the Redis of `ORDERS_TEST_REDIS_URL`, so each has a separate key prefix. Tests that stop a Redis start
//! a private one, and one test runs the suite on each topology of several servers. (`cfg(test)` tells clippy that these are tests.)

#[cfg(test)]
mod adapters;
#[cfg(test)]
mod bus;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod redis_adapter;
#[cfg(test)]
mod redis_failover;
#[cfg(test)]
mod redis_server;
#[cfg(test)]
mod rejecting_servers;
#[cfg(test)]
mod sharding;

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

        /// Each topology is started once, because that takes seconds.
        mod redis_topologies {
            use test_redis::{Cluster, REDIS, Sentinels, VALKEY};

            async fn run_every_case(url: &str) {
                $($(
                    eprintln!("{}", stringify!($case));
                    super::$module::$case(super::adapters::redis_at(url)).await;
                )+)+
            }

            #[tokio::test]
            async fn sentinel() {
                run_every_case(&Sentinels::start(&REDIS).await.url()).await;
            }

            #[tokio::test]
            async fn cluster() {
                run_every_case(&Cluster::start(&REDIS).await.url()).await;
            }

            #[tokio::test]
            async fn valkey_sentinel() {
                run_every_case(&Sentinels::start(&VALKEY).await.url()).await;
            }

            #[tokio::test]
            async fn valkey_cluster() {
                run_every_case(&Cluster::start(&VALKEY).await.url()).await;
            }
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
        cancelled_pull_loses_no_jobs,
        each_kind_has_a_separate_queue;
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
