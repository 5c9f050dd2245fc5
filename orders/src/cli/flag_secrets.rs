//! Secrets in flags, which other users of the machine can read.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};
use url::Url;

use super::Cli;
use crate::values::redacted_text;

/// The setting that is a secret as a whole.
const SECRET: &str = "webhook_secret";

/// A setting whose flag contains a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretInFlag {
    /// The flag, such as `--redis-url`.
    pub(crate) flag: String,
    /// The variables that are not visible to other users: for the value, and for a file with it.
    pub(crate) variables: String,
}

/// Returns the settings of the command that contain a secret and come from a flag. `is_in_file` states the ids of the
/// arguments whose values come from the file of settings instead.
pub(crate) fn secrets_in_flags(matches: &ArgMatches, is_in_file: impl Fn(&str) -> bool) -> Vec<SecretInFlag> {
    let root = Cli::command();
    let Some((name, given)) = matches.subcommand() else { return Vec::new() };
    let Some(command) = root.find_subcommand(name) else { return Vec::new() };
    let args = command
        .get_arguments()
        .filter(|arg| !is_in_file(arg.get_id().as_str()) && has_secret_flag(arg, given));
    args.filter_map(|arg| {
        let own = arg.get_env()?.to_string_lossy();
        let file = format!("{}_file", arg.get_id());
        let variables = match variable_of(command, &file) {
            Some(file) => format!("{own} or {file}"),
            None => own.into_owned(),
        };
        Some(SecretInFlag { flag: format!("--{}", arg.get_long()?), variables })
    })
    .collect()
}

fn variable_of(command: &Command, id: &str) -> Option<String> {
    let arg = command.get_arguments().find(|arg| arg.get_id() == id)?;
    Some(arg.get_env()?.to_string_lossy().into_owned())
}

fn has_secret_flag(arg: &Arg, given: &ArgMatches) -> bool {
    let id = arg.get_id().as_str();
    given.value_source(id) == Some(ValueSource::CommandLine)
        && given.get_raw(id).into_iter().flatten().any(|value| has_secret(id, &value.to_string_lossy()))
}

/// Returns whether a value is a secret, or a URL that has a password or a query, which may contain a token.
pub(super) fn has_secret(id: &str, value: &str) -> bool {
    let normalized = || Url::parse(value).map_or_else(|_| value.to_owned(), Into::into);
    id == SECRET || redacted_text(value).is_some_and(|redacted| redacted != normalized())
}

/// Redacts passwords in URLs, and secrets.
pub(crate) fn redact_value(id: &str, value: &str) -> String {
    if id == SECRET {
        return "***".to_owned();
    }
    match value.contains("://") {
        true => redacted_text(value).unwrap_or_else(|| "***".to_owned()),
        false => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_with_secrets_are_found() {
        let found = |words: &[&str]| {
            let matches = Cli::command().try_get_matches_from(words).unwrap();
            let found = secrets_in_flags(&matches, |_| false).into_iter();
            found.map(|found| format!("{}: {}", found.flag, found.variables)).collect::<Vec<_>>()
        };
        for redis in ["redis://cache", "redis+sentinel://a,b:1/shop", "redis+cluster://a:1,b:2"] {
            let harmless = ["--database-url", "mysql://ann@db/shop", "--redis-url", redis];
            assert_eq!(found(&[&["orders", "gateway"], &harmless[..]].concat()), [""; 0]);
        }
        let list = ["orders", "gateway", "--redis-url", "redis+cluster://:hush@a:1,b:2"];
        assert_eq!(found(&list), ["--redis-url: REDIS_URL or ORDERS_REDIS_URL_FILE"]);
        let secret = ["--database-url", "mysql://ann:hush@db/shop", "--redis-url", "redis://:hush@cache"];
        let webhook = [
            "--webhook-secret",
            "whsec_hushhushhushhushhushhushhushhush",
            "--webhook-url",
            "https://hook.example/?token=hush",
        ];
        assert_eq!(
            found(&[&["orders", "dev"], &secret[..], &webhook].concat()),
            [
                "--database-url: DATABASE_URL or ORDERS_DATABASE_URL_FILE",
                "--redis-url: REDIS_URL or ORDERS_REDIS_URL_FILE",
                "--webhook-url: ORDERS_WEBHOOK_URL or ORDERS_WEBHOOK_URL_FILE",
                "--webhook-secret: ORDERS_WEBHOOK_SECRET or ORDERS_WEBHOOK_SECRET_FILE",
            ]
        );
    }
}
