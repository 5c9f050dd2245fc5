//! The program on a real Vitess of two shards, where no transaction may concern both (`--transaction-mode SINGLE`).
//!
//! The tests need `eval "$(scripts/vitess.sh start)"`, which sets `ORDERS_TEST_VITESS_URL`, `ORDERS_TEST_VITESS_SCRIPT` and applies
//! `migrations/vitess/vschema.json`; and `ORDERS_TEST_REDIS_URL`. They share the keyspace, so they run one after the other.

#![cfg(test)]

#[allow(dead_code, unused_imports, reason = "several test programs share it and use different parts")]
#[path = "../harness/mod.rs"]
mod harness;
mod sharded;
mod system;
