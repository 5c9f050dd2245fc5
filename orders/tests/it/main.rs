//! The program from outside: every test starts the built binary on free ports, with a data folder or
//! a database and a key prefix of its own, and talks to it as its users do.
//!
//! `journey` follows one order; `restart` stops everything in mid-flight; both run on the embedded
//! parts and on MariaDB and Redis. `cli` is the command line, `operate` what operators do, `outage` servers that are away,
//! `database` how it is opened,
//! `foreign` a worker in another language, `clients` the client libraries that people use, `openapi` clients and
//! requests that are generated, `browser` the page, `arrows` the structure of the source, `error_codes` where its codes are spelled, `links` the links of the documentation,
//! `sockets` the options of its connections, `open_files` a low limit of open files.
//!
//! MariaDB and Redis come from `ORDERS_TEST_MYSQL_URL` (a user who may create databases) and
//! `ORDERS_TEST_REDIS_URL`; `scripts/test.sh` starts them and sets both.

#![cfg(test)]

mod arrows;
mod backup;
mod browser;
mod cli;
mod clients;
mod compose;
mod database;
mod error_codes;
mod foreign;
#[allow(dead_code, unused_imports, reason = "several test programs share it and use different parts")]
#[path = "../harness/mod.rs"]
mod harness;
mod health;
mod journey;
mod links;
mod metrics;
mod open_files;
mod openapi;
mod operate;
mod outage;
mod restart;
mod sockets;
mod starting;
