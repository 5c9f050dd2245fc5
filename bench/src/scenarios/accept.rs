//! Accepted orders per second without workers, over REST and over GraphQL, alternating.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::load::{self, Target};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results, round};
use crate::servers::{Lab, Servers, Tuning};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Numbers of connections, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    connections: Vec<usize>,
    /// Duration of each run
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s")]
    duration: Duration,
    /// Runs of each interface; the result is their total
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    accepted: Vec<Accepted>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    connections: usize,
    rest_per_s: f64,
    /// Of the last run.
    rest_ms: Quantiles,
    graphql_per_s: f64,
    graphql_ms: Quantiles,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::start_without_processor(lab, &settings.tuning)?;
    let Settings { duration, rounds, .. } = *settings;
    let rounds = rounds.max(1);
    let targets = [Target::create(servers.http), Target::create_by_graphql(servers.http)];
    let mut acknowledged = 0;
    let mut accepted = Vec::new();
    for connections in &settings.connections {
        let mut counts = [0, 0];
        let mut latest = [None, None];
        // The first round is the warm-up.
        for round in 0..=rounds {
            for (n, target) in targets.iter().enumerate() {
                let totals = load::run_closed_loop(target, *connections, duration)?;
                acknowledged += totals.accepted_latency.count();
                if round > 0 {
                    counts[n] += totals.accepted;
                    latest[n] = Some(Quantiles::from(&totals.accepted_latency));
                }
            }
        }
        let seconds = duration.as_secs_f64() * rounds as f64;
        let [rest, graphql] = counts.map(|count: u64| round(count as f64 / seconds));
        if let [Some(rest_ms), Some(graphql_ms)] = latest {
            accepted.push(Accepted {
                connections: *connections,
                rest_per_s: rest,
                rest_ms,
                graphql_per_s: graphql,
                graphql_ms,
            });
        }
    }
    // GraphQL responds with 200 also to a rejection, so the rows are compared.
    let (stored, _) = servers.count_orders()?;
    if stored < acknowledged {
        return Err(io::Error::other(format!(
            "{acknowledged} orders were accepted, and {stored} are stored"
        )));
    }
    Ok(Report { accepted })
}

impl Results for Report {
    const SCENARIO: &'static str = "accept";

    fn tables(&self) -> String {
        let mut text = table_head([
            "clients",
            "REST accepted/s",
            "p50, p99 (ms)",
            "GraphQL accepted/s",
            "p50, p99 (ms)",
            "GraphQL of REST",
        ]);
        for Accepted { connections, rest_per_s, rest_ms, graphql_per_s, graphql_ms } in &self.accepted {
            let _ = writeln!(
                text,
                "| {connections} | {rest_per_s:.0} | {} | {graphql_per_s:.0} | {} | {:.2}× |",
                rest_ms.show(),
                graphql_ms.show(),
                graphql_per_s / rest_per_s
            );
        }
        text
    }
}
