//! Faults on real processes under load. After each fault every order that a client was told of is final, once, and
//! every subscriber has received all of its events.
//!
//! Start with [`run`]: the steps around each fault. [`system`] is the system under test: two gateways and two
//! processors on a separate MariaDB and Redis ([`servers`]). [`ledger`] records what clients were told, and compares it
//! with the database. [`proxy`] causes faults on connections, [`shim`] on a process's clock or disk.
//!
//! The faults: [`kill`], [`freeze`], [`redis_loss`], [`redis_failover`], [`network`], [`clock`], [`disk`], [`restart`], [`poison_orders`],
//! [`suspend`], [`disconnects`], [`queue_server`], [`upgrade`], [`topology`], [`failover`], [`group_replication`],
//! [`replica`]. Each prints one line; `scripts/faults.sh` prints all of them as a table. [`soak`] causes one after the other for a
//! long time.

#![cfg(test)]

mod clock;
mod disconnects;
mod disk;
mod failover;
mod freeze;
mod group_replication;
#[allow(dead_code, unused_imports, reason = "several test programs share it and use different parts")]
#[path = "../harness/mod.rs"]
mod harness;
mod kill;
mod ledger;
mod network;
mod poison_orders;
mod proxy;
mod queue_server;
mod redis_failover;
mod redis_loss;
mod replica;
mod replication;
mod restart;
mod run;
mod servers;
mod shim;
mod soak;
mod suspend;
mod system;
mod topology;
mod upgrade;
mod webhook;
