//! The measured systems, with a MariaDB and a Redis, private to one measurement.
//!
//! MariaDB keeps every acknowledged write (`innodb_flush_log_at_trx_commit=1`), as in production. The servers use free
//! ports on 127.0.0.1 and one temporary folder. Each process asks the kernel to be killed with its parent, so no process
//! survives a run, even a killed one. The servers of Vitess are the exception: scripts/vitess.sh starts and stops them.

mod counters;
mod database;
mod fleet;
mod lab;
mod prefill;
mod process;
mod restate;
mod running;
mod systems;
mod vitess;

pub(crate) use self::counters::Counters;
pub(crate) use self::database::Database;
pub(crate) use self::fleet::{Fleet, MAX_GATEWAYS};
pub(crate) use self::lab::Lab;
pub(crate) use self::prefill::Prefill;
pub(crate) use self::process::{Cpu, local_address, split_port};
pub(crate) use self::running::{LOAD, Memory, Servers, ThreadCpu, cpu_used};
pub(crate) use self::systems::{System, Tuning};
