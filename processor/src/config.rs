use std::time::Duration;

use domain::LeasePrefix;

use crate::{Error, ProcessorHealth};

/// The most handlers that one processor runs at once.
const MAX_CONCURRENCY: usize = 100_000;

/// The settings of a processor.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names this processor in the gateway's logs and metrics. Default: `processor-` and 8 random
    /// hexadecimal digits.
    pub worker_id: String,
    /// The gateways, as `http://host:port`. One of them is used at a time, drawn at random; a name
    /// that resolves to several addresses counts as several gateways. Default:
    /// `http://127.0.0.1:50051`.
    pub gateway_urls: Vec<String>,
    /// The most handlers that run at the same time: 1 to 100,000. While handlers are short, up to sixteen
    /// times as many orders are started ahead and wait for their turn: as many as handlers end in the time
    /// that a start takes. Default: 64.
    pub concurrency: usize,
    /// The most time that one attempt may take. Leases are renewed while a handler runs, so without
    /// this a hung handler would keep its order for ever. After it the handler is stopped and the
    /// attempt counts as a failure that may be repeated. Default: 5 minutes.
    pub attempt_timeout: Duration,
    /// At shutdown: how long running handlers may go on. Default: 10 seconds.
    pub shutdown_timeout: Duration,
    /// At shutdown, after the handlers have ended: how long to wait until the last reports are
    /// acknowledged. Default: 3 seconds.
    pub report_timeout: Duration,
    /// A gateway that leaves a request without an answer for so long is given up for another one.
    /// Default: 10 seconds.
    pub response_timeout: Duration,
    /// Nothing is pulled while more reports than this wait for their acknowledgement. Default: 4,096.
    pub report_buffer: usize,
    /// On the lease tokens that this processor draws, so that a program which owns the database can tell its own leases
    /// after a crash. Default: none.
    pub lease_prefix: Option<LeasePrefix>,
    /// Written by the processor while it runs, for health checks.
    pub health: ProcessorHealth,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            worker_id: format!("processor-{:08x}", rand::random::<u32>()),
            gateway_urls: vec!["http://127.0.0.1:50051".to_owned()],
            concurrency: 64,
            attempt_timeout: Duration::from_secs(300),
            shutdown_timeout: Duration::from_secs(10),
            report_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(10),
            report_buffer: 4_096,
            lease_prefix: None,
            health: ProcessorHealth::default(),
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(1..=MAX_CONCURRENCY).contains(&self.concurrency) {
            let problem = format!("must be from 1 to {MAX_CONCURRENCY}, is {}", self.concurrency);
            return Err(Error::invalid("concurrency", problem));
        }
        for (setting, value) in
            [("attempt_timeout", self.attempt_timeout), ("response_timeout", self.response_timeout)]
        {
            if value.is_zero() {
                return Err(Error::invalid(setting, "must be longer than zero"));
            }
        }
        Ok(())
    }
}
