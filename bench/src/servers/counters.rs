//! What the servers of a system have done, counted by the kernel and by the servers.

use std::collections::BTreeMap;
use std::io;

use super::database::Database;
use super::process::{Cpu, cpu_seconds, wake_ups};
use super::running::Servers;
use crate::delay_proxy::ResponseDelay;

/// The counters of MariaDB that are reported, beside [`PREPARED`].
const SQL_COUNTERS: [&str; 9] = [
    "Questions",
    "Com_begin",
    "Com_commit",
    "Com_rollback",
    "Com_select",
    "Com_insert",
    "Com_update",
    "Com_delete",
    "Com_set_option",
];
/// Requests that are no statements and are not among the questions.
const PREPARED: &str = "Com_stmt_prepare";
/// Pings, and resets of connections.
const ADMINISTRATIVE: &str = "Com_admin_commands";

/// Readings of all counters, or the difference of two.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counters {
    /// CPU seconds of each process.
    pub(crate) cpu: Cpu,
    /// Voluntary context switches of each process: how often a thread waited and was woken.
    pub(crate) wake_ups: BTreeMap<String, f64>,
    /// Counters of MariaDB, and `requests`, the sum of those of statements and of requests that are no statements.
    pub(crate) sql: BTreeMap<String, f64>,
    pub(crate) redis_commands: f64,
    /// Requests through proxies, by the scheme of the server's URL: round trips. Empty without proxies.
    pub(crate) round_trips: BTreeMap<String, f64>,
}

impl Counters {
    /// Reads all counters. `database` is a connection that asks nothing else between two readings.
    pub(crate) fn read(servers: &Servers, database: Option<&mut Database>) -> io::Result<Self> {
        let round_trips = servers.response_delay.as_ref().map(ResponseDelay::requests).unwrap_or_default();
        let redis_commands = redis_commands(&servers.redis_url)?;
        let mut read = Self { redis_commands, round_trips, ..Self::default() };
        if let Some(database) = database {
            let names = [&SQL_COUNTERS[..], &[PREPARED, ADMINISTRATIVE]].concat().join("','");
            let sql = format!(
                "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN ('{names}')"
            );
            read.sql = database.query_numbers(&sql)?.into_iter().map(sql_counter).collect();
            let requests =
                ["Questions", PREPARED, ADMINISTRATIVE].iter().filter_map(|name| read.sql.get(*name));
            let requests = requests.sum();
            read.sql.insert("requests".to_owned(), requests);
        }
        for (name, pid) in servers.pids() {
            read.cpu.insert(name.to_owned(), cpu_seconds(pid)?);
            read.wake_ups.insert(name.to_owned(), wake_ups(pid)? as f64);
        }
        Ok(read)
    }

    /// Returns what was counted since an earlier reading.
    pub(crate) fn since(&self, before: &Self) -> Self {
        self.combine(before, |after, before| after - before)
    }

    /// Returns these counts without `share` of those of an idle period. CPU time is not changed.
    pub(crate) fn without_idle(&self, idle: &Self, share: f64) -> Self {
        let rest = self.combine(idle, |count, idle| (count - idle * share).max(0.0));
        Self { cpu: self.cpu.clone(), ..rest }
    }

    /// Returns each count divided by a number.
    pub(crate) fn per(&self, number: f64) -> Self {
        self.combine(&Self::default(), |count, _| count / number)
    }

    fn combine(&self, other: &Self, with: impl Fn(f64, f64) -> f64) -> Self {
        let each = |ours: &BTreeMap<String, f64>, others: &BTreeMap<String, f64>| {
            let other = |name: &String| others.get(name).copied().unwrap_or_default();
            ours.iter().map(|(name, count)| (name.clone(), with(*count, other(name)))).collect()
        };
        Self {
            cpu: each(&self.cpu, &other.cpu),
            wake_ups: each(&self.wake_ups, &other.wake_ups),
            sql: each(&self.sql, &other.sql),
            redis_commands: with(self.redis_commands, other.redis_commands),
            round_trips: each(&self.round_trips, &other.round_trips),
        }
    }
}

/// MariaDB has names in capitals here.
fn sql_counter((name, count): (String, u64)) -> (String, f64) {
    let known = [&SQL_COUNTERS[..], &[PREPARED, ADMINISTRATIVE]].concat();
    let name = known.into_iter().find(|known| known.eq_ignore_ascii_case(&name)).map_or(name, str::to_owned);
    (name, count as f64)
}

fn redis_commands(url: &str) -> io::Result<f64> {
    let info = || -> redis::RedisResult<String> {
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("INFO").arg("stats").query(&mut connection)
    };
    let info = info().map_err(io::Error::other)?;
    commands_in(&info).ok_or_else(|| io::Error::other("INFO of Redis has no number of commands"))
}

fn commands_in(info: &str) -> Option<f64> {
    let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(count: f64) -> Counters {
        let named = |name: &str| BTreeMap::from([(name.to_owned(), count)]);
        Counters {
            cpu: named("gateway"),
            wake_ups: named("gateway"),
            sql: named("Questions"),
            redis_commands: count,
            round_trips: named("mysql"),
        }
    }

    #[test]
    fn idle_counts_are_subtracted_except_cpu() {
        let counted = counters(130.0).since(&counters(30.0));
        assert_eq!(counted, counters(100.0));
        // The idle period was half as long.
        let rest = counted.without_idle(&counters(10.0), 2.0);
        assert_eq!(
            (rest.sql["Questions"], rest.redis_commands, rest.wake_ups["gateway"]),
            (80.0, 80.0, 80.0)
        );
        assert_eq!(rest.cpu["gateway"], 100.0);
        assert_eq!(counters(5.0).without_idle(&counters(10.0), 1.0).redis_commands, 0.0);
        assert_eq!(counted.per(50.0), counters(2.0));
    }

    #[test]
    fn commands_are_read_from_info() {
        assert_eq!(commands_in("# Stats\r\ntotal_commands_processed:42\r\nx:1\r\n"), Some(42.0));
        assert_eq!(commands_in("# Stats\r\n"), None);
        assert_eq!(sql_counter(("COM_COMMIT".to_owned(), 3)), ("Com_commit".to_owned(), 3.0));
    }
}
