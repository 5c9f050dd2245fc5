//! URLs with several hosts: those of the sentinels of a primary, and those of nodes of a cluster.

use redis::ConnectionAddr;

use super::server_url::{ACCEPTED_FORMS, RedisUrl};
use super::topology::{Host, MAX_HOSTS, Sentinels, Topology};
use crate::error::Error;

const SENTINEL_PORT: u16 = 26379;
const CLUSTER_PORT: u16 = 6379;

/// The user name and the password of the sentinels.
type SentinelUser = (Option<String>, Option<String>);

/// The parts of a URL with several hosts.
pub(super) struct HostList<'a> {
    is_cluster: bool,
    /// The scheme of a URL of one of the hosts.
    scheme: &'static str,
    /// The user and the password, up to and including `@`.
    user: &'a str,
    hosts: &'a str,
    /// Without the leading `/`.
    path: &'a str,
    query: &'a str,
}

impl<'a> HostList<'a> {
    /// Splits a URL; `None` if its scheme has one host.
    pub(super) fn split(input: &'a str) -> Option<Self> {
        let (scheme, rest) = input.split_once("://")?;
        let (scheme, is_cluster) = match scheme {
            "redis+sentinel" | "valkey+sentinel" => ("redis", false),
            "rediss+sentinel" | "valkeys+sentinel" => ("rediss", false),
            "redis+cluster" | "valkey+cluster" => ("redis", true),
            "rediss+cluster" | "valkeys+cluster" => ("rediss", true),
            _ => return None,
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        Some(Self { is_cluster, scheme, user, hosts, path, query })
    }

    pub(super) fn parse(self) -> Result<RedisUrl, Error> {
        let (name, database) = match self.is_cluster {
            true => ("", self.path),
            false => self.path.split_once('/').unwrap_or((self.path, "")),
        };
        if self.is_cluster && !matches!(database, "" | "0") {
            return Err(invalid("has a database number, and a cluster has only number 0: remove it"));
        }
        if !self.is_cluster && name.is_empty() {
            return Err(invalid(&format!("has no name of the primary behind the hosts: {ACCEPTED_FORMS}")));
        }
        // The characters that sentinels accept.
        if name.bytes().any(|c| !c.is_ascii_alphanumeric() && !b".-_".contains(&c)) {
            return Err(invalid(
                "has a name of the primary with other characters than letters, digits, ., - and _",
            ));
        }
        let (sentinel_user, query) = self.sentinel_options()?;
        let mut first = None;
        let mut hosts = Vec::new();
        for host in self.hosts.split(',') {
            let server = format!("{}://{}{host}/{database}{query}", self.scheme, self.user);
            let server = RedisUrl::parse_server(&server)?;
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let default_port = if self.is_cluster { CLUSTER_PORT } else { SENTINEL_PORT };
            hosts.push(match server.info.addr() {
                ConnectionAddr::Tcp(name, port) | ConnectionAddr::TcpTls { host: name, port, .. } => {
                    Host { name: name.clone(), port: if has_port { *port } else { default_port } }
                }
                _ => return Err(invalid(ACCEPTED_FORMS)),
            });
            first.get_or_insert(server);
        }
        if hosts.len() > MAX_HOSTS {
            return Err(invalid(&format!("has more than {MAX_HOSTS} hosts: name fewer of them")));
        }
        let RedisUrl { info, redacted, tls, .. } = first.ok_or_else(|| invalid(ACCEPTED_FORMS))?;
        let redacted = self.redact(&redacted, &hosts);
        let topology = match self.is_cluster {
            true => Topology::Cluster(hosts),
            false => {
                let (username, password) = sentinel_user;
                Topology::Sentinel(Sentinels { hosts, primary: name.to_owned(), username, password })
            }
        };
        Ok(RedisUrl { info, redacted, tls, topology })
    }

    /// Takes the options about the user of the sentinels, and returns the others.
    fn sentinel_options(&self) -> Result<(SentinelUser, String), Error> {
        let (mut user, mut others) = (SentinelUser::default(), String::new());
        let decoded = redis::parse_redis_url(&format!("redis://host/?{}", self.query));
        let decoded = decoded.ok_or_else(|| invalid(&format!("cannot be read: {ACCEPTED_FORMS}")))?;
        let options = self.query.split('&').filter(|option| !option.is_empty());
        for (option, (name, value)) in options.zip(decoded.query_pairs()) {
            let target = match &*name {
                "sentinel-username" if !self.is_cluster => &mut user.0,
                "sentinel-password" if !self.is_cluster => &mut user.1,
                _ => {
                    others.push(if others.is_empty() { '?' } else { '&' });
                    others.push_str(option);
                    continue;
                }
            };
            if target.replace(value.into_owned()).is_some() {
                return Err(invalid(&format!("has the option {name} twice: write it once")));
            }
        }
        if user.0.is_some() && user.1.is_none() {
            return Err(invalid("has the option sentinel-username without sentinel-password: add it"));
        }
        Ok((user, others))
    }

    /// `server` is the URL of one server, without its password.
    fn redact(&self, server: &str, hosts: &[Host]) -> String {
        let user = server.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        let user = user.map(|(user, _)| format!("{user}@")).unwrap_or_default();
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let kind = if self.is_cluster { "cluster" } else { "sentinel" };
        let path = if self.path.is_empty() { String::new() } else { format!("/{}", self.path) };
        format!("{}+{kind}://{user}{}{path}", self.scheme, hosts.join(","))
    }
}

fn invalid(problem: &str) -> Error {
    Error::InvalidUrl(format!("the Redis URL {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_hosts_are_parsed() {
        let url = RedisUrl::parse(
            "rediss+sentinel://me:se%2Fcret@a,b:1,[::1]:2/shop/3?sentinel-password=hu%26sh&protocol=resp3",
        );
        let RedisUrl { info, redacted, tls, topology } = url.unwrap();
        assert_eq!(redacted, "rediss+sentinel://me:***@a:26379,b:1,[::1]:2/shop/3");
        assert!(tls);
        assert_eq!((info.redis_settings().db(), info.redis_settings().username()), (3, Some("me")));
        let Topology::Sentinel(sentinels) = topology else { panic!("{topology:?}") };
        assert_eq!(sentinels.hosts.len(), 3);
        assert_eq!(sentinels.primary, "shop");
        assert_eq!((sentinels.username, sentinels.password.as_deref()), (None, Some("hu&sh")));

        let url = RedisUrl::parse("redis+cluster://:secret@a,b:7001/").unwrap();
        assert_eq!(url.redacted, "redis+cluster://:***@a:6379,b:7001");
        let Topology::Cluster(hosts) = url.topology else { panic!("{:?}", url.topology) };
        assert_eq!(hosts[1], Host { name: "b".into(), port: 7001 });
        assert!(!format!("{hosts:?}").contains("secret"));
    }

    #[test]
    fn error_for_invalid_list_names_the_change_and_no_secret() {
        let many = format!("redis+cluster://:secret@{}", vec!["h"; MAX_HOSTS + 1].join(","));
        let cases = [
            ("redis+sentinel://:secret@a,b", "name of the primary"),
            ("redis+sentinel://:secret@a,b/", "name of the primary"),
            ("redis+sentinel://:secret@a,b/shop/one", "database number"),
            ("redis+sentinel://a/shop?sentinel-password=secret&sentinel-password=secret", "twice"),
            ("redis+sentinel://a/shop?sentinel-username=secret", "sentinel-password"),
            ("redis+sentinel://:secret@a,,b/shop", "cannot be read"),
            ("redis+cluster://:secret@a,b/1", "only number 0"),
            ("redis+cluster://a?sentinel-password=secret", "does not know"),
            ("redis+cluster://:secret@a:x,b", "cannot be read"),
            ("redis+cluster://", "missing hostname"),
            (&many, "more than"),
            ("redis-sentinel://:secret@a/shop", "redis+sentinel://"),
        ];
        for (url, expected) in cases {
            let Err(Error::InvalidUrl(message)) = RedisUrl::parse(url) else {
                panic!("{url:?} was accepted");
            };
            assert!(message.contains(expected), "{url:?} gave {message:?}");
            assert!(!message.contains("secret"), "{message:?}");
        }
    }
}
