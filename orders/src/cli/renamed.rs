//! Settings under their old names: an error that states the new name, instead of "unknown argument" or a variable that
//! has no effect.

use std::ffi::OsString;
use std::time::Duration;

use crate::error::Error;
use crate::values::{show_duration, show_size};

/// How an old value is written now.
#[derive(Clone, Copy, Debug)]
enum Value {
    /// It was a number of milliseconds.
    Millis,
    /// It was a number of seconds.
    Seconds,
    /// It was a number of days.
    Days,
    /// It was a number of bytes.
    Bytes,
    /// As before.
    Unchanged,
}

/// Each old flag, its new name, and the form of its old value. A flag and its variable have the same name.
const RENAMED: [(&str, &str, Value); 32] = [
    ("attempt-timeout-ms", "attempt-timeout", Value::Millis),
    ("body-bytes", "max-body-size", Value::Bytes),
    ("bulk-body-bytes", "max-bulk-body-size", Value::Bytes),
    ("database-connections", "database-pool-size", Value::Unchanged),
    ("drain-ms", "shutdown-timeout", Value::Millis),
    ("graphql-aliases", "graphql-max-aliases", Value::Unchanged),
    ("graphql-batch-limit", "graphql-max-batch-size", Value::Unchanged),
    ("graphql-complexity", "graphql-max-complexity", Value::Unchanged),
    ("graphql-depth", "graphql-max-depth", Value::Unchanged),
    ("graphql-document-bytes", "graphql-max-document-size", Value::Bytes),
    ("graphql-persisted-queries", "graphql-max-persisted-queries", Value::Unchanged),
    ("graphql-tokens", "graphql-max-tokens", Value::Unchanged),
    ("header-timeout-ms", "request-read-timeout", Value::Millis),
    ("http-connections", "max-connections", Value::Unchanged),
    ("http-connections-per-address", "max-connections-per-address", Value::Unchanged),
    ("http-hosts", "allowed-hosts", Value::Unchanged),
    ("idempotency-ttl-s", "idempotency-ttl", Value::Seconds),
    ("inflight-body-bytes", "request-buffer-limit", Value::Bytes),
    ("inflight-response-bytes", "response-buffer-limit", Value::Bytes),
    ("lease-ms", "lease", Value::Millis),
    ("queue-window", "max-queue-depth", Value::Unchanged),
    ("redelivery-guard-ms", "visibility-timeout", Value::Millis),
    ("response-bytes", "max-response-size", Value::Bytes),
    ("retain-failed-days", "retain-failed", Value::Days),
    ("retain-final-days", "retain-completed", Value::Days),
    ("shutdown-delay-ms", "shutdown-delay", Value::Millis),
    ("simulate-max-ms", "simulate-max-delay", Value::Millis),
    ("simulate-min-ms", "simulate-min-delay", Value::Millis),
    ("streams", "max-streams", Value::Unchanged),
    ("streams-per-address", "max-streams-per-address", Value::Unchanged),
    ("webhook-max-retry-after-s", "webhook-max-retry-after", Value::Seconds),
    ("webhook-timeout-ms", "webhook-timeout", Value::Millis),
];

/// Refuses the first flag under an old name. `arguments` are the words of the command line.
pub(super) fn check_flags(arguments: &[OsString]) -> Result<(), Error> {
    let words = || arguments.iter().map(|word| word.to_string_lossy()).take_while(|word| word != "--");
    for (at, word) in words().enumerate() {
        let Some(flag) = word.strip_prefix("--") else { continue };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let Some((old, new, form)) = RENAMED.into_iter().find(|(old, ..)| *old == name) else { continue };
        let next = || words().nth(at + 1).filter(|word| !word.starts_with('-')).map(|word| word.into_owned());
        let value = value.map(str::to_owned).or_else(next);
        return Err(refuse(old, new, form, value.as_deref(), |new, value| format!("--{new} {value}")));
    }
    Ok(())
}

