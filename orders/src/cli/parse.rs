//! Parses the words of the command line into [`Cli`].

use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches};

use super::render_error::render_error;
use super::{Cli, FileSettings, config_file, renamed};
use crate::console;
use crate::error::Error;
use crate::values::is_switch_value;

/// The request of the command line and the environment.
pub(crate) enum Parsed {
    /// A command with its settings, and the same in clap's form, which has the source of each, except of those from
    /// the file of settings.
    Run(Box<Cli>, ArgMatches, FileSettings),
    /// Help or the version, which has been printed.
    Printed,
}

/// Parses the command line (with the program's name first) and the environment.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    renamed::check_flags(&arguments)?;
    let mut arguments = command_first(arguments);
    let file = config_file::apply(&Cli::command(), &mut arguments, |name| std::env::var_os(name))?;
    let command = lenient_args(Cli::command());
    let parsed = command
        .try_get_matches_from(arguments)
        .and_then(|matches| Ok((Box::new(Cli::from_arg_matches(&matches)?), matches)));
    match parsed {
        Ok((cli, matches)) => {
            let command = Cli::command();
            let command = innermost_command(&command, &matches);
            let has_setting = |long: &str| command.get_arguments().any(|arg| arg.get_long() == Some(long));
            renamed::check_variables(has_setting, |name| std::env::var_os(name))?;
            Ok(Parsed::Run(cli, matches, file))
        }
        Err(help) if !help.use_stderr() => {
            console::print(&help.render().to_string())?;
            Ok(Parsed::Printed)
        }
        Err(error) => Err(render_error(&error, &file)),
    }
}

/// Returns the innermost command, such as `pause` of `orders queue pause`.
fn innermost_command<'a>(command: &'a clap::Command, matches: &ArgMatches) -> &'a clap::Command {
    let chosen = matches.subcommand().and_then(|(name, below)| Some((command.find_subcommand(name)?, below)));
    chosen.map_or(command, |(command, below)| innermost_command(command, below))
}

/// Moves the command before the settings, and adds `dev` if there is none.
///
/// `orders --http-addr :0 dev`, `orders dev --http-addr :0` and `orders --http-addr :0` are the same.
fn command_first(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = arguments.get(at).map(|word| word.to_string_lossy().into_owned()) {
        match word.as_str() {
            "--help" | "-h" | "--version" | "-V" => return arguments,
            "--" => break,
            // Every other flag has a value, in the same word or in the next one, except a switch.
            flag if flag.starts_with('-') => {
                let next = arguments.get(at + 1).and_then(|next| next.to_str());
                let has_no_value = is_switch(flag) && !next.is_some_and(is_switch_value);
                at += if flag.contains('=') || has_no_value { 1 } else { 2 };
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

/// Checks whether the value of a flag can be omitted.
fn is_switch(flag: &str) -> bool {
    let command = Cli::command();
    let mut arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let found =
        arguments.find(|arg| arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long)));
    found.and_then(Arg::get_num_args).is_some_and(|count| count.min_values() == 0 && count.max_values() == 1)
}

/// Changes how clap reads two kinds of arguments.
///
/// An empty variable counts as unset, because compose files pass `REDIS_URL=` for an unset one. A negative number is an
/// invalid value and not an unknown flag.
fn lenient_args(command: clap::Command) -> clap::Command {
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
        .mut_subcommands(lenient_args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn command_is_last_or_omitted() {
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
