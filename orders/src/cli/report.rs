//! clap's errors in our form: one line that names the setting, one line that helps.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory};

use super::{Cli, setting_name};
use crate::error::Error;
use crate::values::Wrong;

/// Settings whose values may hold a password and are not repeated in messages.
const CONFIDENTIAL: [&str; 4] = ["database-url", "redis-url", "webhook-url", "webhook-secret"];

pub(super) fn explain(error: &clap::Error) -> Error {
    let text = |kind| context(error, kind);
    let setting = text(ContextKind::InvalidArg).map(|shown| find(&shown));
    let name = match (&setting, text(ContextKind::InvalidArg)) {
        (Some(Some(arg)), _) => setting_name(arg),
        (_, shown) => shown.unwrap_or_default(),
    };
    let confidential = setting
        .flatten()
        .and_then(|arg| arg.get_long().map(str::to_owned))
        .is_some_and(|long| CONFIDENTIAL.contains(&long.as_str()) || long == "gateway-url");
    let value = match text(ContextKind::InvalidValue) {
        Some(value) if !confidential => format!(" is {value:?}"),
        _ => " cannot be used".to_owned(),
    };
    match error.kind() {
        ErrorKind::ValueValidation => {
            let source = error.source();
            let problem = source.map(ToString::to_string).unwrap_or_default();
            let wrong = Error::usage(format!("{name}{value}: {problem}"));
            match source.and_then(|source| source.downcast_ref::<Wrong>()) {
                Some(Wrong { hint, .. }) => wrong.hint(hint),
                None => wrong,
            }
        }
        ErrorKind::InvalidValue => {
            let known = text(ContextKind::ValidValue).unwrap_or_default();
            match text(ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) {
                true => Error::usage(format!("{name} needs a value")).hint(match known.is_empty() {
                    true => "write the value after the flag: --flag VALUE".to_owned(),
                    false => format!("use one of: {known}"),
                }),
                false => Error::usage(format!("{name}{value}: it is not a valid choice"))
                    .hint(format!("use one of: {known}")),
            }
        }
        ErrorKind::UnknownArgument => {
            let elsewhere =
                text(ContextKind::InvalidArg).map(|shown| commands_with(&shown)).unwrap_or_default();
            let hint = match text(ContextKind::SuggestedArg) {
                _ if !elsewhere.is_empty() => {
                    format!("it belongs to another command: {}", elsewhere.join(", "))
                }
                Some(similar) => format!("did you mean {similar}? `orders --help` lists the commands"),
                None => "`orders <COMMAND> --help` lists the settings of a command".to_owned(),
            };
            Error::usage(format!("unknown argument {}", text(ContextKind::InvalidArg).unwrap_or_default()))
                .hint(hint)
        }
        ErrorKind::InvalidSubcommand => {
            let given = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let hint = match text(ContextKind::SuggestedSubcommand) {
                Some(similar) => format!("did you mean {similar}?"),
                None => "`orders --help` lists the commands".to_owned(),
            };
            Error::usage(format!("unknown command {given:?}")).hint(hint)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let (name, known) = incomplete(&error.render().to_string());
            Error::usage(format!("{name} needs a subcommand")).hint(format!("use one of: {known}"))
        }
        ErrorKind::ArgumentConflict => Error::usage(format!("{name} is given more than once"))
            .hint("give it once; a flag wins over its variable"),
        ErrorKind::InvalidUtf8 => {
            Error::usage("a setting is not valid UTF-8").hint("check the flags and the ORDERS_* variables")
        }
        _ => {
            let first = error.render().to_string();
            let first = first.lines().next().unwrap_or_default();
            Error::usage(first.strip_prefix("error: ").unwrap_or(first)).hint("see `orders --help`")
        }
    }
}

/// The command whose help this is, such as `orders queue`, and the commands below it.
fn incomplete(help: &str) -> (String, String) {
    let usage = help.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).unwrap_or_default();
    let words: Vec<&str> = usage.split(' ').take_while(|word| !word.starts_with(['<', '['])).collect();
    let root = Cli::command();
    let command = words.iter().skip(1).try_fold(&root, |command, word| command.find_subcommand(word));
    let below = command.unwrap_or(&root).get_subcommands().map(clap::Command::get_name);
    (words.join(" "), below.collect::<Vec<_>>().join(", "))
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        other => Some(other.to_string()),
    }
}

/// The commands that have the flag that clap shows as `--http-addr <ADDR>`, such as `orders gateway`.
fn commands_with(shown: &str) -> Vec<String> {
    fn within(command: &clap::Command, path: &str, long: &str, found: &mut Vec<String>) {
        if command.get_arguments().any(|arg| arg.get_long() == Some(long)) {
            found.push(format!("`{path}`"));
        }
        for command in command.get_subcommands() {
            within(command, &format!("{path} {}", command.get_name()), long, found);
        }
    }
    let mut found = Vec::new();
    if let Some(long) = shown.split([' ', '=']).next().and_then(|word| word.strip_prefix("--")) {
        within(&Cli::command(), "orders", long, &mut found);
    }
    found
}

/// The setting that clap shows as `--http-addr <ADDR>`, whichever command it belongs to.
fn find(shown: &str) -> Option<Arg> {
    let long = shown.split([' ', '=']).next()?.strip_prefix("--")?;
    fn within(command: &clap::Command, long: &str) -> Option<Arg> {
        let own = command.get_arguments().find(|arg| arg.get_long() == Some(long)).cloned();
        own.or_else(|| command.get_subcommands().find_map(|command| within(command, long)))
    }
    within(&Cli::command(), long)
}