/// Refuses a variable under an old name when the command has the setting. An empty variable counts as unset.
pub(super) fn check_variables(
    has_setting: impl Fn(&str) -> bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(), Error> {
    for (old, new, form) in RENAMED.into_iter().filter(|(_, new, _)| has_setting(new)) {
        if let Some(value) = variable(&variable_name(old)).filter(|value| !value.is_empty()) {
            let value = value.to_str();
            return Err(refuse(old, new, form, value, |new, value| {
                format!("{}={value}", variable_name(new))
            }));
        }
    }
    Ok(())
}

fn refuse(
    old: &str,
    new: &str,
    form: Value,
    value: Option<&str>,
    written: impl Fn(&str, &str) -> String,
) -> Error {
    let converted = value.and_then(|value| convert(form, value));
    let (example, rule) = match form {
        Value::Millis | Value::Seconds => ("30s", ": durations have a unit, such as 250ms, 30s, 10m or 7d"),
        Value::Days => ("90d", ": durations have a unit, such as 12h, 7d or 90d"),
        Value::Bytes => ("1MiB", ": sizes have a unit, such as 256KiB or 8MiB"),
        Value::Unchanged => ("VALUE", ": the value is as before"),
    };
    Error::usage(format!("--{old} ({}) was renamed to --{new} ({})", variable_name(old), variable_name(new)))
        .hint(format!("write {}{rule}", written(new, converted.as_deref().unwrap_or(example))))
}

/// An old value in its new form; `None` if it was not valid.
fn convert(form: Value, value: &str) -> Option<String> {
    let duration = |unit: Duration| {
        let count: u32 = value.parse().ok()?;
        Some(show_duration(unit.checked_mul(count)?))
    };
    match form {
        Value::Millis => duration(Duration::from_millis(1)),
        Value::Seconds => duration(Duration::from_secs(1)),
        Value::Days => duration(Duration::from_secs(24 * 60 * 60)),
        Value::Bytes => value.parse().ok().map(show_size),
        Value::Unchanged => Some(value.to_owned()),
    }
}

/// The variable of a flag. No flag with an exceptional variable was renamed.
fn variable_name(flag: &str) -> String {
    format!("ORDERS_{}", flag.replace('-', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    /// The page that lists every name, old and new.
    const PAGE: &str = include_str!("../../../docs/contribute/names.md");

    /// Every flag of the program and its variable.
    fn settings() -> BTreeMap<String, Option<String>> {
        fn collect(command: &clap::Command, found: &mut BTreeMap<String, Option<String>>) {
            for arg in command.get_arguments() {
                let env = arg.get_env().map(|name| name.to_string_lossy().into_owned());
                found.extend(arg.get_long().map(|long| (long.to_owned(), env)));
            }
            command.get_subcommands().for_each(|command| collect(command, found));
        }
        let mut found = BTreeMap::new();
        collect(&Cli::command(), &mut found);
        found
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn every_new_name_is_a_setting_and_no_old_name_is() {
        let settings = settings();
        for (old, new, _) in RENAMED {
            assert!(!settings.contains_key(old), "--{old} is still a flag");
            assert_eq!(settings.get(new), Some(&Some(variable_name(new))), "--{new}");
            assert!(PAGE.contains(&format!("| `--{old}` | `--{new}` |")), "names.md does not list --{old}");
        }
    }

    #[test]
    fn every_old_flag_is_refused_with_the_new_name() {
        for (old, new, _) in RENAMED {
            for line in [
                format!("orders --{old} 7"),
                format!("orders gateway --{old}=7"),
                format!("orders --{old}"),
                format!("orders doctor --{old} 7 -- more"),
            ] {
                let error = check_flags(&words(&line)).unwrap_err().to_string();
                let expected = format!(
                    "--{old} ({}) was renamed to --{new} ({})",
                    variable_name(old),
                    variable_name(new)
                );
                assert!(error.contains(&expected), "{line}: {error}");
            }
            assert!(check_flags(&words(&format!("orders --{new} 7"))).is_ok(), "{new}");
            assert!(check_flags(&words(&format!("orders dev -- --{old} 7"))).is_ok(), "{old}");
        }
    }

    #[test]
    fn every_old_variable_is_refused_if_the_command_has_the_setting() {
        for (old, new, _) in RENAMED {
            let set = |value: &'static str| {
                move |name: &str| (name == variable_name(old)).then(|| OsString::from(value))
            };
            let error = check_variables(|_| true, set("7")).unwrap_err().to_string();
            assert!(error.contains(&variable_name(old)) && error.contains(&variable_name(new)), "{error}");
            assert!(check_variables(|_| true, set("")).is_ok(), "an empty variable is unset");
            assert!(check_variables(|name| name != new, set("7")).is_ok(), "another command");
        }
    }

    #[test]
    fn the_hint_writes_the_old_value_in_the_new_form() {
        for (line, hint) in [
            ("orders --drain-ms 10000", "write --shutdown-timeout 10s: durations have a unit"),
            ("orders --lease-ms=1500", "write --lease 1s500ms:"),
            ("orders --idempotency-ttl-s 86400", "write --idempotency-ttl 1d:"),
            ("orders --retain-final-days 90", "write --retain-completed 90d:"),
            ("orders --retain-failed-days 0", "write --retain-failed 0:"),
            ("orders --body-bytes 262144", "write --max-body-size 256KiB: sizes have a unit"),
            ("orders --queue-window 4000", "write --max-queue-depth 4000: the value is as before"),
            ("orders --drain-ms soon", "write --shutdown-timeout 30s:"),
            ("orders --drain-ms", "write --shutdown-timeout 30s:"),
            ("orders --retain-failed-days 99999999999", "write --retain-failed 90d:"),
        ] {
            let error = check_flags(&words(line)).unwrap_err();
            assert!(error.hint_text().contains(hint), "{line}: {}", error.hint_text());
        }
        let error =
            check_variables(|_| true, |name| (name == "ORDERS_DRAIN_MS").then(|| OsString::from("10000")));
        let hint = error.unwrap_err().hint_text().to_owned();
        assert!(hint.starts_with("write ORDERS_SHUTDOWN_TIMEOUT=10s:"), "{hint}");
    }
}
