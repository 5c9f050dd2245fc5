//! The parts of a store, and the errors of opening one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use telemetry::LogThrottle;

use super::address::{Address, Shown, Target};
use super::clock::Clock;
use super::hosts::Hosts;
use super::hot_connections::HotConnections;
use super::pools::Pools;
use super::primary::Primary;
use super::references::ReferenceRules;
use super::row_cache::RowCache;
use super::search_pool::SearchPool;
use super::session::PrepareError;
use super::shards::Place;
use super::{ConnectError, Dialect, Inner, Options, Shard, error, files};

/// What a store consists of besides its pools.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) database_name: Option<String>,
    pub(super) hosts: Option<Arc<Hosts>>,
    pub(super) primary: Arc<Primary>,
    pub(super) file: Option<files::Claim>,
    pub(super) place: Option<Place>,
    pub(super) shard_name: Option<String>,
    pub(super) reference_rules: ReferenceRules,
    pub(super) first: Option<Shard>,
}

impl Shard {
    pub(super) fn assemble(
        dialect: Dialect,
        pools: Pools,
        address: Shown,
        options: &Options,
        parts: Parts,
    ) -> Self {
        let Pools { readers, writers, searches, numbering, joins_statements } = pools;
        let Parts { database_name, hosts, primary, file, place, shard_name, reference_rules, first } = parts;
        Self {
            inner: Arc::new(Inner {
                pause_seen: Default::default(),
                steady: Default::default(),
                dialect,
                readers,
                lane: SearchPool::new(searches),
                writers: HotConnections::new(writers),
                address,
                database_name,
                options: options.clone(),
                numbering: numbering.map(HotConnections::new),
                deadline: options.deadline,
                joins_statements,
                clock: Clock::new(),
                unhealthy: AtomicBool::new(false),
                reference_rules,
                row_cache: RowCache::default(),
                answers: AtomicU64::new(0),
                statements: Arc::default(),
                log: LogThrottle::default(),
                primary,
                hosts,
                search: Default::default(),
                replica: Default::default(),
                parking: Default::default(),
                installation: tokio::sync::OnceCell::new(),
                file,
                place,
                shard_name,
                first,
                siblings: Default::default(),
            }),
        }
    }

    pub(super) fn unreachable(&self, cause: impl ToString) -> ConnectError {
        unreachable(&self.inner.address.load(), cause)
    }
}

/// Access denied (to the server, to the database), unknown database, host not allowed, TLS required.
const REFUSALS: [u16; 6] = [1044, 1045, 1049, 1130, 1698, 3159];

/// Returns the error of opening the database at this address.
pub(super) fn explain(address: &Address, error: PrepareError) -> ConnectError {
    let error = match error {
        PrepareError::Sql(error) => error,
        PrepareError::Server(error) => return error,
        PrepareError::Vitess => {
            return ConnectError::InvalidUrl {
                problem: "leads to Vitess".to_owned(),
                hint: "use it as the only host of the database URL".to_owned(),
            };
        }
    };
    let refused = error::number(&error).is_some_and(|number| REFUSALS.contains(&number));
    match (&address.target, error) {
        (Target::Sqlite(_), error) if super::backup::is_damage(&error) => {
            ConnectError::Damaged(format!("{} is damaged: {error}", address.shown))
        }
        (Target::Sqlite(_), error) => ConnectError::File(format!("cannot open {}: {error}", address.shown)),
        (Target::MySql(_), error) if refused => ConnectError::Refused(error.to_string()),
        // The driver offers a separate feature here, which this program omits because of its known vulnerability.
        (Target::MySql(_), sqlx::Error::Configuration(cause)) if cause.to_string().contains("RSA") => {
            ConnectError::NeedsTls
        }
        (Target::MySql(_), sqlx::Error::Configuration(cause)) => ConnectError::InvalidUrl {
            problem: format!("cannot be used: {cause}"),
            hint: "correct it".to_owned(),
        },
        (Target::MySql(_), error) => unreachable(&address.shown, error),
    }
}

pub(super) fn unreachable(address: &str, cause: impl ToString) -> ConnectError {
    ConnectError::Unreachable { address: address.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        use limits_page::row;
        let connections = Options::default().connections.to_string();
        row("database connections for reads, and the same number for writes", &connections);
    }

    /// The driver's message names a feature that this program omits on purpose.
    #[test]
    fn a_login_that_needs_tls_is_reported() {
        let address = Address::parse("mysql://u:p@h/d?ssl-mode=DISABLED").unwrap();
        let text = "RSA auth backend disabled; enable feature `mysql-rsa` or use TLS.";
        let error = explain(&address, sqlx::Error::Configuration(text.into()).into());
        assert!(matches!(error, ConnectError::NeedsTls), "{error}");
        assert!(error.to_string().contains("needs TLS") && !error.to_string().contains("feature"), "{error}");
    }
}
