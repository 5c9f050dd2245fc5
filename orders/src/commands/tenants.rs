//! `orders tenants`: creates, lists, limits, suspends and resumes the owners of orders in the database, and revokes their
//! links.

use domain::{TenantId, Timestamp};
use gateway::store::{KeyActor, LimitChanges, MAX_TENANTS, Tenant, TenantCreation, TenantState};
use serde_json::{Value, json};

use super::keys::{failed, local_principal, shown_limits};
use crate::cli::{CreateTenantArgs, OutputArgs, TenantArgs, TenantsCommand, UpdateTenantArgs};
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
            let tenant = Tenant { id: args.id.clone(), name, created_at: now, suspended_at: None, limits };
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
    if changes == LimitChanges::default() {
        return Err(Error::usage("no limit of the tenant is to be changed")
            .hint("give --rate, --burst, --max-streams or --max-open"));
    }
    log::install(args.log.log_format)?;
    let store = startup::open_existing_database(&args.database).await?;
    let limits = store.change_tenant_limits(&args.id, &changes, &actor()).await;
    store.close().await;
    let limits = limits.map_err(failed)?.ok_or_else(|| unknown(&args.id))?;
    console::print(&format!("tenant {}: {limits}; gateways apply it within a second\n", args.id))
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
    })
}
