//! The commands for API keys, tenants and the audit log, which work directly on the database.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{Args, Subcommand};
use domain::{Limits, MAX_BURST, MAX_RATE, MAX_STREAM_LIMIT, Role, Scopes, TenantId};
use gateway::access::{MAX_GRACE, MAX_KEY_TTL};
use gateway::store::{COUNT_LIMIT, LimitChanges};

use super::FormatArgs;
use super::settings::{DatabaseArgs, LogArgs, Switch};
use crate::values::{self, NewLimit};

const SECOND: Duration = Duration::from_secs(1);

const RATES: RangeInclusive<u64> = 1..=MAX_RATE as u64;
const BURSTS: RangeInclusive<u64> = 1..=MAX_BURST as u64;
const STREAMS: RangeInclusive<u64> = 1..=MAX_STREAM_LIMIT as u64;
const OPEN_ORDERS: RangeInclusive<u64> = 1..=COUNT_LIMIT as u64;

/// The limits of a new key or tenant, which live gateways share.
#[derive(Debug, Args)]
pub(crate) struct RateArgs {
    /// Maximum rate in requests per second: 1 to 1000000 [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(RATES))]
    rate: Option<u32>,
    /// Maximum number of requests at once: 1 to 1000000 [default: the rate]
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(BURSTS), requires = "rate")]
    burst: Option<u32>,
    /// Maximum number of open websockets, event streams, long polls and gRPC streams: 1 to 1000000 [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(STREAMS))]
    max_streams: Option<u32>,
}

impl RateArgs {
    /// Returns the limits, with a maximum of open orders.
    pub(crate) fn limits(&self, max_open: Option<u32>) -> Limits {
        Limits { rate_per_s: self.rate, burst: self.burst, max_streams: self.max_streams, max_open }
    }
}

/// The database and the form of the output.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The commands of API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Create a key and print it once; the database stores only its hash
    Create(CreateKeyArgs),
    /// List the keys, without their secrets
    List(ListKeysArgs),
    /// Create a key with the rights of another one, which stays valid for a grace period
    Rotate(RotateKeyArgs),
    /// Revoke a key; gateways refuse it within a second
    Revoke(RevokeKeyArgs),
}

