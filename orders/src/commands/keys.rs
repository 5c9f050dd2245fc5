//! `orders keys`: creates, lists, rotates and revokes API keys in the database.
//!
//! A new key is the only output on stdout, so that a script can store it. Explanations are on stderr.

use domain::{Principal, Role, Scopes, TenantId, Timestamp};
use gateway::Store;
use gateway::access::{self, IssuedKey, KeyError, KeyRequest, NewKeyTenant};
use gateway::store::{ApiKey, Error as StoreError, MAX_KEY_PAGE};
use serde_json::{Value, json};

use super::api::user_name;
use super::table::table;
use crate::cli::{CreateKeyArgs, KeysCommand, ListKeysArgs, OutputArgs, RevokeKeyArgs, RotateKeyArgs};
use crate::error::Error;
use crate::{console, log, startup};

/// The hint for a change of keys beside a running gateway.
const INSTEAD: &str = "keep the orders in MySQL or MariaDB, beside whose gateways this command works";

/// Runs the command.
pub(super) async fn run(command: KeysCommand) -> Result<(), Error> {
    match command {
        KeysCommand::Create(args) => create(&args).await,
        KeysCommand::List(args) => list(&args).await,
        KeysCommand::Rotate(args) => rotate(&args).await,
        KeysCommand::Revoke(args) => revoke(&args).await,
    }
}

/// Returns the principal of a user with access to the database.
pub(super) fn local_principal() -> Principal {
    Principal { name: format!("cli:{}", user_name()).into(), ..Principal::anonymous() }
}

async fn open(output: &OutputArgs) -> Result<Store, Error> {
    log::install(output.log.log_format)?;
    startup::open_database_beside_gateway(&output.database, INSTEAD).await
}

async fn create(args: &CreateKeyArgs) -> Result<(), Error> {
    let scopes = args.scopes.or_else(|| args.role.map(Role::scopes)).unwrap_or(Scopes::NONE);
    let request = KeyRequest {
        name: args.name.clone(),
        tenant: tenant_of(args),
        scopes,
        ttl: args.ttl,
        limits: args.limits.limits(None),
    };
    let store = open(&args.output).await?;
    let issued = access::create(&store, &local_principal(), &request, None).await;
    store.close().await;
    show_issued(&issued.map_err(refused)?, args.output.json)
}

/// Returns the tenant of a new key. Workers process the orders of all tenants, and an admin manages them.
fn tenant_of(args: &CreateKeyArgs) -> NewKeyTenant {
    match &args.tenant {
        Some(tenant) => NewKeyTenant::One(tenant.clone()),
        None if args.all_tenants || matches!(args.role, Some(Role::Worker | Role::Admin)) => {
            NewKeyTenant::All
        }
        None => NewKeyTenant::One(TenantId::default()),
    }
}

async fn list(args: &ListKeysArgs) -> Result<(), Error> {
    let store = open(&args.output).await?;
    let keys = all_keys(&store, args.tenant.as_ref()).await;
    let now = store.now();
    store.close().await;
    let keys = keys.map_err(failed)?;
    if args.output.json {
        return console::print(
            &keys.iter().map(|key| format!("{}\n", to_json(key, now))).collect::<String>(),
        );
    }
    let head =
        ["ID", "NAME", "TENANT", "STATE", "EXPIRES", "LAST USED", "LIMITS", "SCOPES"].map(str::to_owned);
    let time = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
    let row = |key: &ApiKey| {
        [
            key.id.clone(),
            key.name.clone(),
            shown_tenant(key),
            state(key, now).to_owned(),
            key.expires_at.to_string(),
            time(key.last_used_at),
            key.limits.to_string(),
            key.scopes.to_string(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(keys.iter().map(row)).collect();
    console::print(&table(&rows))
}

async fn all_keys(store: &Store, tenant: Option<&TenantId>) -> Result<Vec<ApiKey>, StoreError> {
    let mut keys: Vec<ApiKey> = Vec::new();
    loop {
        let after = keys.last().map(|key| key.id.clone());
        let page = store.api_keys(tenant, after.as_deref(), MAX_KEY_PAGE).await?;
        let is_last = page.len() < MAX_KEY_PAGE as usize;
        keys.extend(page);
        if is_last {
            return Ok(keys);
        }
    }
}

async fn rotate(args: &RotateKeyArgs) -> Result<(), Error> {
    let store = open(&args.output).await?;
    let issued = access::rotate(&store, &local_principal(), &args.id, args.grace, args.ttl, None).await;
    store.close().await;
    show_issued(&issued.map_err(refused)?, args.output.json)
}

async fn revoke(args: &RevokeKeyArgs) -> Result<(), Error> {
    let store = open(&args.output).await?;
    let revoked = access::revoke(&store, &local_principal(), &args.id, None).await;
    let now = store.now();
    store.close().await;
    let key = revoked.map_err(refused)?;
    if args.output.json {
        return console::print(&format!("{}\n", to_json(&key, now)));
    }
    console::print(&format!("key {} ({}) is revoked\n", key.id, key.name))
}

/// Prints the key on stdout, and what it permits on stderr.
fn show_issued(issued: &IssuedKey, as_json: bool) -> Result<(), Error> {
    let IssuedKey { key, stored } = issued;
    if as_json {
        let mut shown = to_json(stored, stored.created_at);
        shown["key"] = key.expose().into();
        return console::print(&format!("{shown}\n"));
    }
    console::explain(&format!(
        "key {} ({}), {}, expires {}: {}\nStore it now: it is not shown again.\n",
        stored.id,
        stored.name,
        stored.tenant.as_ref().map_or_else(|| "all tenants".to_owned(), |tenant| format!("tenant {tenant}")),
        stored.expires_at,
        stored.scopes
    ));
    console::print(&format!("{}\n", key.expose()))
}

fn to_json(key: &ApiKey, now: Timestamp) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant.as_ref().map(TenantId::as_str),
        "scopes": key.scopes.iter().map(domain::Scope::as_str).collect::<Vec<_>>(),
        "state": state(key, now),
        "createdAt": key.created_at.to_string(),
        "createdBy": key.created_by,
        "expiresAt": key.expires_at.to_string(),
        "revokedAt": time(key.revoked_at),
        "lastUsedAt": time(key.last_used_at),
        "ratePerSecond": key.limits.rate_per_s,
        "burst": key.limits.burst,
        "maxStreams": key.limits.max_streams,
    })
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    match key.revoked_at {
        Some(_) => "revoked",
        None if key.is_active(now) => "active",
        None => "expired",
    }
}

fn shown_tenant(key: &ApiKey) -> String {
    key.tenant.as_ref().map_or_else(|| "(all)".to_owned(), ToString::to_string)
}

fn refused(error: KeyError) -> Error {
    let hint = match &error {
        KeyError::NotFound(_) => "`orders keys list` shows the ids and the states of the keys",
        KeyError::NoTenant(_) => "`orders tenants list` shows the tenants",
        KeyError::LimitReached => "`orders keys list` shows when each key was last used",
        KeyError::Name(_) | KeyError::Ttl | KeyError::Grace | KeyError::Rights(_) => {
            "`orders keys create --help` lists the permitted values"
        }
        KeyError::Forbidden(_) => "use a user with access to the database",
        KeyError::Store(_) => "the key was not changed unless `orders keys list` shows the change",
    };
    Error::failed(error.to_string()).hint(hint)
}

/// Returns the error of a command that reads the database.
pub(super) fn failed(error: StoreError) -> Error {
    Error::failed(error.to_string()).hint("repeat the command when the database answers")
}
