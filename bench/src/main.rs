//! Measures the product from the outside: real processes, real servers, real sockets.
//!
//! `cargo run --release -p bench -- overload` starts a MariaDB, a Redis, a gateway and a processor, loads them and
//! prints a report. A scenario is a file in `scenarios`. [`servers`] starts the measured system, [`load`] sends
//! requests, [`report`] renders the results.

mod cli;
mod commit_proxy;
mod completions;
mod delay_proxy;
mod latency;
mod limits;
mod load;
mod markdown;
mod report;
mod scenarios;
mod servers;
mod simple_http;
mod subscribers;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    if let Err(error) = cli::check_old_flags(std::env::args().skip(1)) {
        return fail(&error, ExitCode::from(2));
    }
    let report = cli::Cli::parse().scenario.run();
    match report.and_then(|report| io::stdout().lock().write_all(report.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), ExitCode::FAILURE),
    }
}

fn fail(error: &str, code: ExitCode) -> ExitCode {
    // stderr may be closed.
    let _ = writeln!(io::stderr(), "bench: {error}");
    code
}
