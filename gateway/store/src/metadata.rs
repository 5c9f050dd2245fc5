//! The metadata of orders, which can change at any time.
//!
//! It has no version in the database: [`metadata_version`] identifies its content. Two equal contents are the same
//! version, so a change for a version never loses another one.
//!
//! A filter by metadata is a search (see `search`). An index needs a row for each key of each order, in the transaction
//! of the create, and these rows have to follow every change, erasure and removal.

use domain::{InvalidField, Metadata, MetadataPatch, OrderId, Principal, Requester, TenantId, Timestamp};
use sha2::{Digest, Sha256};

use super::audit::{self, AuditEntry};
use super::connection::Connection;
use super::owner::Owner;
use super::statement::Statement;
use super::{Error, Shard, rows};

/// Bytes of the hash in a version.
const VERSION_BYTES: usize = 12;

/// The outcome of a change of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataChange {
    /// The metadata is now this.
    Changed(Metadata),
    /// The metadata has none of the expected versions; this is its present one.
    Outdated(String),
    /// The metadata would break a rule.
    Invalid(Vec<InvalidField>),
    /// The caller sees no such order.
    NotFound,
}

/// Returns the version of metadata: a word that differs for each content.
pub fn metadata_version(metadata: &Metadata) -> String {
    let hash = Sha256::digest(metadata.to_json().as_bytes());
    hash[..VERSION_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Shard {
    /// Changes the metadata of an order in one transaction, with an entry in the audit log.
    ///
    /// With `expected`, only metadata of one of these versions is changed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn change_metadata(
        &self,
        principal: &Principal,
        id: OrderId,
        patch: &MetadataPatch,
        expected: Option<&[String]>,
        requester: &Requester,
    ) -> Result<MetadataChange, Error> {
        let (now, for_update) = (self.now(), self.inner.dialect.for_update());
        let owner = Owner::visible_to(principal);
        let expected = expected.map(<[String]>::to_vec);
        let change = self
            .write(|connection| {
                let (owner, patch, expected) = (owner.clone(), patch.clone(), expected.clone());
                let requester = requester.clone();
                Box::pin(async move {
                    let Some((tenant, metadata)) = locked(connection, id, &owner, for_update).await? else {
                        return Ok(MetadataChange::NotFound);
                    };
                    if let Some(expected) = expected {
                        let version = metadata_version(&metadata);
                        if !expected.contains(&version) {
                            return Ok(MetadataChange::Outdated(version));
                        }
                    }
                    let changed = match metadata.patched(patch) {
                        Ok(changed) => changed,
                        Err(problems) => {
                            let problems = problems.into_iter().map(InvalidField::of_metadata);
                            return Ok(MetadataChange::Invalid(problems.collect()));
                        }
                    };
                    if changed != metadata {
                        let mut sql = Statement::new("UPDATE orders SET metadata = ? WHERE id = ?");
                        sql.bind((!changed.is_empty()).then(|| changed.to_json())).bind(id);
                        sql.execute(connection).await?;
                        audit::record(connection, &entry(tenant, id, &requester, now)).await?;
                    }
                    Ok(MetadataChange::Changed(changed))
                })
            })
            .await;
        // A worker that starts the order over this gateway gets the new metadata.
        self.inner.row_cache.remove(std::iter::once(&id));
        change
    }
}

/// Reads and locks the metadata of an order, with its tenant.
async fn locked(
    connection: &mut Connection,
    id: OrderId,
    owner: &Owner,
    for_update: &str,
) -> Result<Option<(TenantId, Metadata)>, Error> {
    let mut sql = Statement::new("SELECT tenant_id, metadata FROM orders WHERE id = ?");
    sql.bind(id);
    owner.push(&mut sql);
    sql.push(for_update);
    let found = sql.fetch(connection).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let tenant: &str = row.get(0)?;
    let tenant = tenant.parse().map_err(|error| Error::Row(format!("tenant_id '{tenant}' is {error}")))?;
    let metadata = row.get::<Option<&str>>(1)?.map(rows::metadata_from_json).transpose()?;
    Ok(Some((tenant, metadata.unwrap_or_default())))
}

/// The entry has no values, which can contain personal data.
fn entry(tenant: TenantId, id: OrderId, requester: &Requester, now: Timestamp) -> AuditEntry {
    AuditEntry {
        id: OrderId::new(now),
        tenant,
        at: now,
        actor: requester.name.to_string(),
        action: "order.metadata".to_owned(),
        target: id.to_string(),
        request_id: requester.request_id.clone(),
        detail: None,
    }
}

#[cfg(test)]
mod tests {
    use domain::{MAX_METADATA_BYTES, MAX_METADATA_KEY, MAX_METADATA_KEYS, MAX_METADATA_VALUE};

    use super::*;

    #[test]
    fn equal_metadata_has_one_version() {
        let version = |entries: &[(&str, &str)]| {
            let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            metadata_version(&Metadata::check(entries.collect()).unwrap())
        };
        assert_eq!(version(&[("a", "1"), ("b", "2")]), version(&[("b", "2"), ("a", "1")]));
        assert_ne!(version(&[("a", "1")]), version(&[("a", "2")]));
        assert_eq!(version(&[]).len(), 2 * VERSION_BYTES);
    }

    #[test]
    fn the_limits_are_documented() {
        let bytes = limits_page::bytes(MAX_METADATA_BYTES);
        limits_page::row(
            "metadata of an order: keys; length of a key; of a value; JSON",
            &format!(
                "{MAX_METADATA_KEYS}; {MAX_METADATA_KEY} characters; {MAX_METADATA_VALUE} characters; {bytes}"
            ),
        );
    }
}
