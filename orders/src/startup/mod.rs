//! The steps of a process before it serves: it takes its ports, opens the database, and checks Redis.

mod bootstrap;
mod certificates;
mod data_folder;
mod database;
mod gateway;
mod listeners;
mod reconnect;
mod redis;
mod secret_keys;

pub(crate) use certificates::keep_client_current;
pub(crate) use database::{open_database_beside_gateway, open_existing_database, open_migrated_database};
pub(crate) use gateway::PreparedGateway;
pub(crate) use listeners::{bind, local_address, raise_connection_limit};
pub(crate) use redis::check_redis;
