//! `orders tenants`: creates, lists, limits, suspends and resumes the owners of orders in the database, and revokes their
//! links.

use domain::{TenantId, Timestamp};
use gateway::store::{
    DuplicateReference, KeyActor, LimitChanges, MAX_NAMED_DUPLICATES, MAX_TENANTS, ReferenceSwitch, Tenant,
    TenantCreation, TenantState,
};
use serde_json::{Value, json};

use super::keys::{failed, local_principal, shown_limits};
use crate::cli::{CreateTenantArgs, OutputArgs, Switch, TenantArgs, TenantsCommand, UpdateTenantArgs};
use crate::error::Error;
use crate::output::{Column, Item, Layout, print_list, print_object, text};
use crate::{console, log, startup};

const LAYOUT: Layout = Layout {
    id: "id",
    none: "there are no tenants",
    columns: &[
        Column::new("TENANT", |tenant| text(tenant, "id")),
        Column::new("NAME", |tenant| text(tenant, "name")),
        Column::new("STATE", |tenant| {
            if tenant["suspendedAt"].is_null() { "active" } else { "suspended" }.to_owned()
        }),
        Column::new("LIMITS", shown_limits),
        Column::new("CREATED", |tenant| text(tenant, "createdAt")),
        Column::wide("UNIQUE REFERENCES", |tenant| {
            if tenant["uniqueReferences"] == true { "on" } else { "off" }.to_owned()
        }),
        Column::wide("SUSPENDED", |tenant| text(tenant, "suspendedAt")),
    ],
};

/// Runs the command.
pub(super) async fn run(command: TenantsCommand) -> Result<(), Error> {
    match command {
        TenantsCommand::Create(args) => create(&args).await,
        TenantsCommand::List(args) => list(&args).await,
        TenantsCommand::Update(args) => update(&args).await,
        TenantsCommand::Suspend(args) => set_state(&args, TenantState::Suspended).await,
        TenantsCommand::Resume(args) => set_state(&args, TenantState::Active).await,
        TenantsCommand::RevokeLinks(args) => revoke_links(&args).await,
    }
}

/// Returns the user with access to the database, for the audit log.
fn actor() -> KeyActor {
    KeyActor { name: local_principal().name.to_string(), tenant: None, request_id: None }
}

async fn create(args: &CreateTenantArgs) -> Result<(), Error> {
    log::install(args.output.log.log_format)?;
    let store = startup::open_existing_database(&args.output.database).await?;
    let name = args.name.clone().unwrap_or_else(|| args.id.to_string());
    let limits = args.limits.limits(args.max_open);
    let created = store.create_tenant(&args.id, &name, &limits, &actor()).await;
    let now = store.now();
    store.close().await;
    match created.map_err(failed)? {
        TenantCreation::Created => {
            let tenant = Tenant {
                id: args.id.clone(),
                name,
                created_at: now,
                suspended_at: None,
                limits,
                unique_references: false,
            };
            print_object(args.output.format.format(), &LAYOUT, &to_json(&tenant).into(), |_| {
                format!("tenant {} is created\n", args.id)
            })
        }
        TenantCreation::Exists => Err(Error::refused(format!("the tenant {} exists", args.id))
            .hint("choose another id; `orders tenants list` shows the tenants")),
        TenantCreation::LimitReached => Err(Error::refused(format!("there are {MAX_TENANTS} tenants"))
            .hint("use an existing tenant; `orders tenants list` shows them")),
    }
}

