//! How many orders are accepted while no worker takes any, over REST and over GraphQL in turns.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::load::{self, Target};
use crate::report::{Machine, Quantiles, round};
use crate::servers::{Lab, Servers, Tuning};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Connections; several with commas
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    connections: Vec<usize>,
    /// Seconds of each turn
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    seconds: u64,
    /// Turns of each interface; the result is all of them together
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    accepted: Vec<Accepted>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    connections: usize,
    rest_per_s: f64,
    /// Of the last turn.
    rest_ms: Quantiles,
    graphql_per_s: f64,
    graphql_ms: Quantiles,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::without_processor(lab, &settings.tuning)?;
    let lasting = Duration::from_secs(settings.seconds);
    let targets = [Target::create(servers.http), Target::create_by_graphql(servers.http)];
    let mut answered = 0;
    let mut accepted = Vec::new();
    for connections in &settings.connections {
        let mut counts = [0, 0];
        let mut latest = [None, None];
        // The first round is the warm-up.
        for round in 0..=settings.rounds.max(1) {
            for (n, target) in targets.iter().enumerate() {
                let tally = load::closed(target, *connections, lasting)?;
                answered += tally.accepted_latency.count();
                if round > 0 {
                    counts[n] += tally.accepted;
                    latest[n] = Some(Quantiles::from(&tally.accepted_latency));
                }
            }
        }
        let seconds = lasting.as_secs_f64() * settings.rounds.max(1) as f64;
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
    // GraphQL answers 200 to everything, so the rows tell whether orders were accepted.
    let (stored, _) = servers.count_orders()?;
    if stored < answered {
        return Err(io::Error::other(format!("{answered} orders were accepted, and {stored} are there")));
    }
    Ok(Report { scenario: "accept", machine: Machine::here(), accepted })
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| clients | REST accepted/s | p50, p99 (ms) | GraphQL accepted/s | p50, p99 (ms) | GraphQL of REST |\n|---|---|---|---|---|---|\n",
        );
        for Accepted { connections, rest_per_s, rest_ms, graphql_per_s, graphql_ms } in &self.accepted {
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "| {connections} | {rest_per_s:.0} | {} | {graphql_per_s:.0} | {} | {:.2}× |",
                rest_ms.show(),
                graphql_ms.show(),
                graphql_per_s / rest_per_s
            );
        }
        let _ = writeln!(text, "\n{}", self.machine.show());
        text
    }
}
