//! Creates, lists, rotates and revokes API keys, and reads the audit log.
//!
//! A caller cannot give a key more rights than it has.

use std::time::Duration;

use domain::{ErrorCode, Limits, MissingScope, OrderId, Principal, Role, Scope, Scopes, TenantId};
use gateway_store::{ApiKey, AuditEntry, Error as StoreError, KeyActor, KeyChange, Store};

use crate::key::Key;

/// Maximum length of the name of a key, in characters.
pub const MAX_KEY_NAME: usize = 100;
/// Maximum lifetime of a key.
pub const MAX_KEY_TTL: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Maximum time for which a rotated key stays valid.
pub const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Tries of an id that another key has; one is enough in practice.
const TRIES: usize = 3;

/// The tenant of a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewKeyTenant {
    /// One tenant.
    One(TenantId),
    /// All tenants.
    All,
}

/// A key to create.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// The name, for lists.
    pub name: String,
    /// The tenant.
    pub tenant: NewKeyTenant,
    /// The actions that the key permits.
    pub scopes: Scopes,
    /// Its lifetime.
    pub ttl: Duration,
    /// Its limits. A maximum of open orders is that of its tenant.
    pub limits: Limits,
}

/// A key, which is shown once, and what is stored of it.
#[derive(Debug)]
pub struct IssuedKey {
    /// The key.
    pub key: Key,
    /// The stored row.
    pub stored: ApiKey,
}

/// The reason for which keys are not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The caller may not manage keys.
    #[error(transparent)]
    Forbidden(#[from] MissingScope),
    /// The name is empty, too long or has control characters.
    #[error("the name of a key {0}")]
    Name(String),
    /// The lifetime is zero or too long.
    #[error("a key is valid for 1s to 400d")]
    Ttl,
    /// The grace period is too long.
    #[error("a rotated key stays valid for at most 30d")]
    Grace,
    /// The key would permit what its creator may not do.
    #[error("a key cannot have rights that its creator lacks: {0}")]
    Rights(String),
    /// The key does not exist, or is not the caller's.
    #[error("there is no active key {0}")]
    NotFound(String),
    /// The maximum number of keys exists.
    #[error("there are {max} keys: revoke those that are not used", max = gateway_store::MAX_API_KEYS)]
    LimitReached,
    /// The tenant does not exist.
    #[error("there is no tenant {0}: create it with `orders tenants create`")]
    NoTenant(TenantId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KeyError {
    /// Returns the code for clients; `None` for an error of the database.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Forbidden(_) | Self::Rights(_) => Some(ErrorCode::Forbidden),
            Self::Name(_) | Self::Ttl | Self::Grace | Self::NoTenant(_) => Some(ErrorCode::InvalidInput),
            Self::NotFound(_) => Some(ErrorCode::KeyNotFound),
            Self::LimitReached => Some(ErrorCode::KeyLimit),
            Self::Store(_) => None,
        }
    }
}

