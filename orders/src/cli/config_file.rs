//! Settings in a file (TOML): `--config` or `ORDERS_CONFIG_FILE`.
//!
//! A key is the name of a setting, such as `http-addr`; a table such as `[gateway]` is for that command only and precedes
//! the keys outside of tables. A flag precedes a variable, a variable precedes the file, and the file a default. The
//! values of the file become words of the command line, where neither a flag nor a variable states the setting or one
//! that excludes it. Therefore they are checked as flags are.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

use super::flag_secrets::has_secret;
use crate::error::Error;

/// The variable with the path of the file.
const VARIABLE: &str = "ORDERS_CONFIG_FILE";
/// Maximum size of the file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Similarity above which an unknown key is taken for a mistyped one.
const SIMILAR: f64 = 0.7;

/// The settings that a command has from the file.
#[derive(Debug, Default)]
pub(crate) struct FileSettings {
    /// The file, if there is one.
    path: Option<PathBuf>,
    /// Ids of the arguments whose values are from the file.
    ids: Vec<String>,
}

impl FileSettings {
    /// Returns the file if the value of the argument is from it.
    pub(crate) fn source(&self, id: &str) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.ids.iter().any(|known| known == id))
    }
}

/// Adds the settings of the file to the words of a command line, whose command is first.
pub(super) fn apply(
    root: &Command,
    words: &mut Vec<OsString>,
    variable: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<FileSettings, Error> {
    let is_set = |name: &OsStr| variable(name).is_some_and(|value| !value.is_empty());
    let named = flag_value(words, "config");
    let Some(path) = named.or_else(|| variable(OsStr::new(VARIABLE)).filter(|path| !path.is_empty())) else {
        return Ok(FileSettings::default());
    };
    let path = PathBuf::from(path);
    let (table, is_private) = read(&path)?;
    let (command, depth) = innermost(root, words);
    let role = role(root, words);
    let values = select(root, &table, role.as_deref(), &path)?;
    let mut settings = FileSettings { path: Some(path.clone()), ids: Vec::new() };
    let mut added = Vec::new();
    for (name, value) in &values {
        let Some(arg) = command.get_arguments().find(|arg| is_setting(arg) && arg.get_long() == Some(name))
        else {
            continue;
        };
        let id = arg.get_id().as_str();
        let value = text(value).ok_or_else(|| wrong_type(&path, name))?;
        if has_secret(id, &value) && !is_private {
            return Err(Error::usage(format!(
                "{}: other users can read the secret in {name}",
                path.display()
            ))
            .hint(format!("chmod 600 {}", path.display())));
        }
        let stated = |arg: &Arg| {
            arg.get_env().is_some_and(is_set) || arg.get_long().is_some_and(|long| has_flag(words, long))
        };
        if stated(arg) || command.get_arguments().any(|other| excludes(command, arg, other) && stated(other))
        {
            continue;
        }
        match arg.get_action() {
            ArgAction::SetTrue if value == "true" => added.push(OsString::from(format!("--{name}"))),
            ArgAction::SetTrue => continue,
            _ => added.push(OsString::from(format!("--{name}={value}"))),
        }
        settings.ids.push(id.to_owned());
    }
    words.splice(depth..depth, added);
    Ok(settings)
}

/// Returns whether one of two arguments declares a conflict with the other.
fn excludes(command: &Command, one: &Arg, other: &Arg) -> bool {
    let declares = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|conflict| conflict.get_id() == other.get_id())
    };
    declares(one, other) || declares(other, one)
}

/// Returns whether an argument is a setting, which the file can contain.
fn is_setting(arg: &Arg) -> bool {
    arg.get_env().is_some() && arg.get_long() != Some("config")
}

