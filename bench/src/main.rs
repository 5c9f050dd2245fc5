//! Measures the product from the outside: real processes, real servers, real sockets.
//!
//! `cargo run --release -p bench -- overload` starts a MariaDB, a Redis, a gateway and a processor of
//! its own, loads them and prints what came of it. A scenario is a file in `scenarios`; [`servers`]
//! starts what is measured, [`load`] sends requests, [`report`] holds the figures and shows them.

mod histogram;
mod load;
mod plain;
mod report;
mod scenarios;
mod servers;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

/// Measures the order processing system.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Many times the capacity for a while: what is accepted meanwhile, and what afterwards
    Overload(WithCommon<scenarios::overload::Settings>),
    /// Many subscriptions: memory of each, the way of a change to its subscriber, and what is left of them
    Subscriptions(WithCommon<scenarios::subscriptions::Settings>),
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
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl<T: Args> WithCommon<T> {
    /// Measures, and shows the report in the form that is wanted.
    fn run<R: Serialize>(
        &self,
        measure: fn(&Path, &T) -> io::Result<R>,
        table: fn(&R) -> String,
    ) -> io::Result<String> {
        let report = measure(&self.common.orders()?, &self.own)?;
        Ok(if self.common.json { report::json(&report) } else { table(&report) })
    }
}

impl Common {
    fn orders(&self) -> io::Result<PathBuf> {
        let path = match &self.orders {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("orders"),
        };
        if !path.is_file() {
            let hint = "build it with `cargo build --release -p orders`, or name it with --orders";
            return Err(io::Error::other(format!("{} is not there: {hint}", path.display())));
        }
        Ok(path)
    }
}

fn main() -> ExitCode {
    let Cli { scenario } = Cli::parse();
    let outcome = match scenario {
        Scenario::Overload(with) => with.run(scenarios::overload::run, report::Report::table),
        Scenario::Subscriptions(with) => {
            with.run(scenarios::subscriptions::run, scenarios::subscriptions::Report::table)
        }
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
