//! API keys: what is stored of them. The key itself is only known to its owner.

use domain::{InvalidTenant, Limits, OrderId, Scopes, TenantId, Timestamp};

use super::audit::{self, AuditEntry};
use super::connection::Connection;
use super::row::Row;
use super::statement::{Statement, bucketed_chunks};
use super::{Error, Shard, rows};

/// Maximum number of keys that are not revoked, over all tenants.
pub const MAX_API_KEYS: u32 = 20_000;
/// Maximum number of keys that one statement reads or deletes.
pub const MAX_KEY_PAGE: u32 = 1_000;

/// A stored API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The part of the key before its secret.
    pub id: String,
    /// The tenant for which it acts. `None` for all.
    pub tenant: Option<TenantId>,
    /// The name that its creator gave it.
    pub name: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// The actions that it permits.
    pub scopes: Scopes,
    /// Time of creation.
    pub created_at: Timestamp,
    /// The name of the principal that created it.
    pub created_by: String,
    /// The time from which it is refused.
    pub expires_at: Timestamp,
    /// The time of its revocation.
    pub revoked_at: Option<Timestamp>,
    /// Its last use, within a minute.
    pub last_used_at: Option<Timestamp>,
    /// Its limits, without a maximum of open orders.
    pub limits: Limits,
}

/// The outcome of a change of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// The change is written.
    Done,
    /// The key does not exist, or belongs to another tenant.
    NotFound,
    /// There are [`MAX_API_KEYS`] keys.
    LimitReached,
    /// The tenant of the key does not exist.
    NoTenant,
}

/// The user who changes keys and tenants, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyActor {
    /// The name of the principal.
    pub name: String,
    /// The tenant whose keys it may change. `None` for those of all tenants.
    pub tenant: Option<TenantId>,
    /// The id of the request, if there was one.
    pub request_id: Option<String>,
}

/// The columns of [`ApiKey`], in the sequence of its fields.
const COLUMNS: &str = "key_id, tenant_id, name, hash, scopes, created_at, created_by, expires_at, revoked_at, last_used_at, \
    rate_per_s, burst, max_streams";

impl ApiKey {
    fn read(row: &Row) -> Result<Self, Error> {
        let time = |column| Ok::<_, Error>(row.get::<Option<i64>>(column)?.map(Timestamp::from_micros));
        let optional = |column| rows::optional_number(row, column);
        let scopes: String = row.get(4)?;
        let tenant: Option<String> = row.get(1)?;
        let tenant = tenant.map(|tenant| tenant.parse()).transpose();
        Ok(Self {
            id: row.get(0)?,
            tenant: tenant.map_err(|error: InvalidTenant| Error::Row(format!("tenant_id: {error}")))?,
            name: row.get(2)?,
            hash: hash(row, 3)?,
            scopes: Scopes::from_known_words(&scopes),
            created_at: rows::time(row, 5)?,
            created_by: row.get(6)?,
            expires_at: rows::time(row, 7)?,
            revoked_at: time(8)?,
            last_used_at: time(9)?,
            limits: Limits {
                rate_per_s: optional(10)?,
                burst: optional(11)?,
                max_streams: optional(12)?,
                max_open: None,
            },
        })
    }