/// Reads the file, and whether only its owner can.
fn read(path: &Path) -> Result<(Table, bool), Error> {
    let invalid = |problem: String| {
        Error::usage(format!("--config ({VARIABLE}) is {:?}: {problem}", path.display().to_string()))
            .hint("give a TOML file such as: http-addr = \"127.0.0.1:8080\"")
    };
    let unreadable = |error: std::io::Error| invalid(format!("it cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut content = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut content).map_err(unreadable)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(invalid("it is larger than 256 KiB".to_owned()));
    }
    // The message names no value: the line can contain a secret.
    let table = content.parse::<Table>().map_err(|error| {
        let line =
            error.span().map_or(1, |span| content[..span.start.min(content.len())].lines().count().max(1));
        invalid(format!("line {line} is not TOML: {}", error.message()))
    })?;
    Ok((table, mode & 0o077 == 0))
}

/// Returns the values for a command, and refuses unknown keys anywhere in the file.
fn select<'t>(
    root: &Command,
    table: &'t Table,
    role: Option<&str>,
    path: &Path,
) -> Result<Vec<(&'t str, &'t Value)>, Error> {
    let all = names(root);
    let mut values: Vec<(&str, &Value)> = Vec::new();
    for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
        check_key(path, "", key, &all)?;
        values.push((key, value));
    }
    for (name, value) in table {
        let Value::Table(below) = value else { continue };
        let Some(command) = root.find_subcommand(name) else {
            let commands: Vec<String> =
                root.get_subcommands().map(|command| command.get_name().to_owned()).collect();
            return Err(unknown(path, &format!("the table [{name}]"), name, &commands));
        };
        let known = names(command);
        for (key, value) in below {
            check_key(path, &format!("[{name}] "), key, &known)?;
            if role == Some(name) {
                values.retain(|(other, _)| other != key);
                values.push((key, value));
            }
        }
    }
    Ok(values)
}

fn check_key(path: &Path, table: &str, key: &str, known: &[String]) -> Result<(), Error> {
    match known.iter().any(|name| name == key) {
        true => Ok(()),
        false => Err(unknown(path, &format!("{table}{key}"), key, known)),
    }
}

fn unknown(path: &Path, shown: &str, key: &str, known: &[String]) -> Error {
    let similarity = |name: &&String| strsim::jaro(name, key);
    let nearest = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let hint = match nearest.filter(|name| similarity(name) > SIMILAR) {
        Some(name) => format!("did you mean {name}?"),
        None => "docs/reference/settings.md lists the settings of each command".to_owned(),
    };
    Error::usage(format!("{}: unknown setting {shown}", path.display())).hint(hint)
}

/// Returns the names of the settings of a command and of those below it.
fn names(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter(|arg| is_setting(arg)).filter_map(Arg::get_long);
    let mut all: Vec<String> = own.map(str::to_owned).collect();
    all.extend(command.get_subcommands().flat_map(names));
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns a value as the word of a flag; `None` for a table or a date.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(is_on) => Some(is_on.to_string()),
        Value::Array(values) => {
            let texts: Option<Vec<String>> = values.iter().map(text).collect();
            Some(texts?.join(","))
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

fn wrong_type(path: &Path, name: &str) -> Error {
    Error::usage(format!("{}: {name} is neither a string, a number, true, false nor a list", path.display()))
        .hint("write the value as for the flag, between quotes")
}

/// Returns the innermost command of the words, and the index after its name.
fn innermost<'a>(root: &'a Command, words: &[OsString]) -> (&'a Command, usize) {
    let (mut command, mut at) = (root, 1);
    while let Some(below) = words.get(at).and_then(|word| command.find_subcommand(word)) {
        (command, at) = (below, at + 1);
    }
    (command, at.min(words.len()))
}

/// Returns the name of the table for a command: its first word, or the command that `orders config` shows.
fn role(root: &Command, words: &[OsString]) -> Option<String> {
    let first = root.find_subcommand(words.get(1)?)?.get_name();
    if first != "config" {
        return Some(first.to_owned());
    }
    let config = root.find_subcommand("config")?;
    let shown = config.get_positionals().next()?.get_possible_values();
    let is_shown = |word: &OsString| {
        shown.iter().any(|value| word.to_str().is_some_and(|word| value.matches(word, false)))
    };
    let given = words.get(2..)?.iter().find(|word| is_shown(word));
    Some(given.map_or_else(|| "dev".to_owned(), |word| word.to_string_lossy().into_owned()))
}

/// Returns the words before `--`.
fn flags(words: &[OsString]) -> impl Iterator<Item = (usize, &str)> {
    let texts = words.iter().enumerate().map(|(at, word)| (at, word.to_str().unwrap_or_default()));
    texts.take_while(|(_, word)| *word != "--")
}

fn has_flag(words: &[OsString], long: &str) -> bool {
    flags(words)
        .any(|(_, word)| word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(long)))
}

