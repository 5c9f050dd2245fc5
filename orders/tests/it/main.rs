//! The program from outside: every test starts the built binary on free ports, with a separate data folder or
//! database and key prefix, and uses its public interfaces.
//!
//! | module | subject |
//! |---|---|
//! | `order_lifecycle` | one order from create to `completed`, on the embedded parts and on MariaDB and Redis |
//! | `restart` | all processes stop during work and start again, on both pairs |
//! | `unavailable_servers` | MariaDB and Redis that are down, refuse, or start later |
//! | `database` | which files and tables the commands create, and the options of the database URL |
//! | `cli`, `operator_commands`, `keys` | the command line; the commands for operators; API keys and the audit log |
//! | `order_commands`, `imports` | `orders list`, `get`, `create`, `cancel` and `watch`; `orders create --file` |
//! | `signals` | `orders stats`, `workers`, `top` and `dead-letters groups` |
//! | `webhook_commands`, `recovery` | `orders webhooks`; the recovery of events while the program is killed |
//! | `contexts` | names of the command line for gateways and the keys for them |
//! | `access`, `tokens` | exposure and authentication of the running program; tokens of an OpenID issuer |
//! | `startup`, `health`, `metrics` | responses before readiness; health endpoints; names of metrics |
//! | `open_files`, `socket_options` | a low limit of open files; TCP options |
//! | `third_party_worker`, `clients`, `openapi`, `browser` | a worker in Node, npm client libraries, generated clients, the pages |
//! | `receivers` | receivers of webhooks with the libraries of the standard |
//! | `email` | e-mail to an SMTP server |
//! | `secret_files` | secrets in files that change while the program runs |
//! | `tls`, `tls_servers` | certificates of the ports and of processors, their replacement under load; those of MariaDB and Redis |
//! | `traces` | the traces of orders, in a receiver of OTLP and in Jaeger |
//! | `backup`, `compose`, `kubernetes` | backup and restore; `docker-compose.yml`; the manifests and the chart |
//! | `release` | the workflows, packages, installer and signatures of a release |
//! | `arrows`, `import_cycles`, `error_codes` | the structure of the source |
//! | `links`, `reference`, `shell_blocks` | the documentation: its links, its generated pages, its commands |
//!
//! MariaDB and Redis come from `ORDERS_TEST_MYSQL_URL` (a user who may create databases) and
//! `ORDERS_TEST_REDIS_URL`; `scripts/test.sh` starts them and sets both.

#![cfg(test)]

mod access;
mod arrows;
mod backup;
mod browser;
mod cli;
mod clients;
mod compose;
mod contexts;
mod database;
mod email;
mod error_codes;
#[allow(dead_code, unused_imports, reason = "several test programs share it and use different parts")]
#[path = "../harness/mod.rs"]
mod harness;
mod health;
mod import_cycles;
mod imports;
mod keys;
mod kubernetes;
mod links;
mod metrics;
mod monitoring;
mod open_files;
mod openapi;
mod operator_commands;
mod order_commands;
mod order_lifecycle;
#[allow(dead_code, reason = "another test program shares it and uses other parts")]
#[path = "../faults/servers.rs"]
mod private_servers;
mod receivers;
mod recovery;
mod reference;
mod release;
mod restart;
mod sdk;
mod secret_files;
mod shell_blocks;
mod signals;
mod socket_options;
mod startup;
mod third_party_worker;
mod tls;
mod tls_servers;
mod tokens;
mod traces;
mod unavailable_servers;
mod unsafe_engines;
mod webhook_commands;