/// The settings of `orders keys create`.
#[derive(Debug, Args)]
pub(crate) struct CreateKeyArgs {
    /// Name of the key, for lists: 1 to 100 characters
    #[arg(long, value_name = "NAME", value_parser = values::label)]
    pub(crate) name: String,
    /// Preset of scopes: reader, writer, operator, worker, owner or admin
    #[arg(long, value_name = "ROLE", value_parser = values::role, required_unless_present = "scopes")]
    pub(crate) role: Option<Role>,
    /// Scopes instead of a role, separated by blanks or commas
    #[arg(long, value_name = "SCOPES", value_parser = values::scopes, conflicts_with = "role")]
    pub(crate) scopes: Option<Scopes>,
    /// Tenant for which the key acts [default: all tenants for the roles worker and admin, otherwise the tenant
    /// `default`]
    #[arg(long, value_name = "TENANT", value_parser = values::tenant)]
    pub(crate) tenant: Option<TenantId>,
    /// Let the key act for all tenants
    #[arg(long, conflicts_with = "tenant")]
    pub(crate) all_tenants: bool,
    /// Lifetime of the key: 1s to 400d
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = values::duration(SECOND, MAX_KEY_TTL),
        default_value = "90d"
    )]
    pub(crate) ttl: Duration,
    #[command(flatten)]
    pub(crate) limits: RateArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The settings of `orders keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListKeysArgs {
    /// Only the keys of this tenant
    #[arg(long, value_name = "TENANT", value_parser = values::tenant)]
    pub(crate) tenant: Option<TenantId>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The settings of `orders keys rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateKeyArgs {
    /// Id of the key: the 8 characters after `ord_`
    #[arg(value_name = "KEY_ID")]
    pub(crate) id: String,
    /// Time for which the old key stays valid: 0 to 30d
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = values::duration(Duration::ZERO, MAX_GRACE),
        default_value = "24h"
    )]
    pub(crate) grace: Duration,
    /// Lifetime of the new key: 1s to 400d
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = values::duration(SECOND, MAX_KEY_TTL),
        default_value = "90d"
    )]
    pub(crate) ttl: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The settings of `orders keys revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeKeyArgs {
    /// Id of the key: the 8 characters after `ord_`
    #[arg(value_name = "KEY_ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The commands of tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantsCommand {
    /// Create a tenant
    Create(CreateTenantArgs),
    /// List the tenants
    List(OutputArgs),
    /// Change limits of a tenant, which gateways apply within a second, and whether its references are unique
    Update(UpdateTenantArgs),
    /// Suspend a tenant; gateways refuse its keys within a second
    Suspend(TenantArgs),
    /// Resume a suspended tenant; gateways accept its keys within a second
    Resume(TenantArgs),
    /// Revoke all tracking links of a tenant; open pages end within 2 s
    RevokeLinks(TenantArgs),
}

/// The settings of `orders tenants suspend`, `orders tenants resume` and `orders tenants revoke-links`.
#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    /// Id of the tenant
    #[arg(value_name = "TENANT", value_parser = values::tenant)]
    pub(crate) id: TenantId,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The settings of `orders tenants create`.
#[derive(Debug, Args)]
pub(crate) struct CreateTenantArgs {
    /// Id of the tenant: 1 to 64 lower-case letters, digits, `-`, `_` and `.`
    #[arg(value_name = "TENANT", value_parser = values::tenant)]
    pub(crate) id: TenantId,
    /// Name of the tenant, for lists: 1 to 100 characters [default: the id]
    #[arg(long, value_name = "NAME", value_parser = values::label)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) limits: RateArgs,
    /// Maximum number of orders that are not final: 1 to 100000 [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(OPEN_ORDERS))]
    pub(crate) max_open: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The settings of `orders tenants update`. A limit without a flag is kept.
#[derive(Debug, Args)]
pub(crate) struct UpdateTenantArgs {
    /// Id of the tenant
    #[arg(value_name = "TENANT", value_parser = values::tenant)]
    pub(crate) id: TenantId,
    /// Maximum rate in requests per second: 1 to 1000000, or none
    #[arg(long, value_name = "COUNT", value_parser = values::limit(RATES))]
    rate: Option<NewLimit>,
    /// Maximum number of requests at once: 1 to 1000000, or none for the rate
    #[arg(long, value_name = "COUNT", value_parser = values::limit(BURSTS))]
    burst: Option<NewLimit>,
    /// Maximum number of open websockets, event streams, long polls and gRPC streams: 1 to 1000000, or none
    #[arg(long, value_name = "COUNT", value_parser = values::limit(STREAMS))]
    max_streams: Option<NewLimit>,
    /// Maximum number of orders that are not final: 1 to 100000, or none
    #[arg(long, value_name = "COUNT", value_parser = values::limit(OPEN_ORDERS))]
    max_open: Option<NewLimit>,
    /// Refuse a second order with the same external reference: on or off. Switching it on takes a few seconds
    #[arg(long, value_name = "ON|OFF", hide_possible_values = true)]
    pub(crate) unique_references: Option<Switch>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

impl UpdateTenantArgs {
    /// Returns the changed limits.
    pub(crate) fn changes(&self) -> LimitChanges {
        let limit = |new: Option<NewLimit>| new.map(|NewLimit(limit)| limit);
        LimitChanges {
            rate_per_s: limit(self.rate),
            burst: limit(self.burst),
            max_streams: limit(self.max_streams),
            max_open: limit(self.max_open),
        }
    }
}

/// The commands of the personal data of a customer.
#[derive(Debug, Subcommand)]
pub(crate) enum CustomerCommand {
    /// Print the orders of a customer with their events, one JSON object in each line
    Export(CustomerArgs),
    /// Replace the customer of final orders by a pseudonym, and remove their external reference and reasons
    Erase(CustomerArgs),
}

/// A customer.
#[derive(Debug, Args)]
pub(crate) struct CustomerArgs {
    /// Customer, exact match: 1 to 200 characters
    #[arg(long, value_name = "CUSTOMER", value_parser = values::customer)]
    pub(crate) customer: String,
    /// Tenant of the orders
    #[arg(long, value_name = "TENANT", value_parser = values::tenant, default_value = "default")]
    pub(crate) tenant: TenantId,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The settings of `orders audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only the entries of this tenant
    #[arg(long, value_name = "TENANT", value_parser = values::tenant)]
    pub(crate) tenant: Option<TenantId>,
    /// Maximum number of entries: 1 to 1000000
    #[arg(long, value_name = "COUNT", value_parser = values::number::<u32>(1..=1_000_000), default_value = "100")]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
