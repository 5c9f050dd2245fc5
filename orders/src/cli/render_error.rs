//! Renders clap's errors in the form of this program: one line that names the setting, one line with a hint.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory};

use super::{Cli, FileSettings};
use crate::error::Error;
use crate::values::ValueError;

/// Settings whose values can contain a password and are not repeated in messages.
const CONFIDENTIAL: [&str; 6] =
    ["database-url", "redis-url", "gateway-url", "webhook-url", "webhook-secret", "jwt-jwks-url"];

/// Renders an error of clap. A value of the file of settings is named with the file.
pub(super) fn render_error(error: &clap::Error, file: &FileSettings) -> Error {
    let arg = context(error, ContextKind::InvalidArg).as_deref().and_then(find_arg);
    let rendered = render(error);
    match arg.and_then(|arg| file.source(arg.get_id().as_str())) {
        Some(path) => rendered.prefix(&path.display().to_string()),
        None => rendered,
    }
}

fn render(error: &clap::Error) -> Error {
    match error.kind() {
        ErrorKind::ValueValidation => invalid_value(error),
        ErrorKind::InvalidValue => not_a_choice(error),
        ErrorKind::UnknownArgument => unknown_argument(error),
        ErrorKind::InvalidSubcommand => unknown_command(error),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let (name, known) = incomplete_command(&error.render().to_string());
            Error::usage(format!("{name} needs a subcommand")).hint(format!("use one of: {known}"))
        }
        ErrorKind::ArgumentConflict => {
            let name = Subject::of_error(error).name;
            match context(error, ContextKind::PriorArg).as_deref().and_then(find_arg) {
                Some(other) if setting_name(&other) != name => {
                    Error::usage(format!("{} and {name} are both set", setting_name(&other)))
                        .hint("remove one of them")
                }
                _ => Error::usage(format!("{name} is given more than once"))
                    .hint("give it once; a flag wins over its variable"),
            }
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = context(error, ContextKind::InvalidArg).unwrap_or_default();
            Error::usage(format!("a required argument is missing: {missing}"))
                .hint("`orders <COMMAND> --help` lists the arguments of a command")
        }
        ErrorKind::InvalidUtf8 => {
            Error::usage("a setting is not valid UTF-8").hint("check the flags and the ORDERS_* variables")
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Error::usage(first.strip_prefix("error: ").unwrap_or(first)).hint("see `orders --help`")
        }
    }
}

/// The setting that an error is about.
struct Subject {
    /// `--http-addr (ORDERS_HTTP_ADDR)`.
    name: String,
    /// ` is "abc"`; a value that can contain a password is not repeated.
    value: String,
}

impl Subject {
    fn of_error(error: &clap::Error) -> Self {
        let shown = context(error, ContextKind::InvalidArg);
        let arg = shown.as_deref().and_then(find_arg);
        let confidential =
            arg.as_ref().and_then(Arg::get_long).is_some_and(|long| CONFIDENTIAL.contains(&long));
        let value = match context(error, ContextKind::InvalidValue) {
            Some(value) if !confidential => format!(" is {value:?}"),
            _ => " cannot be used".to_owned(),
        };
        Self { name: arg.as_ref().map_or_else(|| shown.unwrap_or_default(), setting_name), value }
    }
}

fn invalid_value(error: &clap::Error) -> Error {
    let Subject { name, value } = Subject::of_error(error);
    let source = error.source();
    let problem = source.map(ToString::to_string).unwrap_or_default();
    let rendered = Error::usage(format!("{name}{value}: {problem}"));
    match source.and_then(|source| source.downcast_ref::<ValueError>()) {
        Some(ValueError { hint, .. }) => rendered.hint(hint),
        None => rendered,
    }
}

