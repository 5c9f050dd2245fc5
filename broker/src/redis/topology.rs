//! Which server has a key: the one of the URL, the primary that sentinels name, or a node of a cluster.

use std::fmt;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, select_ok};
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, RedisConnectionInfo};
use tokio::time::timeout;

use super::server_errors::describe;

/// The maximum number of hosts in a URL.
pub(super) const MAX_HOSTS: usize = 16;

/// The maximum number of ranges of slots that a cluster may have.
const MAX_RANGES: usize = 16_384;

/// The maximum time of a question to one server.
pub(super) const QUESTION_TIMEOUT: Duration = Duration::from_millis(500);

/// The kind of the installation of Redis.
#[derive(Clone, Debug)]
pub(super) enum Topology {
    /// One server, which has every key.
    Server,
    /// A primary with replicas, which sentinels watch. The primary has every key.
    Sentinel(Sentinels),
    /// A cluster, of which some nodes are known. Each key is on the node of its slot.
    Cluster(Vec<Host>),
}

/// The sentinels that watch a primary.
#[derive(Clone)]
pub(super) struct Sentinels {
    pub(super) hosts: Vec<Host>,
    /// The name of the primary.
    pub(super) primary: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels").field("hosts", &self.hosts).field("primary", &self.primary).finish()
    }
}

/// The name and the port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// The servers of ranges of slots. A primary has all slots.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Routes(Vec<(u16, u16, Host)>);

impl Routes {
    /// Returns the server of a slot.
    pub(super) fn server(&self, slot: u16) -> Option<&Host> {
        self.0.iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).map(|(_, _, host)| host)
    }

    pub(super) fn contains(&self, host: &Host) -> bool {
        self.0.iter().any(|(_, _, server)| server == host)
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.0.iter().map(|(_, _, host)| host)
    }
}

/// Makes a client for a server, with the user of the URL or another one.
pub(super) trait Clients: Sync {
    fn client(&self, host: &Host, user: Option<RedisConnectionInfo>) -> Result<Client, String>;
}

/// The answer of a server, and who gave it.
pub(super) struct Answer {
    pub(super) routes: Routes,
    pub(super) host: Host,
}

impl Topology {
    /// Finds the servers. The host that answered last is asked first, and the others at the same time if it does not answer.
    ///
    /// `present` are the routes of the last answer.
    pub(super) async fn find_servers(
        &self,
        clients: &impl Clients,
        latest: Option<Host>,
        present: Option<&Routes>,
    ) -> Result<Answer, String> {
        let mut hosts = match self {
            Self::Server => return Err("one server has every key".to_owned()),
            Self::Sentinel(sentinels) => sentinels.hosts.clone(),
            Self::Cluster(hosts) => hosts.clone(),
        };
        if let (Self::Cluster(_), Some(present)) = (self, present) {
            for host in present.hosts() {
                if !hosts.contains(host) && hosts.len() < 2 * MAX_HOSTS {
                    hosts.push(host.clone());
                }
            }
        }
        if let Some(latest) = latest
            && let Ok(answer) = self.ask(clients, latest.clone(), present).await
        {
            return Ok(answer);
        }
        let questions: Vec<BoxFuture<'_, Result<Answer, String>>> =
            hosts.into_iter().map(|host| self.ask(clients, host, present).boxed()).collect();
        let (answer, _) = select_ok(questions).await?;
        Ok(answer)
    }

    /// Asks one host.
    async fn ask(
        &self,
        clients: &impl Clients,
        host: Host,
        present: Option<&Routes>,
    ) -> Result<Answer, String> {
        let question = async {
            match self {
                Self::Server => Err("one server has every key".to_owned()),
                Self::Sentinel(sentinels) => sentinels.ask(clients, &host, present).await,
                Self::Cluster(_) => ask_node(clients, &host).await,
            }
        };
        match timeout(QUESTION_TIMEOUT, question).await {
            Ok(Ok(routes)) => Ok(Answer { routes, host }),
            Ok(Err(problem)) => Err(format!("{host}: {problem}")),
            Err(_) => Err(format!("{host}: no response within {} ms", QUESTION_TIMEOUT.as_millis())),
        }
    }
}

impl Sentinels {
    /// Asks a sentinel for the primary, and that server whether it is one: during a failover, sentinels name servers that
    /// are no longer primary, or not yet.
    async fn ask(
        &self,
        clients: &impl Clients,
        sentinel: &Host,
        present: Option<&Routes>,
    ) -> Result<Routes, String> {
        let mut user = RedisConnectionInfo::default();
        if let Some(username) = &self.username {
            user = user.set_username(username);
        }
        if let Some(password) = &self.password {
            user = user.set_password(password);
        }
        let mut connection = connect(clients, sentinel, Some(user)).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
        let address: Option<(String, u16)> = query(&command, &mut connection).await?;
        let Some((name, port)) = address else {
            return Err(format!(
                "the sentinel knows no primary {:?}: correct the name in the URL",
                self.primary
            ));
        };
        let routes = Routes(vec![(0, u16::MAX, Host { name, port })]);
        if present != Some(&routes) {
            let primary = routes.hosts().next().ok_or("no host")?;
            let mut connection = connect(clients, primary, None).await?;
            let role: (String,) = first_of(query(&redis::cmd("ROLE"), &mut connection).await?)?;
            if role.0 != "master" {
                return Err(format!("{primary}, which the sentinel names, is a replica"));
            }
        }
        Ok(routes)
    }
}

