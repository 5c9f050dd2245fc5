//! Tests of the gateway's interfaces on both pairs of back ends: SQLite with the memory broker, and
//! MySQL or MariaDB with Redis.

#[cfg(test)]
mod access;
#[cfg(test)]
mod any_input;
#[cfg(test)]
mod api_keys;
#[cfg(test)]
mod audit_log;
#[cfg(test)]
mod bulk;
#[cfg(test)]
mod bulk_cancel;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod counts;
#[cfg(test)]
mod database_errors;
#[cfg(test)]
mod dead_letter_groups;
#[cfg(test)]
mod defective_rows;
#[cfg(test)]
mod dispatch;
#[cfg(test)]
mod error_codes;
#[cfg(test)]
mod event_calls;
#[cfg(test)]
mod event_leases;
#[cfg(test)]
mod event_log;
#[cfg(test)]
mod event_pages;
#[cfg(test)]
mod export;
#[cfg(test)]
mod failing_transactions;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fair_share;
#[cfg(test)]
mod forged_bus_messages;
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
mod kinds;
#[cfg(test)]
mod last_statements;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod long_polls;
#[cfg(test)]
mod lost_commits;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod notes;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod order_codes;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod personal_data;
#[cfg(test)]
mod quotas;
#[cfg(test)]
mod references;
#[cfg(test)]
mod repairs;
#[cfg(test)]
mod replace;
#[cfg(test)]
mod response_bytes;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod row_cache;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod shared_limits;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod slow_subscribers;
#[cfg(test)]
mod subscriptions;
#[cfg(test)]
mod sweeper;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod time_range;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod tracking;
#[cfg(test)]
mod unique_references;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod webhook_delivery;
#[cfg(test)]
mod webhook_graphql;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod worker_access;
#[cfg(test)]
mod workers;
