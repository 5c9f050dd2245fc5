//! From the words of the command line to [`Cli`].

use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, ValueEnum};

use super::{Cli, Switch, renamed, report};
use crate::console;
use crate::error::Error;

/// What the command line and the environment ask for.
pub(crate) enum Parsed {
    /// A command with its settings, and the same in clap's form, which knows where each came from.
    Run(Box<Cli>, ArgMatches),
    /// Help or the version; it has been printed.
    Printed,
}

/// Parses the command line (with the program's name first) and the environment.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    renamed::check_flags(&arguments)?;
    let arguments = command_first(arguments);
    let command = forgiving(Cli::command());
    let parsed = command
        .try_get_matches_from(arguments)
        .and_then(|matches| Ok((Box::new(Cli::from_arg_matches(&matches)?), matches)));
    match parsed {
        Ok((cli, matches)) => {
            let command = Cli::command();
            let command = innermost(&command, &matches);
            let has_setting = |long: &str| command.get_arguments().any(|arg| arg.get_long() == Some(long));
            renamed::check_variables(has_setting, |name| std::env::var_os(name))?;
            Ok(Parsed::Run(cli, matches))
        }
        Err(asked) if !asked.use_stderr() => {
            console::print(&asked.render().to_string())?;
            Ok(Parsed::Printed)
        }
        Err(error) => Err(report::explain(&error)),
    }
}

/// The command that was chosen, such as `pause` of `orders queue pause`.
fn innermost<'a>(command: &'a clap::Command, matches: &ArgMatches) -> &'a clap::Command {
    let chosen = matches.subcommand().and_then(|(name, below)| Some((command.find_subcommand(name)?, below)));
    chosen.map_or(command, |(command, below)| innermost(command, below))
}

/// A setting as people know it: `--http-addr (ORDERS_HTTP_ADDR)`.
pub(crate) fn setting_name(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_env()) {
        (Some(long), Some(env)) => format!("--{long} ({})", env.to_string_lossy()),
        (Some(long), None) => format!("--{long}"),
        (None, _) => format!("<{}>", arg.get_id()),
    }
}

/// Puts the command before the settings, and `dev` where there is none, so that
/// `orders --http-addr :0 dev`, `orders dev --http-addr :0` and `orders --http-addr :0` are the same.
fn command_first(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = arguments.get(at).map(|word| word.to_string_lossy().into_owned()) {
        match word.as_str() {
            "--help" | "-h" | "--version" | "-V" => return arguments,
            "--" => break,
            // Every other flag has a value, in the same word or in the next one; a switch may be without.
            flag if flag.starts_with('-') => {
                let next = arguments.get(at + 1).and_then(|next| next.to_str());
                let alone = is_switch(flag) && next.is_none_or(|next| Switch::from_str(next, false).is_err());
                at += if flag.contains('=') || alone { 1 } else { 2 };
            }
            _ => {
                let command = arguments.remove(at);
                arguments.insert(1, command);
                return arguments;
            }
        }
    }
    arguments.insert(arguments.len().min(1), "dev".into());
    arguments
}

/// Whether the flag means something without a value.
fn is_switch(flag: &str) -> bool {
    let command = Cli::command();
    let mut arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let found =
        arguments.find(|arg| arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long)));
    found.and_then(Arg::get_num_args).is_some_and(|count| count.min_values() == 0 && count.max_values() == 1)
}

/// An empty variable is an unset one: compose files pass `REDIS_URL=` for what nobody has set. And a
/// negative number is a wrong value, not an unknown flag.
fn forgiving(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
            true => arg.env(Resettable::Reset),
            false => arg,
        })
        .mut_args(|arg| match arg.get_env().is_some() {
            true => arg.allow_negative_numbers(true),
            false => arg,
        })
        .mut_subcommands(forgiving)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_may_come_last_or_be_left_out() {
        for (given, expected) in [
            ("orders", "orders dev"),
            ("orders dev", "orders dev"),
            ("orders --http-addr x", "orders dev --http-addr x"),
            ("orders --http-addr=x", "orders dev --http-addr=x"),
            (
                "orders --http-addr x gateway --shutdown-timeout 1s",
                "orders gateway --http-addr x --shutdown-timeout 1s",
            ),
            ("orders --http-addr=x processor", "orders processor --http-addr=x"),
            ("orders config gateway", "orders config gateway"),
            ("orders --allow-tokenless-reports gateway", "orders gateway --allow-tokenless-reports"),
            ("orders --allow-tokenless-reports off gateway", "orders gateway --allow-tokenless-reports off"),
            ("orders --help", "orders --help"),
            ("orders -V", "orders -V"),
            ("orders --", "orders dev --"),
        ] {
            let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(command_first(words(given)), words(expected), "{given}");
        }
    }
}