/// Reads up to `limit` keys after the one with the id `after`, by their ids. A caller of one tenant reads its keys.
///
/// # Errors
/// [`KeyError`].
pub async fn list(
    store: &Store,
    caller: &Principal,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<ApiKey>, KeyError> {
    caller.require(Scope::KeysManage)?;
    let tenant = (!caller.all_tenants).then_some(&caller.tenant);
    Ok(store.api_keys(tenant, after, limit).await?)
}

/// Reads up to `limit` entries of the audit log before the one with the id `before`, newest first.
///
/// A caller with the scope `admin` for all tenants reads all entries, another one those of its tenant.
///
/// # Errors
/// [`KeyError`].
pub async fn audit_log(
    store: &Store,
    caller: &Principal,
    before: Option<OrderId>,
    limit: u32,
) -> Result<Vec<AuditEntry>, KeyError> {
    caller.require(Scope::KeysManage)?;
    let reads_all = caller.all_tenants && caller.scopes.contains(Scope::Admin);
    let tenant = (!reads_all).then_some(&caller.tenant);
    Ok(store.audit_log(tenant, before, limit).await?)
}

/// Creates a key.
///
/// # Errors
/// [`KeyError`].
pub async fn create(
    store: &Store,
    creator: &Principal,
    request: &KeyRequest,
    request_id: Option<String>,
) -> Result<IssuedKey, KeyError> {
    creator.require(Scope::KeysManage)?;
    check(creator, request)?;
    let tenant = match &request.tenant {
        NewKeyTenant::One(tenant) => Some(tenant.clone()),
        NewKeyTenant::All => None,
    };
    let actor = actor(creator, request_id);
    for _ in 0..TRIES {
        let issued = issue(store, tenant.clone(), request, &actor);
        if store.api_key(&issued.stored.id).await?.is_some() {
            continue;
        }
        return match store.create_api_key(&issued.stored, &actor).await? {
            KeyChange::Done => Ok(issued),
            KeyChange::LimitReached => Err(KeyError::LimitReached),
            KeyChange::NoTenant => Err(KeyError::NoTenant(tenant.unwrap_or_default())),
            KeyChange::NotFound => Err(KeyError::NotFound(issued.stored.id)),
        };
    }
    Err(KeyError::LimitReached)
}

/// Stores the first keys of an installation, each with a role and for all tenants, unless a key exists.
///
/// Returns whether they are stored.
///
/// # Errors
/// [`KeyError`].
pub async fn create_first(store: &Store, keys: &[(Key, Role)]) -> Result<bool, KeyError> {
    let actor = KeyActor { name: "bootstrap".to_owned(), tenant: None, request_id: None };
    let stored = keys.iter().map(|(key, role)| {
        let request = KeyRequest {
            name: format!("bootstrap {}", role.as_str()),
            tenant: NewKeyTenant::All,
            scopes: role.scopes(),
            ttl: MAX_KEY_TTL,
            limits: Limits::default(),
        };
        to_stored(store, key, None, &request, &actor)
    });
    Ok(store.create_first_api_keys(&stored.collect::<Vec<_>>(), &actor).await?)
}

/// Creates a key with the rights, the limits and the name of another one, which stays valid for `grace`.
///
/// # Errors
/// [`KeyError`].
pub async fn rotate(
    store: &Store,
    creator: &Principal,
    id: &str,
    grace: Duration,
    ttl: Duration,
    request_id: Option<String>,
) -> Result<IssuedKey, KeyError> {
    creator.require(Scope::KeysManage)?;
    if grace > MAX_GRACE {
        return Err(KeyError::Grace);
    }
    let not_found = || KeyError::NotFound(id.to_owned());
    let actor = actor(creator, request_id);
    let old = store.api_key(id).await?.filter(|key| key.is_active(store.now()));
    let old = old.filter(|key| actor.tenant.is_none() || key.tenant == actor.tenant).ok_or_else(not_found)?;
    let tenant = old.tenant.clone().map_or(NewKeyTenant::All, NewKeyTenant::One);
    let request = KeyRequest { name: old.name.clone(), tenant, scopes: old.scopes, ttl, limits: old.limits };
    check(creator, &request)?;
    let issued = issue(store, old.tenant.clone(), &request, &actor);
    match store.rotate_api_key(id, store.now() + grace, &issued.stored, &actor).await? {
        KeyChange::Done => Ok(issued),
        KeyChange::NotFound | KeyChange::LimitReached | KeyChange::NoTenant => Err(not_found()),
    }
}

/// Revokes a key and returns it. Repeating it changes nothing.
///
/// # Errors
/// [`KeyError`].
pub async fn revoke(
    store: &Store,
    creator: &Principal,
    id: &str,
    request_id: Option<String>,
) -> Result<ApiKey, KeyError> {
    creator.require(Scope::KeysManage)?;
    let not_found = || KeyError::NotFound(id.to_owned());
    match store.revoke_api_key(id, &actor(creator, request_id)).await? {
        KeyChange::Done => Ok(store.api_key(id).await?.ok_or_else(not_found)?),
        KeyChange::NotFound | KeyChange::LimitReached | KeyChange::NoTenant => Err(not_found()),
    }
}

fn check(creator: &Principal, request: &KeyRequest) -> Result<(), KeyError> {
    domain::strings::validate(&request.name, MAX_KEY_NAME).map_err(KeyError::Name)?;
    if request.ttl < Duration::from_secs(1) || request.ttl > MAX_KEY_TTL {
        return Err(KeyError::Ttl);
    }
    if !creator.scopes.contains_all(request.scopes) {
        let missing = request.scopes.iter().filter(|scope| !creator.scopes.contains(*scope));
        let missing: Vec<&str> = missing.map(domain::Scope::as_str).collect();
        return Err(KeyError::Rights(missing.join(" ")));
    }
    match &request.tenant {
        NewKeyTenant::One(tenant) if creator.covers(tenant) => Ok(()),
        NewKeyTenant::All if creator.all_tenants => Ok(()),
        NewKeyTenant::One(_) | NewKeyTenant::All => {
            Err(KeyError::Rights(format!("tenants other than {}", creator.tenant)))
        }
    }
}

fn issue(store: &Store, tenant: Option<TenantId>, request: &KeyRequest, actor: &KeyActor) -> IssuedKey {
    let key = Key::generate();
    let stored = to_stored(store, &key, tenant, request, actor);
    IssuedKey { key, stored }
}

fn to_stored(
    store: &Store,
    key: &Key,
    tenant: Option<TenantId>,
    request: &KeyRequest,
    actor: &KeyActor,
) -> ApiKey {
    let now = store.now();
    ApiKey {
        id: key.id().to_owned(),
        tenant,
        name: request.name.clone(),
        hash: key.hash(),
        scopes: request.scopes,
        created_at: now,
        created_by: actor.name.clone(),
        expires_at: now + request.ttl,
        revoked_at: None,
        last_used_at: None,
        limits: request.limits,
    }
}

/// Returns the caller for the audit log.
pub(crate) fn actor(creator: &Principal, request_id: Option<String>) -> KeyActor {
    let tenant = (!creator.all_tenants).then(|| creator.tenant.clone());
    KeyActor { name: creator.name.to_string(), tenant, request_id }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn request(scopes: Scopes, tenant: NewKeyTenant) -> KeyRequest {
        KeyRequest { name: "ops".to_owned(), tenant, scopes, ttl: DAY, limits: Limits::default() }
    }

    #[test]
    fn a_key_has_no_more_rights_than_its_creator() {
        let shop: TenantId = "shop".parse().unwrap();
        let owner = Principal {
            tenant: shop.clone(),
            all_tenants: false,
            scopes: domain::Role::Owner.scopes(),
            ..Principal::anonymous()
        };
        let reader = domain::Role::Reader.scopes();
        assert!(check(&owner, &request(reader, NewKeyTenant::One(shop.clone()))).is_ok());
        for refused in [
            request(Scopes::ALL, NewKeyTenant::One(shop)),
            request(reader, NewKeyTenant::All),
            request(reader, NewKeyTenant::One(TenantId::default())),
        ] {
            let error = check(&owner, &refused).unwrap_err();
            assert!(matches!(error, KeyError::Rights(_)), "{error}");
        }
    }

    #[test]
    fn name_and_lifetime_have_limits() {
        let valid = request(Scopes::ALL, NewKeyTenant::All);
        let creator = Principal::anonymous();
        assert!(check(&creator, &valid).is_ok());
        for name in ["", " ", "a\nb", &"x".repeat(MAX_KEY_NAME + 1)] {
            let invalid = KeyRequest { name: name.to_owned(), ..valid.clone() };
            assert!(matches!(check(&creator, &invalid), Err(KeyError::Name(_))), "{name:?}");
        }
        for ttl in [Duration::ZERO, MAX_KEY_TTL + DAY] {
            let invalid = KeyRequest { ttl, ..valid.clone() };
            assert!(matches!(check(&creator, &invalid), Err(KeyError::Ttl)), "{ttl:?}");
        }
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("name of an API key", &format!("{MAX_KEY_NAME} characters"));
        let days = |time: Duration| time.as_secs() / DAY.as_secs();
        limits_page::row(
            "lifetime of an API key; grace of a rotated key",
            &format!("{} d; {} d", days(MAX_KEY_TTL), days(MAX_GRACE)),
        );
    }
}
