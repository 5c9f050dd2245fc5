//! The gateway as its users see it, on both pairs of back ends: SQLite with the memory broker, and
//! MySQL or MariaDB with Redis.

#[cfg(test)]
mod any_input;
#[cfg(test)]
mod budgets;
#[cfg(test)]
mod bulk;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod commit;
#[cfg(test)]
mod counts;
#[cfg(test)]
mod dispatch;
#[cfg(test)]
mod error_codes;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod forged;
#[cfg(test)]
mod graphql;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod live;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod remembered;
#[cfg(test)]
mod repairs;
#[cfg(test)]
mod response_bytes;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod retain;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod times;
#[cfg(test)]
mod wait;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod workers;