fn not_a_choice(error: &clap::Error) -> Error {
    let Subject { name, value } = Subject::of_error(error);
    let known = context(error, ContextKind::ValidValue).unwrap_or_default();
    let is_missing = context(error, ContextKind::InvalidValue).is_none_or(|value| value.is_empty());
    match (is_missing, known.is_empty()) {
        (true, true) => {
            Error::usage(format!("{name} needs a value")).hint("write the value after the flag: --flag VALUE")
        }
        (true, false) => Error::usage(format!("{name} needs a value")).hint(format!("use one of: {known}")),
        (false, _) => Error::usage(format!("{name}{value}: it is not a valid choice"))
            .hint(format!("use one of: {known}")),
    }
}

fn unknown_argument(error: &clap::Error) -> Error {
    let shown = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let commands = commands_with_flag(&shown);
    let hint = match context(error, ContextKind::SuggestedArg) {
        _ if !commands.is_empty() => format!("it belongs to another command: {}", commands.join(", ")),
        Some(similar) => format!("did you mean {similar}? `orders --help` lists the commands"),
        None => "`orders <COMMAND> --help` lists the settings of a command".to_owned(),
    };
    Error::usage(format!("unknown argument {shown}")).hint(hint)
}

fn unknown_command(error: &clap::Error) -> Error {
    let given = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
    let hint = match context(error, ContextKind::SuggestedSubcommand) {
        Some(similar) => format!("did you mean {similar}?"),
        None => "`orders --help` lists the commands".to_owned(),
    };
    Error::usage(format!("unknown command {given:?}")).hint(hint)
}

/// Returns the command of a help text, such as `orders queue`, and the commands below it.
fn incomplete_command(help: &str) -> (String, String) {
    let usage = help.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).unwrap_or_default();
    let words: Vec<&str> = usage.split(' ').take_while(|word| !word.starts_with(['<', '['])).collect();
    let root = Cli::command();
    let command = words.iter().skip(1).try_fold(&root, |command, word| command.find_subcommand(word));
    let below = command.unwrap_or(&root).get_subcommands().map(Command::get_name);
    (words.join(" "), below.collect::<Vec<_>>().join(", "))
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        other => Some(other.to_string()),
    }
}

/// Returns the name of a setting as users know it: `--http-addr (ORDERS_HTTP_ADDR)`.
fn setting_name(arg: &Arg) -> String {
    match (arg.get_long(), arg.get_env()) {
        (Some(long), Some(env)) => format!("--{long} ({})", env.to_string_lossy()),
        (Some(long), None) => format!("--{long}"),
        (None, _) => format!("<{}>", arg.get_id()),
    }
}

/// Returns the flag of an argument that clap shows as `--http-addr <ADDR>`.
fn flag_name(shown: &str) -> Option<&str> {
    shown.split([' ', '=']).next()?.strip_prefix("--")
}

/// Returns the commands that have a flag, such as `orders gateway`.
fn commands_with_flag(shown: &str) -> Vec<String> {
    fn collect(command: &Command, path: &str, long: &str, found: &mut Vec<String>) {
        if command.get_arguments().any(|arg| arg.get_long() == Some(long)) {
            found.push(format!("`{path}`"));
        }
        for command in command.get_subcommands() {
            collect(command, &format!("{path} {}", command.get_name()), long, found);
        }
    }
    let mut found = Vec::new();
    if let Some(long) = flag_name(shown) {
        collect(&Cli::command(), "orders", long, &mut found);
    }
    found
}

/// Returns the argument of a flag: that of the present command, or of any command.
fn find_arg(shown: &str) -> Option<Arg> {
    fn find_below(command: &Command, long: &str) -> Option<Arg> {
        let own = command.get_arguments().find(|arg| arg.get_long() == Some(long)).cloned();
        own.or_else(|| command.get_subcommands().find_map(|command| find_below(command, long)))
    }
    let (root, long) = (Cli::command(), flag_name(shown)?);
    let present = std::env::args_os()
        .skip(1)
        .try_fold(&root, |command, word| command.find_subcommand(word).ok_or(command))
        .unwrap_or_else(|command| command);
    find_below(present, long).or_else(|| find_below(&root, long))
}
