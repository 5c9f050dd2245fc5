//! `orders config`: the effective settings of a command, and the source of each.

use std::path::Path;
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory};
use gateway::service::Setting;
use serde_json::{Value, json};

use super::target::DEFAULT_URL;
use crate::cli::{
    AddressArgs, Cli, ConfigArgs, Configured, DEFAULT_METRICS_ADDR, FileSettings, TOKEN_VARIABLE,
    redact_value, sqlite_file,
};
use crate::contexts::{self, Credential};
use crate::error::Error;
use crate::log;
use crate::output::{Column, Item, Layout, print_list, text};

/// Prints one line for each setting: its name, its value, its source.
pub(super) fn run(args: &ConfigArgs, matches: &ArgMatches, file: &FileSettings) -> Result<(), Error> {
    let name = args.of.command_name();
    let given = matches.subcommand_matches("config");
    let Some(given) = given else {
        return Err(Error::failed(format!("the command {name} has no settings")));
    };
    let mut settings = settings(args.of, given, file);
    if args.of == Configured::Client {
        apply_context(&mut settings, &args.address)?;
    }
    let mut settings: Vec<Item> = settings.into_iter().map(Item::from).collect();
    let (filter, from) = log::filter();
    settings.push(json!({"setting": null, "variable": "RUST_LOG", "value": filter, "from": from}).into());
    print_list(args.format.format(), &LAYOUT, &settings)
}

/// Returns the settings of a running gateway, for its operators.
pub(super) fn of_gateway(of: Configured, matches: &ArgMatches, file: &FileSettings) -> Arc<[Setting]> {
    let Some(given) = matches.subcommand_matches(of.command_name()) else { return Arc::from([]) };
    let setting = |item: Item| Setting {
        name: text(&item, "setting"),
        value: text(&item, "value"),
        source: text(&item, "from"),
    };
    settings(of, given, file).into_iter().map(Item::from).map(setting).collect()
}

/// Adds what a command has from its context, and the variable with the key.
fn apply_context(settings: &mut Vec<Value>, args: &AddressArgs) -> Result<(), Error> {
    let token = std::env::var_os(TOKEN_VARIABLE).filter(|value| !value.is_empty());
    let (value, from) = if token.is_some() { ("***", "environment") } else { ("(none)", "default") };
    settings.push(json!({"setting": null, "variable": TOKEN_VARIABLE, "value": value, "from": from}));
    let selected = match &args.url {
        Some(_) => None,
        None => contexts::select(args.context.as_ref())?,
    };
    let Some((name, context)) = selected else { return Ok(()) };
    let has_key = settings.iter().any(|it| {
        it["from"] != "default" && (it["setting"] == "--token-file" || it["variable"] == TOKEN_VARIABLE)
    });
    let key = match context.credential.as_ref().filter(|_| !has_key) {
        Some(Credential::File(file)) => Some(("--token-file", file.display().to_string())),
        Some(Credential::Token(_)) => Some(("", "***".to_owned())),
        None => None,
    };
    let ca = context.ca.as_ref().map(|file| ("--ca", file.display().to_string()));
    for (setting, value) in [Some(("--url", context.url.to_string())), ca, key].into_iter().flatten() {
        let is_it = |it: &Value| it["setting"].as_str().unwrap_or_default() == setting;
        if let Some(found) = settings.iter_mut().find(|it| is_it(it) && it["from"] == "default") {
            found["value"] = value.into();
            found["from"] = format!("context {name}").into();
        }
    }
    if let Some(found) =
        settings.iter_mut().find(|it| it["setting"] == "--context" && it["from"] == "default")
    {
        found["value"] = name.as_str().into();
        found["from"] = "current context".into();
    }
    Ok(())
}

fn settings(of: Configured, given: &ArgMatches, file: &FileSettings) -> Vec<Value> {
    let root = Cli::command();
    let command = root.find_subcommand(of.command_name());
    let settings = command.into_iter().flat_map(clap::Command::get_arguments);
    settings.filter(|arg| arg.get_env().is_some()).map(|arg| setting(arg, given, file, of)).collect()
}

const LAYOUT: Layout = Layout {
    id: "variable",
    none: "",
    columns: &[
        Column::new("SETTING", |setting| text(setting, "setting")),
        Column::new("VARIABLE", |setting| text(setting, "variable")),
        Column::new("VALUE", |setting| text(setting, "value")),
        Column::new("FROM", |setting| text(setting, "from")),
    ],
};

fn setting(arg: &Arg, given: &ArgMatches, file: &FileSettings, of: Configured) -> Value {
    let id = arg.get_id().as_str();
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
    let setting = arg.get_long().map(|long| format!("--{long}"));
    let values = given.get_raw(id).into_iter().flatten();
    let shown: Vec<String> = values.map(|value| redact_value(id, &value.to_string_lossy())).collect();
    let value = if shown.is_empty() { describe_unset(id, given, of) } else { shown.join(",") };
    let from = match (file.source(id), given.value_source(id)) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(ValueSource::CommandLine)) => "flag".to_owned(),
        (None, Some(ValueSource::EnvVariable)) => "environment".to_owned(),
        _ => "default".to_owned(),
    };
    json!({"setting": setting, "variable": variable, "value": value, "from": from})
}

/// Describes the effect of an unset setting without a fixed default.
fn describe_unset(id: &str, given: &ArgMatches, of: Configured) -> String {
    let file = format!("{id}_file");
    if given.try_contains_id(&file).is_ok_and(|is_given| is_given) {
        return format!("(in --{})", file.replace('_', "-"));
    }
    match id {
        "database_url" => {
            let folder = given.get_one::<std::path::PathBuf>("data_dir");
            format!("sqlite:{}", sqlite_file(folder.map_or(Path::new("."), |f| f)).display())
        }
        "url" => DEFAULT_URL.to_owned(),
        "redis_url" if of == Configured::Dev => "(in memory)".to_owned(),
        "redis_url" => "(required)".to_owned(),
        "developer_tools" => "(on with --auth off)".to_owned(),
        "graphql_introspection" => "(as --developer-tools)".to_owned(),
        "bus_secret_file" => "(a secret in the database)".to_owned(),
        "allow_tokenless_reports" => "(on when --grpc-addr is a loopback address)".to_owned(),
        "worker_id" => "(host name and process id)".to_owned(),
        "metrics_addr" => format!("{DEFAULT_METRICS_ADDR} (or a free port)"),
        _ => "(none)".to_owned(),
    }
}
