//! Compares `cli.md`, `settings.md` and `metrics.md` in `docs/reference` with the code. With `ORDERS_WRITE_REFERENCE=1`
//! the tests write the files instead.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};

use super::Cli;
use crate::error::Kind;

const SETTINGS_HEAD: &str = "# Settings

This page is generated. Rewrite it with `ORDERS_WRITE_REFERENCE=1 cargo test -p orders --bin orders reference`.

Each setting is a flag, an environment variable and a key of [the file of settings](../operate/command-line.md#settings-in-a-file),
in this order of precedence. An empty variable counts as unset. A duration has a
unit: `250ms`, `30s`, `10m`, `1h30m`, `7d`. A size has a unit or is in bytes: `256KiB`, `8MiB`, `1GiB`. `orders config
COMMAND` prints the effective values and their sources. An invalid value ends the program with exit code 2 and an error that
names the setting; so does a setting under [its old name](../contribute/names.md).

`RUST_LOG` sets the log filter, such as `info` or `warn,gateway=debug`. `NO_COLOR` turns the colours of the log and of commands off.
`ORDERS_CONFIG` is the path of the file of [contexts](../operate/contexts.md).
";

const METRICS_HEAD: &str = "# Metrics

This page is generated. Rewrite it with `ORDERS_WRITE_REFERENCE=1 cargo test -p orders --bin orders reference`.

Gateways serve `/metrics` on the HTTP port, processors and e-mail on `--metrics-addr`, both in Prometheus' text format.
[names.md](../contribute/names.md) lists the labels and the old names.

Every series exists with 0 from the start, so that a rate contains the first event. The exceptions:

- `orders_failed_total` has `error`, `lease_expired` and `other` from the start. Handlers choose the other error classes.
- `orders_http_requests_total` has, for each route of the REST API and GraphQL, the status of a success, 500 and 503. Other
  statuses and the routes of pages appear with their first response.
- The metrics of TLS files and of a token issuer exist where these are configured.
";

const COMMANDS_HEAD: &str = "# Commands

This page is generated. Rewrite it with `ORDERS_WRITE_REFERENCE=1 cargo test -p orders --bin orders reference`.

`orders` is one program with a command for each role and task; without a command it runs `orders dev`. `--help` of each
command describes its flags in the terminal. Every command has `--color auto|always|never`.
[The command line](../operate/command-line.md) is the guide.

| exit code | meaning |
|---|---|
| 0 | success |
";

fn commands_page() -> String {
    let root = Cli::command();
    let mut page = COMMANDS_HEAD.to_owned();
    for (kind, meaning) in Kind::ALL {
        let _ = writeln!(page, "| {} | {meaning} |", kind.code());
    }
    for command in root.get_subcommands() {
        describe(&mut page, command, "orders");
    }
    page
}

/// One command, then the commands below it.
fn describe(page: &mut String, command: &Command, parent: &str) {
    let path = format!("{parent} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n## {path}\n\n{about}.\n");
    let (settings, own): (Vec<_>, Vec<_>) =
        command.get_arguments().filter(|arg| !arg.is_hide_set()).partition(|arg| arg.get_env().is_some());
    if !own.is_empty() {
        page.push_str("\n| argument | default | |\n|---|---|---|\n");
        for arg in own {
            let (help, default) = help_and_default(arg);
            let _ = writeln!(page, "| `{}` | {default} | {help} |", written(arg));
        }
    }
    if !settings.is_empty() {
        let mut names: Vec<_> = settings.iter().filter_map(|arg| arg.get_long()).collect();
        names.sort_unstable();
        let names: Vec<_> = names.iter().map(|name| format!("`--{name}`")).collect();
        let _ = write!(page, "\n[Settings](settings.md): {}.\n", names.join(", "));
    }
    for below in command.get_subcommands().filter(|_| command.get_name() != "config") {
        describe(page, below, &path);
    }
}

/// An argument as it is written on the command line.
fn written(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default();
    let value = values.first().map(|name| format!("<{name}>")).unwrap_or_default();
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None if arg.get_num_args().is_some_and(|number| number.max_values() > 1) => format!("{value}..."),
        None => value,
    }
}

