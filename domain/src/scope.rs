//! The permissions of a caller: scopes, and roles as presets of them.

use std::fmt;
use std::str::FromStr;

macro_rules! scopes {
    ($($scope:ident $word:literal $meaning:literal;)*) => {
        /// One kind of action that a caller may be permitted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Scope {
            $(#[doc = concat!("`", $word, "`: ", $meaning, ".")] $scope,)*
        }

        impl Scope {
            /// Every scope, in the sequence of the documentation.
            pub const ALL: &[Self] = &[$(Self::$scope),*];

            /// Returns the word of the scope in keys, tokens and errors.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$scope => $word),* }
            }

            /// Returns what the scope permits.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$scope => $meaning),* }
            }
        }
    };
}

scopes! {
    OrdersRead "orders:read" "read and watch orders, lists and counts";
    OrdersWrite "orders:write" "create orders, cancel them and create tracking links";
    OrdersManage "orders:manage" "redrive orders, pause the tenant and revoke its tracking links";
    EventsRead "events:read" "read and watch the events of all orders";
    WebhooksManage "webhooks:manage" "manage webhook subscriptions";
    Work "work" "process orders as a worker";
    MetricsRead "metrics:read" "read metrics and the verbose readiness";
    KeysManage "keys:manage" "create, list, rotate and revoke API keys, with no more rights than the caller's";
    Admin "admin" "manage tenants, pause the whole queue and read the audit log of all tenants";
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u16);

/// A word is not a scope, or there is none.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum InvalidScopes {
    /// The word is unknown.
    #[error("'{0}' is not a scope: expected {known}", known = Scopes::ALL)]
    Unknown(String),
    /// The list is empty.
    #[error("expected at least one scope: {known}", known = Scopes::ALL)]
    Empty,
}

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);
    /// No scope.
    pub const NONE: Self = Self(0);

    /// Returns the set of these scopes.
    pub const fn of(scopes: &[Scope]) -> Self {
        let (mut bits, mut n) = (0, 0);
        while n < scopes.len() {
            bits |= 1 << scopes[n] as u16;
            n += 1;
        }
        Self(bits)
    }

    /// Returns whether the set contains a scope.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u16) != 0
    }

    /// Returns whether the set contains every scope of another one.
    pub const fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Returns the scopes of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether there is no scope.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the scopes, in the sequence of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.contains(*scope))
    }

    /// Parses words that are separated by spaces or commas, and leaves out those that are no scope of this system.
    pub fn from_known_words(string: &str) -> Self {
        let known = |word: &str| Scope::ALL.iter().copied().find(|scope| scope.as_str() == word);
        words(string).filter_map(known).fold(Self::NONE, |set, scope| set.union(Self::of(&[scope])))
    }
}

fn words(string: &str) -> impl Iterator<Item = &str> {
    string.split([' ', ',']).filter(|word| !word.is_empty())
}

/// Separated by spaces, as in a token of OAuth 2.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { " " })?;
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Scopes {
    type Err = InvalidScopes;

    fn from_str(string: &str) -> Result<Self, InvalidScopes> {
        let mut set = Self::NONE;
        for word in words(string) {
            let scope = Scope::ALL.iter().copied().find(|scope| scope.as_str() == word);
            set = set.union(Self::of(&[scope.ok_or_else(|| InvalidScopes::Unknown(word.to_owned()))?]));
        }
        if set.is_empty() { Err(InvalidScopes::Empty) } else { Ok(set) }
    }
}

/// A preset of scopes for a typical caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads orders and events.
    Reader,
    /// A shop: reads, creates and cancels orders.
    Writer,
    /// An operator of one tenant: also redrives and pauses.
    Operator,
    /// Processes orders.
    Worker,
    /// Everything within one tenant.
    Owner,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Reader, Self::Writer, Self::Operator, Self::Worker, Self::Owner, Self::Admin];

    /// Returns the name of the role.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Operator => "operator",
            Self::Worker => "worker",
            Self::Owner => "owner",
            Self::Admin => "admin",
        }
    }

    /// Returns the scopes of the role.
    pub const fn scopes(self) -> Scopes {
        const READER: Scopes = Scopes::of(&[Scope::OrdersRead, Scope::EventsRead]);
        const WRITER: Scopes = READER.union(Scopes::of(&[Scope::OrdersWrite]));
        const OPERATOR: Scopes = WRITER.union(Scopes::of(&[Scope::OrdersManage, Scope::MetricsRead]));
        match self {
            Self::Reader => READER,
            Self::Writer => WRITER,
            Self::Operator => OPERATOR,
            Self::Worker => Scopes::of(&[Scope::Work]),
            Self::Owner => OPERATOR.union(Scopes::of(&[Scope::WebhooksManage, Scope::KeysManage])),
            Self::Admin => Scopes::ALL,
        }
    }
}

/// The string is not the name of a role.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("expected reader, writer, operator, worker, owner or admin")]
pub struct InvalidRole;

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(string: &str) -> Result<Self, InvalidRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == string).ok_or(InvalidRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_parsed_and_written() {
        let set: Scopes = "orders:write, orders:read".parse().unwrap();
        assert_eq!(set.to_string(), "orders:read orders:write");
        assert_eq!(set.to_string().parse(), Ok(set));
        assert!(set.contains(Scope::OrdersRead) && !set.contains(Scope::Admin));
        assert_eq!("".parse::<Scopes>(), Err(InvalidScopes::Empty));
        let error = "orders:reed".parse::<Scopes>().unwrap_err().to_string();
        assert!(
            error.starts_with("'orders:reed' is not a scope: expected orders:read orders:write"),
            "{error}"
        );
    }

    #[test]
    fn words_of_other_systems_are_left_out() {
        assert_eq!(Scopes::from_known_words("openid work email"), Scopes::of(&[Scope::Work]));
        assert_eq!(Scopes::from_known_words("openid"), Scopes::NONE);
    }

    #[test]
    fn all_contains_each_scope_and_each_role() {
        assert!(Scope::ALL.iter().all(|scope| Scopes::ALL.contains(*scope)));
        assert_eq!(Scopes::ALL.iter().count(), Scope::ALL.len());
        for role in Role::ALL {
            assert!(Scopes::ALL.contains_all(role.scopes()) && !role.scopes().is_empty());
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!(!Role::Owner.scopes().contains(Scope::Admin));
        assert!(!Role::Reader.scopes().contains_all(Role::Writer.scopes()));
    }
}
