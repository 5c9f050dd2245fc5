//! One module for each command.

mod api;
mod audit;
mod backup;
mod config;
mod context;
mod customer;
mod dead_letters;
mod demo;
mod dev;
mod doctor;
mod email;
mod gateway;
mod gateway_start;
mod health;
mod health_port;
mod http_client;
mod keys;
mod migrate;
mod orders;
mod processor;
mod queue;
mod redrive_wait;
mod repair;
mod signals;
mod sse;
mod target;
mod task;
mod tenants;
mod tools;
mod webhook_recovery;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use ::gateway::service::Setting;
use clap::ArgMatches;
use telemetry::trace::{self, TraceConfig};

use crate::cli::{
    Cli, Command, Configured, EmailRoleArgs, FileSettings, ProcessArgs, SecretInFlag, secrets_in_flags,
};
use crate::console;
use crate::error::Error;
use crate::log::{self, LogFormat};
use crate::output::set_color;

/// Maximum time that threads in a system call can delay the end of the process.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum time for the export of the last spans.
const TRACES_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) fn run(cli: Cli, matches: &ArgMatches, file: &FileSettings) -> Result<(), Error> {
    let given = Given { matches, file };
    set_color(cli.color);
    match cli.command {
        Command::Dev(args) => {
            let process = Process::new("orders", &args.process);
            run_server(process, &given, dev::run(args, given.settings(Configured::Dev)))
        }
        Command::Gateway(args) => {
            let process = Process::new("orders-gateway", &args.process).with_half_of_the_threads();
            run_server(process, &given, gateway::run(args, given.settings(Configured::Gateway)))
        }
        Command::Processor(args) => {
            let process = Process::new("orders-processor", &args.process).with_half_of_the_threads();
            run_server(process, &given, processor::run(args))
        }
        Command::Email(EmailRoleArgs { command: Some(command), .. }) => email::run_command(&command),
        Command::Email(args) => {
            let process = Process::new("orders-email", &args.process);
            run_server(process, &given, email::run(args))
        }
        Command::Migrate(args) => run_on_runtime(migrate::run(args)),
        Command::Backup(args) => run_on_runtime(backup::run(args)),
        Command::Doctor(args) => run_on_runtime(doctor::run(args)),
        Command::Repair(args) => run_on_runtime(repair::run(args)),
        Command::List(args) => run_on_runtime(orders::list(args)),
        Command::Get(args) => run_on_runtime(orders::get(args)),
        Command::Create(args) => run_on_runtime(orders::create(args)),
        Command::Replace(args) => run_on_runtime(orders::replace(args)),
        Command::Cancel(args) => run_on_runtime(orders::cancel(args)),
        Command::Metadata(args) => run_on_runtime(orders::metadata(args)),
        Command::Notes(args) => run_on_runtime(orders::notes(args)),
        Command::Watch(args) => run_on_runtime(orders::watch(args)),
        Command::Stats(args) => run_on_runtime(signals::stats(args)),
        Command::Workers(args) => run_on_runtime(signals::workers(args)),
        Command::System(args) => run_on_runtime(signals::system(args)),
        Command::Top(args) => run_on_runtime(signals::top(args)),
        Command::Queue(command) => run_on_runtime(queue::run(command)),
        Command::DeadLetters(command) => run_on_runtime(dead_letters::run(command)),
        Command::Webhooks(command) => run_on_runtime(webhooks::run(command)),
        Command::Keys(command) => run_on_runtime(keys::run(command)),
        Command::Tenants(command) => run_on_runtime(tenants::run(command)),
        Command::Audit(args) => run_on_runtime(audit::run(args)),
        Command::Customer(command) => run_on_runtime(customer::run(command)),
        Command::Health(args) => run_on_runtime(health::run(args)),
        Command::Config(args) => config::run(&args, matches, file),
        Command::Context(command) => context::run(command),
        Command::Demo(args) => run_on_runtime(demo::run(args)),
        Command::Completions(args) => tools::completions(&args),
        Command::Man(args) => tools::man(&args),
        Command::Version(args) => tools::version(&args),
        Command::Schema => console::print(&with_line_break(::gateway::graphql::sdl())),
        Command::Openapi => {
            let json = ::gateway::openapi().to_pretty_json();
            let json = json.map_err(|error| Error::failed(format!("cannot write the document: {error}")))?;
            console::print(&with_line_break(json))
        }
    }
}

/// The settings with their sources.
struct Given<'a> {
    matches: &'a ArgMatches,
    file: &'a FileSettings,
}

impl Given<'_> {
    /// Returns the settings of a gateway, for its operators.
    fn settings(&self, of: Configured) -> Arc<[Setting]> {
        config::of_gateway(of, self.matches, self.file)
    }
}

/// How a process that runs until a signal comes reports about itself.
struct Process {
    log: LogFormat,
    traces: Option<TraceConfig>,
    /// The threads of the runtime; `None` is the default, one for each core.
    threads: Option<usize>,
}

impl Process {
    fn new(service: &'static str, args: &ProcessArgs) -> Self {
        Self { log: args.log.log_format, traces: args.traces.config(service), threads: None }
    }

    /// Uses a thread for every second core, unless the variable of tokio sets their number.
    ///
    /// The other half of the work of a gateway, HTTP, has separate threads, and a processor mostly waits. A thread that takes
    /// an event wakes an idle one, which looks for work and mostly finds none: at everyday rates these were a fifth of the
    /// wake-ups of an order.
    fn with_half_of_the_threads(self) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let is_set = std::env::var_os("TOKIO_WORKER_THREADS").is_some();
        Self { threads: (!is_set).then_some(cores.div_ceil(2)), ..self }
    }
}

/// Starts the log and the traces of a process that runs until a signal comes, and runs it.
fn run_server(
    process: Process,
    given: &Given<'_>,
    command: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    log::install(process.log)?;
    for SecretInFlag { flag, variables } in
        secrets_in_flags(given.matches, |id| given.file.source(id).is_some())
    {
        tracing::warn!(
            setting = flag,
            "other users of the machine can read the secret in this flag: use {variables}"
        );
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = process.threads {
        runtime.worker_threads(threads);
    }
    run_on(runtime.enable_all(), async {
        let traces = process.traces.map(|config| trace::install(&config)).transpose();
        let traces = traces.map_err(|error| Error::usage(error.to_string()))?;
        let result = command.await;
        if let Some(traces) = traces {
            let ended = tokio::task::spawn_blocking(|| traces.shutdown(TRACES_SHUTDOWN_TIMEOUT));
            // It only logs.
            let _ = ended.await;
        }
        result
    })
}

fn run_on_runtime(command: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    run_on(tokio::runtime::Builder::new_multi_thread().enable_all(), command)
}

fn run_on(
    runtime: &mut tokio::runtime::Builder,
    command: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let runtime =
        runtime.build().map_err(|error| Error::failed(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
    result
}

fn with_line_break(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
