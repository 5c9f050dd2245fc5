//! The version and settings of the server, and the check that they are suitable.

/// The first major version of Redis with `BLMPOP`. Every Valkey has it.
const MIN_MAJOR: u32 = 7;

/// A suitable server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Name and version, such as `Redis 7.0.15` or `Valkey 8.0.1`.
    pub version: String,
    /// Sentences about harmful settings; usually empty.
    pub warnings: Vec<String>,
}

impl ServerInfo {
    /// Parses the sections `server`, `memory` and `cluster` of `INFO`.
    ///
    /// # Errors
    /// The reason why the server is not suitable.
    pub(super) fn parse(
        server: &str,
        memory: &str,
        cluster: &str,
        expects_cluster: bool,
    ) -> Result<Self, String> {
        let mut warnings = Vec::new();
        // A Valkey also reports the Redis version with which it is compatible.
        let redis_version = info_field(server, "redis_version").unwrap_or("of unknown version");
        let version = match info_field(server, "valkey_version") {
            Some(valkey) => format!("Valkey {valkey}"),
            None => format!("Redis {redis_version}"),
        };
        match redis_version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
            Some(major) if major < MIN_MAJOR => {
                return Err(format!(
                    "{version} is too old: its queue needs the command BLMPOP, so use Redis {MIN_MAJOR} or \
                     newer, or Valkey"
                ));
            }
            Some(_) => {}
            None => warnings.push(format!(
                "{version} answers; the queue needs the command BLMPOP, which Redis {MIN_MAJOR} or newer \
                 and Valkey have"
            )),
        }
        if let Some(policy) = info_field(memory, "maxmemory_policy")
            && policy != "noeviction"
        {
            warnings.push(format!(
                "{version} has maxmemory-policy {policy} and may throw the queue away when memory is short, \
                 which delays orders; set it to noeviction"
            ));
        }
        if !expects_cluster && info_field(cluster, "cluster_enabled") == Some("1") {
            warnings.push(format!(
                "{version} is a node of a cluster: no order is processed once another node has the queue's key; use \
                 redis+cluster:// with the addresses of its nodes"
            ));
        }
        Ok(Self { version, warnings })
    }
}

fn info_field<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    section.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_CLUSTER: &str = "# Cluster\r\ncluster_enabled:0\r\n";
    const NO_EVICTION: &str = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";

    #[test]
    fn redis_7_and_valkey_are_suitable() {
        let redis = ServerInfo::parse(
            "# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n",
            NO_EVICTION,
            NO_CLUSTER,
            false,
        )
        .unwrap();
        assert_eq!(redis, ServerInfo { version: "Redis 7.0.15".into(), warnings: vec![] });
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n";
        assert_eq!(
            ServerInfo::parse(valkey, NO_EVICTION, NO_CLUSTER, false).unwrap().version,
            "Valkey 8.0.1"
        );
        assert!(ServerInfo::parse("redis_version:10.0.0\r\n", NO_EVICTION, NO_CLUSTER, false).is_ok());
    }

    #[test]
    fn old_version_is_rejected() {
        let reason =
            ServerInfo::parse("redis_version:6.2.14\r\n", NO_EVICTION, NO_CLUSTER, false).unwrap_err();
        assert!(reason.contains("Redis 6.2.14") && reason.contains("BLMPOP"), "{reason}");
    }

    #[test]
    fn harmful_settings_give_warnings() {
        let evicting = ServerInfo::parse(
            "redis_version:7.4.0\r\n",
            "maxmemory_policy:allkeys-lru\r\n",
            NO_CLUSTER,
            false,
        )
        .unwrap();
        assert_eq!(evicting.warnings.len(), 1);
        assert!(evicting.warnings[0].contains("allkeys-lru"), "{:?}", evicting.warnings);
        let clustered =
            ServerInfo::parse("redis_version:7.4.0\r\n", NO_EVICTION, "cluster_enabled:1\r\n", false)
                .unwrap();
        assert!(clustered.warnings[0].contains("redis+cluster://"), "{:?}", clustered.warnings);
        let expected =
            ServerInfo::parse("redis_version:7.4.0\r\n", NO_EVICTION, "cluster_enabled:1\r\n", true);
        assert_eq!(expected.unwrap().warnings, [""; 0]);
        let unknown = ServerInfo::parse("", NO_EVICTION, NO_CLUSTER, false).unwrap();
        assert!(unknown.warnings[0].contains("BLMPOP"), "{:?}", unknown.warnings);
    }
}
