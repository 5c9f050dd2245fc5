//! The rules for orders.

use std::time::Duration;

use clap::Args;
use domain::Currency;
use gateway::store::{LogRetention, Retention};

use crate::error::Error;
use crate::values::{self, show_duration};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How a gateway treats orders.
#[derive(Debug, Args)]
#[command(next_help_heading = "Orders")]
pub(crate) struct RuleArgs {
    /// ISO 4217 currency of orders without a currency
    #[arg(
        long,
        env = "ORDERS_DEFAULT_CURRENCY",
        hide_env_values = true,
        value_name = "CODE",
        value_parser = values::currency,
        default_value = "USD"
    )]
    pub(crate) default_currency: Currency,
    /// Lease duration of an attempt; without a heartbeat for this time the order is reassigned: 1s to 1h
    #[arg(
        long,
        env = "ORDERS_LEASE",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(SECOND, HOUR),
        default_value = "30s"
    )]
    pub(crate) lease: Duration,
    /// Time after which a queued order that no worker has started is queued again: 1s to 1h
    #[arg(
        long,
        env = "ORDERS_VISIBILITY_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(SECOND, HOUR),
        default_value = "10s"
    )]
    pub(crate) visibility_timeout: Duration,
    /// Maximum number of orders in the queue; further orders wait in the database: 1 to 100000
    #[arg(
        long,
        env = "ORDERS_MAX_QUEUE_DEPTH",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<u32>(1..=100_000),
        default_value = "1000"
    )]
    pub(crate) max_queue_depth: u32,
    /// Lifetime of an idempotency key: 1m to 30d
    #[arg(
        long,
        env = "ORDERS_IDEMPOTENCY_TTL",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(MINUTE, DAY * 30),
        default_value = "1d"
    )]
    pub(crate) idempotency_ttl: Duration,
    /// Retention of completed and cancelled orders, counted from their last change; their events and idempotency
    /// keys are removed with them. 0 keeps them forever: 0 to 36500d
    #[arg(
        long,
        env = "ORDERS_RETAIN_COMPLETED",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY * 36_500),
        default_value = "0"
    )]
    pub(crate) retain_completed: Duration,
    /// Retention of failed orders; a removed order cannot be redriven. 0 keeps them forever: 0 to 36500d
    #[arg(
        long,
        env = "ORDERS_RETAIN_FAILED",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY * 36_500),
        default_value = "0"
    )]
    pub(crate) retain_failed: Duration,
    /// Retention of entries of the audit log. 0 keeps them forever: 0 to 36500d
    #[arg(
        long,
        env = "ORDERS_RETAIN_AUDIT_LOG",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY * 36_500),
        default_value = "400d"
    )]
    pub(crate) retain_audit_log: Duration,
    /// Maximum age of events in the event log. 0 is no limit: 0 to 36500d
    #[arg(
        long,
        env = "ORDERS_RETAIN_EVENTS",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, DAY * 36_500),
        default_value = "7d"
    )]
    pub(crate) retain_events: Duration,
    /// Maximum size of the event log, which stores about 60 bytes for each event; the oldest events are removed beyond
    /// it: 1MiB to 1024GiB
    #[arg(
        long,
        env = "ORDERS_RETAIN_EVENTS_SIZE",
        hide_env_values = true,
        value_name = "SIZE",
        value_parser = values::size(1 << 20, 1 << 40),
        default_value = "10GiB"
    )]
    pub(crate) retain_events_size: usize,
}

impl RuleArgs {
    /// Applies the settings to the configuration of a gateway.
    pub(super) fn apply_to(&self, config: &mut gateway::Config) -> Result<(), Error> {
        let service = &mut config.service;
        service.default_currency = self.default_currency;
        service.rules.lease = self.lease;
        service.visibility_timeout = self.visibility_timeout;
        service.max_queue_depth = self.max_queue_depth;
        service.idempotency_ttl = self.idempotency_ttl;
        service.retention = Retention {
            finished: self
                .retention("--retain-completed (ORDERS_RETAIN_COMPLETED)", self.retain_completed)?,
            failed: self.retention("--retain-failed (ORDERS_RETAIN_FAILED)", self.retain_failed)?,
        };
        service.log_retention = LogRetention {
            age: Some(self.retain_events).filter(|age| !age.is_zero()),
            bytes: Some(self.retain_events_size as u64),
        };
        service.audit_retention = Some(self.retain_audit_log).filter(|retention| !retention.is_zero());
        Ok(())
    }

    /// Returns a retention, or `None` to keep orders forever.
    ///
    /// It must not be shorter than the lifetime of idempotency keys: a client that repeats a create after its order was
    /// removed would create a second one.
    fn retention(&self, setting: &str, retention: Duration) -> Result<Option<Duration>, Error> {
        if retention.is_zero() {
            return Ok(None);
        }
        if retention < self.idempotency_ttl {
            let (kept, ttl) = (show_duration(retention), show_duration(self.idempotency_ttl));
            return Err(Error::usage(format!(
                "{setting} is {kept}, shorter than --idempotency-ttl (ORDERS_IDEMPOTENCY_TTL) with {ttl}"
            ))
            .hint(format!("keep orders for at least {ttl}, or lower --idempotency-ttl to at most {kept}")));
        }
        Ok(Some(retention))
    }
}