/// Returns the value of a flag, in the same word or in the next one.
fn flag_value(words: &[OsString], long: &str) -> Option<OsString> {
    flags(words).find_map(|(at, word)| match word.strip_prefix("--")?.split_once('=') {
        Some((name, value)) if name == long => Some(value.into()),
        None if word.strip_prefix("--") == Some(long) => words.get(at + 1).cloned(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    fn applied(
        content: &str,
        mode: u32,
        line: &str,
        variables: &[(&str, &str)],
    ) -> Result<Vec<String>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orders.toml");
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let set = |name: &OsStr| {
            let given = variables
                .iter()
                .find(|(variable, _)| *variable == name)
                .map(|(_, value)| OsString::from(*value));
            given.or_else(|| (name == VARIABLE).then(|| file.clone().into()))
        };
        apply(&Cli::command(), &mut words, set)?;
        Ok(words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn the_file_precedes_defaults_only() {
        let content = "http-addr = \"127.0.0.1:1\"\nconcurrency = 7\ncors-origins = [\"https://a.example\", \"https://b.example\"]\n\
                       graphql-introspection = true\n[gateway]\nhttp-addr = \"127.0.0.1:2\"\n[processor]\nconcurrency = 9\n";
        for (line, variables, expected) in [
            ("orders processor", &[][..], &["processor", "--concurrency=9"][..]),
            (
                "orders gateway --migrate off",
                &[],
                &[
                    "gateway",
                    "--cors-origins=https://a.example,https://b.example",
                    "--graphql-introspection=true",
                    "--http-addr=127.0.0.1:2",
                    "--migrate",
                    "off",
                ],
            ),
            ("orders processor --concurrency=3", &[], &["processor", "--concurrency=3"]),
            ("orders processor", &[("ORDERS_CONCURRENCY", "3")], &["processor"]),
            ("orders processor", &[("ORDERS_CONCURRENCY", "")], &["processor", "--concurrency=9"]),
            (
                "orders config processor",
                &[
                    ("ORDERS_HTTP_ADDR", "x"),
                    ("ORDERS_CORS_ORIGINS", "x"),
                    ("ORDERS_GRAPHQL_INTROSPECTION", "on"),
                ],
                &["config", "--concurrency=9", "processor"],
            ),
            ("orders schema", &[], &["schema"]),
        ] {
            let mut words = applied(content, 0o644, line, variables).unwrap();
            let mut expected: Vec<String> = expected.iter().map(|word| (*word).to_owned()).collect();
            words.sort_unstable();
            expected.sort_unstable();
            assert_eq!(words, expected, "{line}");
        }
    }

    #[test]
    fn a_setting_that_excludes_one_of_the_file_precedes_it() {
        let content = "database-url = \"mysql://ann@db/shop\"";
        let words = applied(content, 0o644, "orders migrate", &[("ORDERS_DATABASE_URL_FILE", "x")]).unwrap();
        assert_eq!(words, ["migrate"]);
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_nearest_name() {
        for (content, problem, hint) in [
            ("htp-addr = \"x\"", "unknown setting htp-addr", "did you mean http-addr?"),
            ("[processor]\nhttp-addr = \"x\"", "unknown setting [processor] http-addr", ""),
            ("[gatway]\nhttp-addr = \"x\"", "the table [gatway]", "did you mean gateway?"),
            ("zzz = 1", "unknown setting zzz", "settings.md"),
            ("config = \"x\"", "unknown setting config", ""),
            ("\n\nhttp-addr = hush", "line 3 is not TOML", "http-addr = "),
            ("http-addr = 2026-01-31", "neither a string", "quotes"),
            (
                "database-url = \"mysql://ann:hush@db/shop\"",
                "other users can read the secret in database-url",
                "chmod 600",
            ),
        ] {
            let error = applied(content, 0o640, "orders gateway", &[]).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.hint_text().contains(hint), "{}", error.hint_text());
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        let secret = "database-url = \"mysql://ann:hush@db/shop\"";
        assert!(applied(secret, 0o600, "orders gateway", &[]).is_ok());
        let large = format!("# {}", "x".repeat(MAX_FILE_BYTES as usize));
        assert!(applied(&large, 0o600, "orders gateway", &[]).unwrap_err().to_string().contains("256 KiB"));
    }

    #[test]
    fn the_size_is_documented() {
        limits_page::row("file of settings", &limits_page::bytes(MAX_FILE_BYTES as usize));
    }
}
