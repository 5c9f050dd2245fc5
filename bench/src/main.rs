//! Measures the product from the outside: real processes, real servers, real sockets.
//!
//! `cargo run --release -p bench -- overload` starts a MariaDB, a Redis, a gateway and a processor of
//! its own, loads them and prints what came of it. A scenario is a file in `scenarios`; [`servers`]
//! starts what is measured, [`load`] sends requests, [`report`] holds the figures and shows them.

mod commits;
mod histogram;
mod limits;
mod load;
mod plain;
mod report;
mod scenarios;
mod servers;
mod watchers;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::servers::Lab;

/// Measures the order processing system.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// From the request to the completed order: one system
    Pipeline(WithCommon<scenarios::pipeline::Settings>),
    /// The same for several systems in turns, and their ratios
    Compare(WithCommon<scenarios::compare::Settings>),
    /// What the parts below can do by themselves, and the product's share of it
    Limits(WithCommon<scenarios::limits::Settings>),
    /// How many orders are accepted, over REST and over GraphQL
    Accept(WithCommon<scenarios::accept::Settings>),
    /// How fast a backlog is worked off, over the stream and over single reports
    Backlog(WithCommon<scenarios::backlog::Settings>),
    /// How long a change takes to its subscriber
    Push(WithCommon<scenarios::push::Settings>),
    /// Pages of a list with few and with many orders
    Listing(WithCommon<scenarios::listing::Settings>),
    /// Many times the capacity for a while: what is accepted meanwhile, and what afterwards
    Overload(WithCommon<scenarios::overload::Settings>),
    /// Many subscriptions: memory of each, the way of a change to its subscriber, and what is left of them
    Subscriptions(WithCommon<scenarios::subscriptions::Settings>),
    /// One change to 1 to 10,000 subscribers of its order, and what the subscriptions of other orders cost it
    FanOut(WithCommon<scenarios::fan_out::Settings>),
    /// Clients of every kind at once, at fixed rates: latencies of each, errors, and whether memory stays flat
    Mixed(WithCommon<scenarios::mixed::Settings>),
    /// Is the other side of a limit
    #[command(hide = true, subcommand)]
    Serve(limits::Role),
}

/// The settings of a scenario beside those that all have.
#[derive(Debug, Args)]
struct WithCommon<T: Args> {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    own: T,
}

/// What every scenario can be told.
#[derive(Debug, Args)]
struct Common {
    /// The program to measure [default: `orders` beside this program]
    #[arg(long, value_name = "FILE")]
    orders: Option<PathBuf>,
    /// The folder of the systems to compare with
    #[arg(long, value_name = "FOLDER", default_value = "bench/peers")]
    peers: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl<T: Args> WithCommon<T> {
    /// Measures, and shows the report in the form that is wanted.
    fn run<R: Serialize>(
        &self,
        measure: fn(&Lab, &T) -> io::Result<R>,
        table: fn(&R) -> String,
    ) -> io::Result<String> {
        let report = measure(&self.common.lab()?, &self.own)?;
        Ok(if self.common.json { report::json(&report) } else { table(&report) })
    }
}

impl Common {
    fn lab(&self) -> io::Result<Lab> {
        let path = match &self.orders {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("orders"),
        };
        if !path.is_file() {
            let hint = "build it with `cargo build --release -p orders`, or name it with --orders";
            return Err(io::Error::other(format!("{} is not there: {hint}", path.display())));
        }
        Ok(Lab::new(path, self.peers.clone()))
    }
}

fn main() -> ExitCode {
    let Cli { scenario } = Cli::parse();
    let outcome = match scenario {
        Scenario::Pipeline(with) => with.run(scenarios::pipeline::run, scenarios::pipeline::Report::table),
        Scenario::Compare(with) => with.run(scenarios::compare::run, scenarios::compare::Report::table),
        Scenario::Limits(with) => with.run(scenarios::limits::run, scenarios::limits::Report::table),
        Scenario::Accept(with) => with.run(scenarios::accept::run, scenarios::accept::Report::table),
        Scenario::Backlog(with) => with.run(scenarios::backlog::run, scenarios::backlog::Report::table),
        Scenario::Push(with) => with.run(scenarios::push::run, scenarios::push::Report::table),
        Scenario::Listing(with) => with.run(scenarios::listing::run, scenarios::listing::Report::table),
        Scenario::Serve(role) => limits::serve(&role).map(|()| String::new()),
        Scenario::Overload(with) => with.run(scenarios::overload::run, report::Report::table),
        Scenario::Subscriptions(with) => {
            with.run(scenarios::subscriptions::run, scenarios::subscriptions::Report::table)
        }
        Scenario::FanOut(with) => with.run(scenarios::fan_out::run, scenarios::fan_out::Report::table),
        Scenario::Mixed(with) => with.run(scenarios::mixed::run, scenarios::mixed::Report::table),
    };
    match outcome.and_then(|text| io::stdout().lock().write_all(text.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is gone as well.
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_settings_of_every_scenario_have_names_of_their_own() {
        super::Cli::command().debug_assert();
    }
}
