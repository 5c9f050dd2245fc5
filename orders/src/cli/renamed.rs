//! Refuses settings under their old names with the new name, instead of "unknown argument" or a variable without
//! effect.

use std::ffi::OsString;
use std::time::Duration;

use crate::error::Error;
use crate::values::{show_duration, show_size};

/// The form of an old value.
#[derive(Clone, Copy, Debug)]
enum OldValue {
    /// A number of milliseconds.
    Millis,
    /// A number of seconds.
    Seconds,
    /// A number of days.
    Days,
    /// A number of bytes.
    Bytes,
    /// The same as today.
    Unchanged,
}

/// Each old flag, its new name, and the form of its old value. A flag and its variable have the same name.
const RENAMED: [(&str, &str, OldValue); 32] = [
    ("attempt-timeout-ms", "attempt-timeout", OldValue::Millis),
    ("body-bytes", "max-body-size", OldValue::Bytes),
    ("bulk-body-bytes", "max-bulk-body-size", OldValue::Bytes),
    ("database-connections", "database-pool-size", OldValue::Unchanged),
    ("drain-ms", "shutdown-timeout", OldValue::Millis),
    ("graphql-aliases", "graphql-max-aliases", OldValue::Unchanged),
    ("graphql-batch-limit", "graphql-max-batch-size", OldValue::Unchanged),
    ("graphql-complexity", "graphql-max-complexity", OldValue::Unchanged),
    ("graphql-depth", "graphql-max-depth", OldValue::Unchanged),
    ("graphql-document-bytes", "graphql-max-document-size", OldValue::Bytes),
    ("graphql-persisted-queries", "graphql-max-persisted-queries", OldValue::Unchanged),
    ("graphql-tokens", "graphql-max-tokens", OldValue::Unchanged),
    ("header-timeout-ms", "request-read-timeout", OldValue::Millis),
    ("http-connections", "max-connections", OldValue::Unchanged),
    ("http-connections-per-address", "max-connections-per-address", OldValue::Unchanged),
    ("http-hosts", "allowed-hosts", OldValue::Unchanged),
    ("idempotency-ttl-s", "idempotency-ttl", OldValue::Seconds),
    ("inflight-body-bytes", "request-buffer-limit", OldValue::Bytes),
    ("inflight-response-bytes", "response-buffer-limit", OldValue::Bytes),
    ("lease-ms", "lease", OldValue::Millis),
    ("queue-window", "max-queue-depth", OldValue::Unchanged),
    ("redelivery-guard-ms", "visibility-timeout", OldValue::Millis),
    ("response-bytes", "max-response-size", OldValue::Bytes),
    ("retain-failed-days", "retain-failed", OldValue::Days),
    ("retain-final-days", "retain-completed", OldValue::Days),
    ("shutdown-delay-ms", "shutdown-delay", OldValue::Millis),
    ("simulate-max-ms", "simulate-max-delay", OldValue::Millis),
    ("simulate-min-ms", "simulate-min-delay", OldValue::Millis),
    ("streams", "max-streams", OldValue::Unchanged),
    ("streams-per-address", "max-streams-per-address", OldValue::Unchanged),
    ("webhook-max-retry-after-s", "webhook-max-retry-after", OldValue::Seconds),
    ("webhook-timeout-ms", "webhook-timeout", OldValue::Millis),
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
        return Err(refusal(old, new, form, value.as_deref(), |new, value| format!("--{new} {value}")));
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
            return Err(refusal(old, new, form, value, |new, value| {
                format!("{}={value}", variable_name(new))
            }));
        }
    }
    Ok(())
}

fn refusal(
    old: &str,
    new: &str,
    form: OldValue,
    value: Option<&str>,
    written: impl Fn(&str, &str) -> String,
) -> Error {
    let converted = value.and_then(|value| convert(form, value));
    let (example, rule) = match form {
        OldValue::Millis | OldValue::Seconds => {
            ("30s", ": durations have a unit, such as 250ms, 30s, 10m or 7d")
        }
        OldValue::Days => ("90d", ": durations have a unit, such as 12h, 7d or 90d"),
        OldValue::Bytes => ("1MiB", ": sizes have a unit, such as 256KiB or 8MiB"),
        OldValue::Unchanged => ("VALUE", ": the value is as before"),
    };
    Error::usage(format!("--{old} ({}) was renamed to --{new} ({})", variable_name(old), variable_name(new)))
        .hint(format!("write {}{rule}", written(new, converted.as_deref().unwrap_or(example))))
}

/// Returns an old value in its new form; `None` if it is not valid.
fn convert(form: OldValue, value: &str) -> Option<String> {
    let duration = |unit: Duration| {
        let count: u32 = value.parse().ok()?;
        Some(show_duration(unit.checked_mul(count)?))
    };
    match form {
        OldValue::Millis => duration(Duration::from_millis(1)),
        OldValue::Seconds => duration(Duration::from_secs(1)),
        OldValue::Days => duration(Duration::from_secs(24 * 60 * 60)),
        OldValue::Bytes => value.parse().ok().map(show_size),
        OldValue::Unchanged => Some(value.to_owned()),
    }
}

/// Returns the variable of a flag. No flag with an exceptional variable was renamed.
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
    fn new_names_are_settings_and_old_names_are_not() {
        let settings = settings();
        for (old, new, _) in RENAMED {
            assert!(!settings.contains_key(old), "--{old} is still a flag");
            assert_eq!(settings.get(new), Some(&Some(variable_name(new))), "--{new}");
            assert!(PAGE.contains(&format!("| `--{old}` | `--{new}` |")), "names.md does not list --{old}");
        }
    }

    #[test]
    fn old_flag_is_refused_with_its_new_name() {
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
    fn old_variable_is_refused_by_commands_with_the_setting() {
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
    fn hint_contains_the_old_value_in_its_new_form() {
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