/// The commands that have settings with variables, in the order of `--help`.
fn settings_page() -> String {
    let root = Cli::command();
    let mut page = SETTINGS_HEAD.to_owned();
    let mut section = None;
    for arg in unique_settings(&root) {
        let heading = arg.get_help_heading().unwrap_or("Options");
        if section != Some(heading) {
            section = Some(heading);
            let _ = write!(
                page,
                "\n## {heading}\n\n| flag | variable | default | commands | |\n|---|---|---|---|---|\n"
            );
        }
        let long = arg.get_long().unwrap_or_default();
        let variable = arg.get_env().map(|name| name.to_string_lossy()).unwrap_or_default();
        let (help, default) = help_and_default(arg);
        let commands = commands_with(&root, long).join(", ");
        let _ = writeln!(page, "| `--{long}` | `{variable}` | {default} | {commands} | {help} |");
    }
    page
}

/// Every setting once, grouped by heading.
fn unique_settings(root: &Command) -> Vec<&Arg> {
    let mut found: Vec<&Arg> = Vec::new();
    let mut pending = vec![root];
    while let Some(command) = pending.pop() {
        for arg in command.get_arguments().filter(|arg| arg.get_env().is_some()) {
            if !found.iter().any(|known| known.get_long() == arg.get_long()) {
                found.push(arg);
            }
        }
        pending.extend(command.get_subcommands());
    }
    found.sort_by_key(|arg| (arg.get_help_heading().unwrap_or_default(), arg.get_long()));
    found
}

/// The help without `[default: …]`, and the default.
fn help_and_default(arg: &Arg) -> (String, String) {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let described =
        help.split_once(" [default: ").map(|(help, default)| (help.to_owned(), default.to_owned()));
    match described {
        Some((help, default)) => (help, default.trim_end_matches(']').to_owned()),
        None => {
            let values =
                arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy()));
            (help, values.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The commands that have this flag with its variable, without `config`, which has all.
fn commands_with(root: &Command, long: &str) -> Vec<String> {
    fn within(command: &Command, path: &str, long: &str, found: &mut Vec<String>) {
        let is_setting = |arg: &Arg| arg.get_long() == Some(long) && arg.get_env().is_some();
        if !path.is_empty() && command.get_arguments().any(is_setting) {
            found.push(path.to_owned());
        }
        for below in command.get_subcommands().filter(|command| command.get_name() != "config") {
            within(below, format!("{path} {}", below.get_name()).trim(), long, found);
        }
    }
    let mut found = Vec::new();
    within(root, "", long, &mut found);
    found
}

fn metrics_page() -> String {
    let mut page = METRICS_HEAD.to_owned();
    let sections = [
        ("Gateway", gateway::metrics::declared().collect::<Vec<_>>()),
        ("Processor", processor::declared_metrics().collect()),
        ("Subscribers", subscriber::declared_metrics().collect()),
        ("E-mail", subscriber_email::declared_metrics().collect()),
    ];
    for (section, metrics) in sections {
        let _ = write!(page, "\n## {section}\n\n| metric | type | |\n|---|---|---|\n");
        for (name, kind, help) in metrics {
            let _ = writeln!(page, "| `{name}` | {kind} | {help} |");
        }
    }
    page
}

fn compare(file: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(file);
    if std::env::var_os("ORDERS_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/reference/{file} is stale; its first paragraph states how to rewrite it");
}

#[test]
fn the_reference_describes_every_command() {
    compare("cli.md", &commands_page());
}

#[test]
fn the_reference_lists_every_setting() {
    compare("settings.md", &settings_page());
}

#[test]
fn the_reference_lists_every_metric() {
    compare("metrics.md", &metrics_page());
}