/// Asks a node of a cluster for the nodes of all slots. A node without contact to the majority may be outdated.
async fn ask_node(clients: &impl Clients, host: &Host) -> Result<Routes, String> {
    let mut connection = connect(clients, host, None).await?;
    let mut commands = redis::cmd("CLUSTER");
    commands.arg("INFO");
    let info: String = query(&commands, &mut connection).await?;
    if !info.lines().any(|line| line.trim() == "cluster_state:ok") {
        return Err("the cluster is down (cluster_state is not ok)".to_owned());
    }
    let mut commands = redis::cmd("CLUSTER");
    commands.arg("SLOTS");
    parse_slots(query(&commands, &mut connection).await?, host)
}

/// Parses the response to `CLUSTER SLOTS`: for each range of slots its first and last one, its primary and its replicas.
fn parse_slots(response: Vec<redis::Value>, asked: &Host) -> Result<Routes, String> {
    let unreadable = || "the response to CLUSTER SLOTS cannot be read".to_owned();
    if response.len() > MAX_RANGES {
        return Err(unreadable());
    }
    let ranges = response.into_iter().map(|range| {
        let redis::Value::Array(range) = range else { return Err(unreadable()) };
        let [first, last, primary, ..] = &range[..] else { return Err(unreadable()) };
        let number = |value| {
            let number = i64::from_redis_value_ref(value).map_err(|_| unreadable())?;
            u16::try_from(number).map_err(|_| unreadable())
        };
        let redis::Value::Array(primary) = primary else { return Err(unreadable()) };
        let [name, port, ..] = &primary[..] else { return Err(unreadable()) };
        let name: Option<String> = FromRedisValue::from_redis_value_ref(name).map_err(|_| unreadable())?;
        // A node that does not know its own address omits it.
        let name = name.filter(|name| !name.is_empty() && name != "?").unwrap_or_else(|| asked.name.clone());
        Ok((number(first)?, number(last)?, Host { name, port: number(port)? }))
    });
    let routes = Routes(ranges.collect::<Result<_, _>>()?);
    if routes.0.is_empty() { Err("the cluster has no slots yet".to_owned()) } else { Ok(routes) }
}

async fn connect(
    clients: &impl Clients,
    host: &Host,
    user: Option<RedisConnectionInfo>,
) -> Result<MultiplexedConnection, String> {
    let client = clients.client(host, user)?;
    client.get_multiplexed_async_connection().await.map_err(|cause| describe(&cause))
}

async fn query<T: FromRedisValue>(
    command: &redis::Cmd,
    connection: &mut MultiplexedConnection,
) -> Result<T, String> {
    command.query_async(connection).await.map_err(|cause| describe(&cause))
}

/// Returns the first element of an array.
fn first_of(values: Vec<redis::Value>) -> Result<(String,), String> {
    let first = values.into_iter().next().and_then(|value| String::from_redis_value(value).ok());
    first.map(|first| (first,)).ok_or_else(|| "the response to ROLE cannot be read".to_owned())
}

/// Returns the slot of a key or channel in a cluster: of the part in braces, if there is one.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let bytes = tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes();
    // CRC-16/XMODEM.
    let crc = bytes.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot("123456789"), 0x31c3);
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
        assert_eq!(slot("foo{}{bar}"), slot("foo{}{bar}"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("orders:queue"), 11_005);
    }

    #[test]
    fn slots_of_nodes_are_read() {
        let node = |name: &[u8], port| {
            Value::Array(vec![Value::BulkString(name.to_vec()), Value::Int(port), Value::BulkString(vec![])])
        };
        let range = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let asked = Host { name: "asked".into(), port: 1 };
        let routes =
            parse_slots(vec![range(0, 99, node(b"a", 7)), range(100, 16_383, node(b"", 8))], &asked).unwrap();
        assert_eq!(routes.server(99).unwrap().to_string(), "a:7");
        assert_eq!(routes.server(100).unwrap().to_string(), "asked:8");
        let gap = parse_slots(vec![range(0, 99, node(b"a", 7))], &asked).unwrap();
        assert_eq!(gap.server(100), None);
        for broken in [vec![], vec![Value::Int(1)], vec![range(0, 70_000, node(b"a", 7))]] {
            assert!(parse_slots(broken, &asked).is_err());
        }
    }
}
