//! `orders keys`: creates, lists, rotates and revokes API keys in the database.
//!
//! A new key is the only output on stdout, so that a script can store it. Explanations are on stderr.

use domain::{Limits, Principal, Role, Scopes, TenantId, Timestamp};
use gateway::Store;
use gateway::access::{self, IssuedKey, KeyError, KeyRequest, NewKeyTenant};
use gateway::store::{ApiKey, Error as StoreError, MAX_KEY_PAGE};
use serde_json::{Value, json};

use super::api::user_name;
use crate::cli::{CreateKeyArgs, KeysCommand, ListKeysArgs, OutputArgs, RevokeKeyArgs, RotateKeyArgs};
use crate::error::{Error, Kind};
use crate::output::{Column, Format, Item, Layout, print_list, print_object, text};
use crate::{console, log, startup};

/// A new key, whose id is not the value that a script needs.
const ISSUED: Layout = Layout { id: "key", none: "", columns: ISSUED_COLUMNS };
const ISSUED_COLUMNS: &[Column] = &[
    Column::new("ID", |key| text(key, "id")),
    Column::new("KEY", |key| text(key, "key")),
    Column::new("EXPIRES", |key| text(key, "expiresAt")),
];
const LAYOUT: Layout = Layout {
    id: "id",
    none: "there are no keys",
    columns: &[
        Column::new("ID", |key| text(key, "id")),
        Column::new("NAME", |key| text(key, "name")),
        Column::new("TENANT", |key| key["tenant"].as_str().unwrap_or("(all)").to_owned()),
        Column::new("STATE", |key| text(key, "state")),
        Column::new("EXPIRES", |key| text(key, "expiresAt")),
        Column::new("LAST USED", |key| key["lastUsedAt"].as_str().unwrap_or("never").to_owned()),
        Column::new("LIMITS", shown_limits),
        Column::new("SCOPES", |key| text(key, "scopes")),
        Column::wide("CREATED", |key| text(key, "createdAt")),
        Column::wide("CREATED BY", |key| text(key, "createdBy")),
    ],
};

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
    show_issued(&issued.map_err(refused)?, args.output.format.format())
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
    let keys: Vec<Item> = keys.iter().map(|key| to_json(key, now).into()).collect();
    print_list(args.output.format.format(), &LAYOUT, &keys)
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
    show_issued(&issued.map_err(refused)?, args.output.format.format())
}

async fn revoke(args: &RevokeKeyArgs) -> Result<(), Error> {
    let store = open(&args.output).await?;
    let revoked = access::revoke(&store, &local_principal(), &args.id, None).await;
    let now = store.now();
    store.close().await;
    let key = revoked.map_err(refused)?;
    print_object(args.output.format.format(), &LAYOUT, &to_json(&key, now).into(), |_| {
        format!("key {} ({}) is revoked\n", key.id, key.name)
    })
}

/// Prints the key on stdout, and what it permits on stderr.
fn show_issued(issued: &IssuedKey, format: Format) -> Result<(), Error> {
    let IssuedKey { key, stored } = issued;
    if !format.is_for_readers() {
        let mut shown = to_json(stored, stored.created_at);
        shown["key"] = key.expose().into();
        return print_object(format, &ISSUED, &shown.into(), |_| String::new());
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

/// Returns the limits as [`domain::Limits`] shows them.
pub(super) fn shown_limits(key: &Item) -> String {
    let limit = |name: &str| key[name].as_u64().and_then(|limit| u32::try_from(limit).ok());
    let limits = Limits {
        rate_per_s: limit("ratePerSecond"),
        burst: limit("burst"),
        max_streams: limit("maxStreams"),
        max_open: limit("maxOpen"),
    };
    limits.to_string()
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
    let kind = match &error {
        KeyError::NotFound(_) | KeyError::NoTenant(_) => Kind::NotFound,
        KeyError::LimitReached | KeyError::Forbidden(_) => Kind::Refused,
        KeyError::Name(_) | KeyError::Ttl | KeyError::Grace | KeyError::Rights(_) => Kind::Usage,
        KeyError::Store(error) => kind_of(error),
    };
    Error::new(kind, error.to_string()).hint(hint)
}

/// Returns the error of a command that reads the database.
pub(super) fn failed(error: StoreError) -> Error {
    Error::new(kind_of(&error), error.to_string()).hint("repeat the command when the database answers")
}

fn kind_of(error: &StoreError) -> Kind {
    match error {
        StoreError::Conflict(_)
        | StoreError::Locked(_)
        | StoreError::Unavailable(_)
        | StoreError::TimedOut
        | StoreError::TooMuchToRead
        | StoreError::TooManySearches
        | StoreError::Outdated
        | StoreError::CommitUnknown => Kind::Unavailable,
        StoreError::Defect(_) | StoreError::Row(_) | StoreError::TooLarge(_) => Kind::Failed,
    }
}
