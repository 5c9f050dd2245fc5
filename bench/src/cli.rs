//! The command line: one subcommand for each scenario.

use std::io;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::limits;
use crate::report::{Report, Results};
use crate::scenarios::{
    accept, backlog, compare, events, everyday, fan_out, limits as limits_scenario, listing, mixed, overload,
    pipeline, push, scale, subscriptions,
};
use crate::servers::Lab;

/// Measures the order processing system.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// One system, from the request to the completed order
    Pipeline(WithCommon<pipeline::Settings>),
    /// The pipelines of several systems, alternating, and their ratios
    Compare(WithCommon<compare::Settings>),
    /// The limits of the parts that the product is built on, and the product's share of them
    Limits(WithCommon<limits_scenario::Settings>),
    /// Accepted orders per second, over REST and over GraphQL
    Accept(WithCommon<accept::Settings>),
    /// Completed orders per second of a backlog, over the stream and over single reports
    Backlog(WithCommon<backlog::Settings>),
    /// Latency from a change to its subscriber
    Push(WithCommon<push::Settings>),
    /// Pages of a list with few and with many orders
    Listing(WithCommon<listing::Settings>),
    /// A multiple of the capacity: accepted orders during the overload and after it
    Overload(WithCommon<overload::Settings>),
    /// Many subscriptions: memory of each, latency of a change, and memory after they ended
    Subscriptions(WithCommon<subscriptions::Settings>),
    /// One change to 1 to 10,000 subscribers of its order, and the cost of subscriptions of other orders
    FanOut(WithCommon<fan_out::Settings>),
    /// Deliveries to one webhook endpoint, and memory while its receiver is down
    Events(WithCommon<events::Settings>),
    /// All kinds of clients at fixed rates: latencies and errors of each, and memory over time
    Mixed(WithCommon<mixed::Settings>),
    /// Few orders per second: latency, CPU, wake-ups, and requests to the database and Redis for each order
    Everyday(WithCommon<everyday::Settings>),
    /// Several gateways: what each further one costs, and a large installation that is computed from the costs
    Scale(WithCommon<scale::Settings>),
    /// Runs the server of a limit
    #[command(hide = true, subcommand)]
    Serve(limits::Role),
}

/// The settings of a scenario and those of all scenarios.
#[derive(Debug, Args)]
pub(crate) struct WithCommon<T: Args> {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    own: T,
}

/// The settings of all scenarios.
#[derive(Debug, Args)]
struct Common {
    /// Program to measure [default: `orders` in the folder of this program]
    #[arg(long, value_name = "FILE")]
    orders: Option<PathBuf>,
    /// Folder of the systems to compare with
    #[arg(long, value_name = "FOLDER", default_value = "bench/peers")]
    peers: PathBuf,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

impl Scenario {
    /// Runs the scenario and returns its report.
    pub(crate) fn run(&self) -> io::Result<String> {
        match self {
            Self::Pipeline(with) => with.report(pipeline::run),
            Self::Compare(with) => with.report(compare::run),
            Self::Limits(with) => with.report(limits_scenario::run),
            Self::Accept(with) => with.report(accept::run),
            Self::Backlog(with) => with.report(backlog::run),
            Self::Push(with) => with.report(push::run),
            Self::Listing(with) => with.report(listing::run),
            Self::Overload(with) => with.report(overload::run),
            Self::Subscriptions(with) => with.report(subscriptions::run),
            Self::FanOut(with) => with.report(fan_out::run),
            Self::Events(with) => with.report(events::run),
            Self::Mixed(with) => with.report(mixed::run),
            Self::Everyday(with) => with.report(everyday::run),
            Self::Scale(with) => with.report(scale::run),
            Self::Serve(role) => limits::serve(role).map(|()| String::new()),
        }
    }
}

impl<T: Args> WithCommon<T> {
    fn report<R: Results>(&self, measure: fn(&Lab, &T) -> io::Result<R>) -> io::Result<String> {
        let report = Report::new(measure(&self.common.lab()?, &self.own)?);
        Ok(if self.common.json { report.to_json() } else { report.to_markdown() })
    }
}

impl Common {
    fn lab(&self) -> io::Result<Lab> {
        let path = match &self.orders {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("orders"),
        };
        if !path.is_file() {
            let hint = "build it with `cargo build --release -p orders`, or set its path with --orders";
            return Err(io::Error::other(format!("{} does not exist: {hint}", path.display())));
        }
        Ok(Lab::new(path, self.peers.clone()))
    }
}

/// Each old flag, its new name, and an example of its value.
const RENAMED: [(&str, &str, &str); 5] = [
    ("--seconds", "--duration", "6s"),
    ("--warm-up-s", "--warm-up", "2s"),
    ("--limit-s", "--limit-duration", "5s"),
    ("--normal-s", "--peak-duration", "15s"),
    ("--overload-s", "--overload-duration", "60s"),
];

/// Returns an error that states the new name if an argument is an old flag.
pub(crate) fn check_old_flags(arguments: impl IntoIterator<Item = String>) -> Result<(), String> {
    for argument in arguments {
        let flag = argument.split('=').next().unwrap_or_default();
        if let Some((old, new, example)) = RENAMED.into_iter().find(|(old, ..)| *old == flag) {
            return Err(format!("{old} was renamed to {new}: write {new} {example}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn old_flag_is_refused_with_its_new_name() {
        for (old, new, _) in RENAMED {
            for argument in [old.to_owned(), format!("{old}=5")] {
                let error = check_old_flags(["bench".to_owned(), argument]).unwrap_err();
                assert!(error.contains(new), "{error}");
            }
            let mut flags = Cli::command();
            flags.build();
            let has_flag = |name: &str| {
                flags.get_subcommands().any(|command| {
                    command.get_arguments().any(|arg| arg.get_long() == name.strip_prefix("--"))
                })
            };
            assert!(has_flag(new) && !has_flag(old), "{old} {new}");
        }
        assert!(check_old_flags(["--duration".to_owned(), "5s".to_owned()]).is_ok());
    }
}
