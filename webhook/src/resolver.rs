//! The addresses of a name, without those that a request must not reach.
//!
//! The connection uses exactly the addresses that this resolver returns, so nothing can change between the check and the
//! connection.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::networks::AllowedNetworks;
use crate::url::UrlProblem;

/// The maximum number of addresses of a name that a connection tries.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// The maximum number of concurrent lookups. Each occupies a thread while the servers of a name do not answer.
pub(crate) const MAX_LOOKUPS: usize = 64;

/// The resolver of the system.
pub(crate) struct SystemResolver {
    free: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let free = self.free.clone();
        Box::pin(async move {
            let permit = free.acquire_owned().await?;
            let lookup = move || {
                // The lookup continues after its request has ended, and is counted until it ends.
                let _permit = permit;
                (name.as_str(), 0).to_socket_addrs()
            };
            Ok(Box::new(spawn_blocking(lookup).await??) as Addrs)
        })
    }
}

/// Drops the addresses that requests must not reach.
pub(crate) struct CheckedResolver {
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) allowed: AllowedNetworks,
    /// Whether the connection is not encrypted, which only the listed networks permit.
    pub(crate) plain: bool,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, plain) = (self.allowed.clone(), self.plain);
        let addresses = self.resolver.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = addresses.await?.take(MAX_ADDRESSES).collect();
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses").into());
            }
            // The port is that of the URL; a resolver could return another one.
            let of = |permitted: &dyn Fn(&SocketAddr) -> bool| {
                let addresses = found.iter().filter(|address| permitted(address));
                addresses.map(|address| SocketAddr::new(address.ip(), 0)).collect::<Vec<_>>()
            };
            let permitted = of(&|address| allowed.permits(address.ip()));
            let listed = of(&|address| allowed.contains(address.ip()));
            match (plain, permitted.is_empty(), listed.is_empty()) {
                (_, true, _) => Err(UrlProblem::Address.into()),
                (true, false, true) => Err(UrlProblem::NotEncrypted.into()),
                (true, false, false) => Ok(Box::new(listed.into_iter()) as Addrs),
                (false, false, _) => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns these addresses for every name.
    struct Fixed(&'static [&'static str]);

    impl Resolve for Fixed {
        fn resolve(&self, _: Name) -> Resolving {
            let addresses = self.0.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 22));
            Box::pin(async move { Ok(Box::new(addresses) as Addrs) })
        }
    }

    async fn resolve(addresses: &'static [&'static str], plain: bool) -> Result<Vec<String>, String> {
        let allowed = "10.0.0.0/8".parse().unwrap();
        let resolver = CheckedResolver { resolver: Arc::new(Fixed(addresses)), allowed, plain };
        let found = resolver.resolve("host".parse().unwrap()).await.map_err(|error| error.to_string())?;
        Ok(found.map(|address| address.to_string()).collect())
    }

    #[tokio::test]
    async fn forbidden_addresses_are_dropped() {
        let mixed = &["127.0.0.1", "8.8.8.8", "::1", "10.0.0.1", "::ffff:169.254.169.254"];
        assert_eq!(resolve(mixed, false).await.unwrap(), ["8.8.8.8:0", "10.0.0.1:0"]);
        assert_eq!(resolve(mixed, true).await.unwrap(), ["10.0.0.1:0"]);
        assert_eq!(resolve(&["127.0.0.1"], false).await, Err(UrlProblem::Address.to_string()));
        assert_eq!(resolve(&["127.0.0.1"], true).await, Err(UrlProblem::Address.to_string()));
        assert_eq!(resolve(&["8.8.8.8"], true).await, Err(UrlProblem::NotEncrypted.to_string()));
        assert_eq!(resolve(&[], false).await, Err("the name has no addresses".to_owned()));
        assert_eq!(resolve(&["8.8.8.8"; 100], false).await.unwrap().len(), MAX_ADDRESSES);
    }

    #[tokio::test]
    async fn system_resolver_resolves_names() {
        let resolver = SystemResolver::default();
        let addresses = resolver.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(addresses.into_iter().all(|address| address.ip().is_loopback()));
        assert!(resolver.resolve("name.invalid".parse().unwrap()).await.is_err());
    }
}
