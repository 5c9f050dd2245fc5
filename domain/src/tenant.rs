use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

/// The longest name of a tenant, in characters.
pub const MAX_TENANT: usize = 64;

/// The name of the tenant that owns an order: lower-case letters, digits, `-`, `_` and `.`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// The string is not the name of a tenant.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error(
    "not the name of a tenant: expected 1 to {MAX_TENANT} lower-case letters, digits, '-', '_' and '.', of which the \
     first is a letter or a digit"
)]
pub struct InvalidTenant;

static DEFAULT: LazyLock<TenantId> = LazyLock::new(|| TenantId(Arc::from(TenantId::DEFAULT)));

impl TenantId {
    /// The name of the tenant of an installation that has only one.
    pub const DEFAULT: &'static str = "default";

    /// Returns the name as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is the tenant of an installation that has only one.
    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }
}

/// The tenant of an installation that has only one.
impl Default for TenantId {
    fn default() -> Self {
        DEFAULT.clone()
    }
}

impl FromStr for TenantId {
    type Err = InvalidTenant;

    fn from_str(string: &str) -> Result<Self, InvalidTenant> {
        if string == Self::DEFAULT {
            return Ok(Self::default());
        }
        let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let mut bytes = string.as_bytes().iter();
        let is_valid = string.len() <= MAX_TENANT
            && bytes.next().is_some_and(is_plain)
            && bytes.all(|byte| is_plain(byte) || b"-_.".contains(byte));
        if is_valid { Ok(Self(Arc::from(string))) } else { Err(InvalidTenant) }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        for valid in ["default", "a", "7", "shop-1.eu_x", &"a".repeat(MAX_TENANT)] {
            assert_eq!(valid.parse::<TenantId>().unwrap().as_str(), valid);
        }
        for invalid in ["", "Shop", "-a", ".a", "a b", "é", "a/b", "a'b", &"a".repeat(MAX_TENANT + 1)] {
            assert_eq!(invalid.parse::<TenantId>(), Err(InvalidTenant), "{invalid}");
        }
    }

    #[test]
    fn default_tenant_has_one_allocation() {
        let (one, other): (TenantId, TenantId) = ("default".parse().unwrap(), TenantId::default());
        assert!(Arc::ptr_eq(&one.0, &other.0) && one.is_default());
    }
}