    /// Returns whether the key is neither revoked nor expired.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

impl Shard {
    /// Returns the key with this id, in any state.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, Error> {
        let id = id.to_owned();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(format!("SELECT {COLUMNS} FROM api_keys WHERE key_id = ?"));
                sql.bind(id);
                sql.fetch(connection).await?.first().map(ApiKey::read).transpose()
            })
        })
        .await
    }

    /// Reads up to `limit` keys after the one with the id `after`, by their ids; of one tenant or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn api_keys(
        &self,
        tenant: Option<&TenantId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, Error> {
        let (tenant, after) = (tenant.cloned(), after.unwrap_or_default().to_owned());
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(format!("SELECT {COLUMNS} FROM api_keys WHERE key_id > ?"));
                sql.bind(after);
                if let Some(tenant) = &tenant {
                    sql.push(" AND tenant_id = ?").bind(tenant.as_str().to_owned());
                }
                sql.push(" ORDER BY key_id LIMIT ?").bind(i64::from(limit.min(MAX_KEY_PAGE)));
                sql.fetch(connection).await?.iter().map(ApiKey::read).collect()
            })
        })
        .await
    }

    /// Returns the hashes of the keys that were created, rotated or revoked since a time, and of those whose tenant was
    /// suspended or resumed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn api_keys_changed_since(&self, since: Timestamp) -> Result<Vec<[u8; 32]>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT hash FROM api_keys WHERE changed_at >= ? UNION ALL SELECT hash FROM tenants \
                     JOIN api_keys ON api_keys.tenant_id = tenants.tenant_id WHERE tenants.changed_at >= ?",
                );
                sql.bind(since.as_micros()).bind(since.as_micros());
                sql.fetch(connection).await?.iter().map(|row| hash(row, 0)).collect()
            })
        })
        .await
    }

    /// Deletes up to [`MAX_KEY_PAGE`] keys that ended before a time. Returns whether there may be more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_ended_api_keys(&self, before: Timestamp) -> Result<bool, Error> {
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT key_id FROM api_keys WHERE revoked_at < ? OR expires_at < ? LIMIT ?",
                );
                sql.bind(before.as_micros()).bind(before.as_micros()).bind(i64::from(MAX_KEY_PAGE));
                let rows = sql.fetch(connection).await?;
                let ids = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<String>, Error>>()?;
                for piece in bucketed_chunks(&ids) {
                    let mut sql = Statement::new("DELETE FROM api_keys WHERE key_id");
                    sql.push_in(piece.iter().cloned());
                    sql.execute(connection).await?;
                }
                Ok(ids.len() >= MAX_KEY_PAGE as usize)
            })
        })
        .await
    }

    /// Returns whether any key was ever created.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn has_api_keys(&self) -> Result<bool, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                Ok(!Statement::new("SELECT key_id FROM api_keys LIMIT 1").fetch(connection).await?.is_empty())
            })
        })
        .await
    }

    /// Stores a new key and its entry in the audit log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_api_key(&self, key: &ApiKey, actor: &KeyActor) -> Result<KeyChange, Error> {
        let now = self.now();
        self.write(|connection| {
            let (key, actor) = (key.clone(), actor.clone());
            Box::pin(async move {
                if count_at_least(connection, now, MAX_API_KEYS).await? {
                    return Ok(KeyChange::LimitReached);
                }
                if let Some(tenant) = &key.tenant
                    && !tenant_exists(connection, tenant).await?
                {
                    return Ok(KeyChange::NoTenant);
                }
                insert(connection, &key).await?;
                audit::record(connection, &entry(&actor, &key, "key.create", now)).await?;
                Ok(KeyChange::Done)
            })
        })
        .await
    }

    /// Stores the first keys of an installation, unless any key was ever created. Returns whether they are stored.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_first_api_keys(&self, keys: &[ApiKey], actor: &KeyActor) -> Result<bool, Error> {
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        self.write(|connection| {
            let (keys, actor) = (keys.to_vec(), actor.clone());
            Box::pin(async move {
                // The row excludes another gateway that does the same.
                let mut sql = Statement::new("SELECT tenant_id FROM tenants WHERE tenant_id = ?");
                sql.bind(TenantId::DEFAULT.to_owned()).push(for_update);
                sql.fetch(connection).await?;
                if !Statement::new("SELECT key_id FROM api_keys LIMIT 1").fetch(connection).await?.is_empty()
                {
                    return Ok(false);
                }
                for key in &keys {
                    insert(connection, key).await?;
                    audit::record(connection, &entry(&actor, key, "key.create", now)).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// Replaces a key: the new one is stored, and the old one ends at `old_ends_at` or before.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rotate_api_key(
        &self,
        old: &str,
        old_ends_at: Timestamp,
        new: &ApiKey,
        actor: &KeyActor,
    ) -> Result<KeyChange, Error> {
        let now = self.now();
        self.write(|connection| {
            let (old, new, actor) = (old.to_owned(), new.clone(), actor.clone());
            Box::pin(async move {
                let mut sql = Statement::new(
                    "UPDATE api_keys SET changed_at = ?, expires_at = CASE WHEN expires_at < ? THEN expires_at ELSE ? END \
                     WHERE revoked_at IS NULL AND expires_at > ? AND key_id = ?",
                );
                sql.bind(now.as_micros())
                    .bind(old_ends_at.as_micros())
                    .bind(old_ends_at.as_micros())
                    .bind(now.as_micros())
                    .bind(old.clone());
                of_tenant(&mut sql, &actor);
                if sql.execute(connection).await? == 0 {
                    return Ok(KeyChange::NotFound);
                }
                insert(connection, &new).await?;
                let mut entry = entry(&actor, &new, "key.rotate", now);
                entry.detail = Some(format!("replaces {old}, which ends {old_ends_at}"));
                audit::record(connection, &entry).await?;
                Ok(KeyChange::Done)
            })
        })
        .await
    }

    /// Revokes a key. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke_api_key(&self, id: &str, actor: &KeyActor) -> Result<KeyChange, Error> {
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        self.write(|connection| {
            let (id, actor) = (id.to_owned(), actor.clone());
            Box::pin(async move {
                let mut sql = Statement::new(format!("SELECT {COLUMNS} FROM api_keys WHERE key_id = ?"));
                sql.bind(id.clone());
                of_tenant(&mut sql, &actor);
                sql.push(for_update);
                let found = sql.fetch(connection).await?.first().map(ApiKey::read).transpose()?;
                let Some(key) = found else { return Ok(KeyChange::NotFound) };
                if key.revoked_at.is_some() {
                    return Ok(KeyChange::Done);
                }
                let mut sql =
                    Statement::new("UPDATE api_keys SET revoked_at = ?, changed_at = ? WHERE key_id = ?");
                sql.bind(now.as_micros()).bind(now.as_micros()).bind(id);
                sql.execute(connection).await?;
                audit::record(connection, &entry(&actor, &key, "key.revoke", now)).await?;
                Ok(KeyChange::Done)
            })
        })
        .await
    }

    /// Records that these keys were used at `at`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn record_key_use(&self, ids: &[String], at: Timestamp) -> Result<(), Error> {
        self.write(|connection| {
            let ids = ids.to_vec();
            Box::pin(async move {
                for piece in bucketed_chunks(&ids) {
                    let mut sql = Statement::new("UPDATE api_keys SET last_used_at = ? WHERE key_id");
                    sql.bind(at.as_micros()).push_in(piece.iter().cloned());
                    sql.execute(connection).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

fn hash(row: &Row, column: usize) -> Result<[u8; 32], Error> {
    let hash: Vec<u8> = row.get(column)?;
    hash.try_into().map_err(|_| Error::Row("a hash does not have 32 bytes".into()))
}

/// Returns whether there are at least `limit` active keys.
async fn count_at_least(connection: &mut Connection, now: Timestamp, limit: u32) -> Result<bool, Error> {
    let mut sql = Statement::new(
        "SELECT COUNT(*) FROM (SELECT key_id FROM api_keys WHERE revoked_at IS NULL AND expires_at > ? LIMIT ?) few",
    );
    sql.bind(now.as_micros()).bind(i64::from(limit));
    let found = sql.fetch(connection).await?;
    let count: u32 = found.first().map_or(Ok(0), |row| rows::number(row, 0))?;
    Ok(count >= limit)
}

async fn tenant_exists(connection: &mut Connection, tenant: &TenantId) -> Result<bool, Error> {
    let mut sql = Statement::new("SELECT tenant_id FROM tenants WHERE tenant_id = ?");
    sql.bind(tenant.as_str().to_owned());
    Ok(!sql.fetch(connection).await?.is_empty())
}

async fn insert(connection: &mut Connection, key: &ApiKey) -> Result<(), Error> {
    let mut sql = Statement::new(format!("INSERT INTO api_keys ({COLUMNS}, changed_at) VALUES "));
    sql.rows(1, "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
        .bind(key.id.clone())
        .bind(key.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()))
        .bind(key.name.clone())
        .bind(key.hash.to_vec())
        .bind(key.scopes.to_string())
        .bind(key.created_at.as_micros())
        .bind(key.created_by.clone())
        .bind(key.expires_at.as_micros())
        .bind(key.revoked_at.map(Timestamp::as_micros))
        .bind(key.last_used_at.map(Timestamp::as_micros))
        .bind(key.limits.rate_per_s.map(i64::from))
        .bind(key.limits.burst.map(i64::from))
        .bind(key.limits.max_streams.map(i64::from))
        .bind(key.created_at.as_micros());
    sql.execute(connection).await.map(drop)
}

/// Adds the condition that the actor may change the key.
fn of_tenant(sql: &mut Statement<'_>, actor: &KeyActor) {
    if let Some(tenant) = &actor.tenant {
        sql.push(" AND tenant_id = ?").bind(tenant.as_str().to_owned());
    }
}

fn entry(actor: &KeyActor, key: &ApiKey, action: &str, at: Timestamp) -> AuditEntry {
    AuditEntry {
        id: OrderId::new(at),
        tenant: key.tenant.clone().unwrap_or_default(),
        at,
        actor: actor.name.clone(),
        action: action.to_owned(),
        target: key.id.clone(),
        request_id: actor.request_id.clone(),
        detail: Some(match key.limits.is_none() {
            true => format!("{}: {}", key.name, key.scopes),
            false => format!("{}: {}; {}", key.name, key.scopes, key.limits),
        }),
    }
}
