//! Real faults on real processes: everything runs under load, something breaks, and afterwards every
//! order that a client was told of is finished, once, and every subscriber has seen all of it.
//!
//! Start with [`run`]: what each test does around its fault. [`system`] is what is broken: two gateways
//! and two processors on a MariaDB and a Redis ([`servers`]) of the test's own. [`ledger`] is the side
//! of the clients: what they were promised, held against the database. [`proxy`] spoils connections,
//! [`shim`] a process's clock or its disk.
//!
//! The faults: [`kill`], [`freeze`], [`memory`], [`network`], [`clock`], [`disk`], [`restart`],
//! [`poison`], [`suspend`], [`cuts`], [`queue_server`], [`upgrade`], [`topology`]. Each prints one line; `scripts/faults.sh` prints all of them as a table.

#![cfg(test)]

mod clock;
mod cuts;
mod disk;
mod freeze;
#[allow(dead_code, unused_imports, reason = "several test programs share it and use different parts")]
#[path = "../harness/mod.rs"]
mod harness;
mod kill;
mod ledger;
mod memory;
mod network;
mod poison;
mod proxy;
mod queue_server;
mod restart;
mod run;
mod servers;
mod shim;
mod suspend;
mod system;
mod topology;
mod upgrade;
mod webhook;