async fn update(args: &UpdateTenantArgs) -> Result<(), Error> {
    let changes = args.changes();
    let has_limits = changes != LimitChanges::default();
    if !has_limits && args.unique_references.is_none() {
        return Err(Error::usage("nothing of the tenant is to be changed")
            .hint("give --rate, --burst, --max-streams, --max-open or --unique-references"));
    }
    log::install(args.log.log_format)?;
    let store = startup::open_existing_database(&args.database).await?;
    let mut limits = Ok(None);
    if has_limits {
        limits = store.change_tenant_limits(&args.id, &changes, &actor()).await;
    }
    let mut switched = Ok(None);
    if let Some(switch) = args.unique_references {
        let unique = switch == Switch::On;
        switched = store.set_unique_references(&args.id, unique, &actor()).await.map(Some);
    }
    store.close().await;
    if has_limits {
        let limits = limits.map_err(failed)?.ok_or_else(|| unknown(&args.id))?;
        console::print(&format!("tenant {}: {limits}; gateways apply it within a second\n", args.id))?;
    }
    match switched.map_err(failed)? {
        None => Ok(()),
        Some(ReferenceSwitch::NotFound) => Err(unknown(&args.id)),
        Some(ReferenceSwitch::Done(orders)) if args.unique_references == Some(Switch::On) => console::print(
            &format!("tenant {}: external references are unique; {orders} orders have one\n", args.id),
        ),
        Some(ReferenceSwitch::Done(_)) => console::print(&format!(
            "tenant {}: external references may repeat; gateways apply it within 2 seconds\n",
            args.id
        )),
        Some(ReferenceSwitch::Duplicates(duplicates)) => Err(duplicates_refused(&args.id, &duplicates)),
    }
}

/// Returns the error of a switch to unique references while orders share some.
fn duplicates_refused(id: &TenantId, duplicates: &[DuplicateReference]) -> Error {
    let named = duplicates
        .iter()
        .map(|duplicate| format!("{:?}: {} and {}", duplicate.reference, duplicate.order, duplicate.other));
    let named: Vec<String> = named.collect();
    let more = if named.len() == MAX_NAMED_DUPLICATES { ", and perhaps more" } else { "" };
    Error::refused(format!("orders of the tenant {id} have the same reference{more}: {}", named.join("; ")))
        .hint("give new orders other references, and repeat the command when retention has removed the old ones")
}

fn unknown(id: &TenantId) -> Error {
    Error::not_found(format!("there is no tenant {id}")).hint("`orders tenants list` shows the tenants")
}

async fn set_state(args: &TenantArgs, state: TenantState) -> Result<(), Error> {
    log::install(args.log.log_format)?;
    let store = startup::open_existing_database(&args.database).await?;
    let exists = store.set_tenant_state(&args.id, state, &actor()).await;
    store.close().await;
    if !exists.map_err(failed)? {
        return Err(unknown(&args.id));
    }
    console::print(&match state {
        TenantState::Suspended => {
            format!("tenant {} is suspended; gateways refuse its keys within a second\n", args.id)
        }
        TenantState::Active => {
            format!("tenant {} is active; gateways accept its keys within a second\n", args.id)
        }
    })
}

async fn revoke_links(args: &TenantArgs) -> Result<(), Error> {
    log::install(args.log.log_format)?;
    let store = startup::open_existing_database(&args.database).await?;
    let exists = store.revoke_tracking_links(&args.id, &actor()).await;
    store.close().await;
    if !exists.map_err(failed)? {
        return Err(unknown(&args.id));
    }
    console::print(&format!("all tracking links of tenant {} are revoked\n", args.id))
}

async fn list(args: &OutputArgs) -> Result<(), Error> {
    log::install(args.log.log_format)?;
    let store = startup::open_existing_database(&args.database).await?;
    let tenants = store.tenants().await;
    store.close().await;
    let tenants = tenants.map_err(failed)?;
    let tenants: Vec<Item> = tenants.iter().map(|tenant| to_json(tenant).into()).collect();
    print_list(args.format.format(), &LAYOUT, &tenants)
}

fn to_json(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id.as_str(),
        "name": tenant.name,
        "createdAt": tenant.created_at.to_string(),
        "suspendedAt": tenant.suspended_at.map(|time: Timestamp| time.to_string()),
        "ratePerSecond": tenant.limits.rate_per_s,
        "burst": tenant.limits.burst,
        "maxStreams": tenant.limits.max_streams,
        "maxOpen": tenant.limits.max_open,
        "uniqueReferences": tenant.unique_references,
    })
}
