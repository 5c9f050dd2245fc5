//! `orders system`: the running gateways, the servers that they use, and the settings of the gateway that answers.

use super::stats::show_seconds;
use crate::cli::SystemArgs;
use crate::commands::api::Api;
use crate::console;
use crate::error::Error;
use crate::output::{Column, Format, Item, Layout, print_list, render_table, text};

/// The columns of gateways.
const GATEWAYS: Layout = Layout {
    id: "id",
    none: "no gateway has announced itself",
    columns: &[
        Column::new("GATEWAY", |gateway| text(gateway, "id")),
        Column::new("HOST", |gateway| text(gateway, "host")),
        Column::new("VERSION", |gateway| text(gateway, "version")),
        Column::new("STARTED", |gateway| text(gateway, "startedAt")),
        Column::new("LAST SEEN", |gateway| text(gateway, "lastSeenAt")),
    ],
};

/// The columns of settings.
const SETTINGS: Layout = Layout {
    id: "name",
    none: "",
    columns: &[
        Column::new("SETTING", |setting| text(setting, "name")),
        Column::cut("VALUE", |setting| text(setting, "value")),
        Column::new("FROM", |setting| text(setting, "source")),
    ],
};

/// Prints the parts. CSV and ids have only the gateways.
pub(crate) async fn run(args: SystemArgs) -> Result<(), Error> {
    let system = Api::new(&args.api)?.get("/system", &[]).await?;
    let format = args.format.format();
    match format {
        Format::Table | Format::Wide => console::print(&describe(&system, format)),
        Format::Json | Format::JsonLines => console::print(&format!("{}\n", system.text())),
        Format::Csv | Format::Id => print_list(format, &GATEWAYS, &members(&system, "gateways")),
    }
}

fn members(system: &Item, name: &str) -> Vec<Item> {
    system[name].as_array().into_iter().flatten().cloned().map(Item::from).collect()
}

/// Describes the parts. Settings with their defaults are shown with `wide`.
fn describe(system: &Item, format: Format) -> String {
    let mut shown = match members(system, "gateways") {
        none if none.is_empty() => format!("{}\n", GATEWAYS.none),
        gateways => render_table(format, &GATEWAYS, &gateways),
    };
    shown.push('\n');
    for name in ["database", "redis"] {
        shown.push_str(&format!("{name:<14}{}\n", server(&system[name].clone().into())));
    }
    let mut settings = members(system, "settings");
    let all = settings.len();
    if format == Format::Table {
        settings.retain(|setting| setting["source"] != "default");
    }
    if !settings.is_empty() {
        shown.push_str(&format!("\n{}", render_table(format, &SETTINGS, &settings)));
    }
    match all - settings.len() {
        0 => shown,
        hidden => format!("{shown}\n{hidden} further settings have their defaults; -o wide shows them\n"),
    }
}

/// Returns the version of a server and the time of its answer. Only Redis can be absent.
fn server(server: &Item) -> String {
    match (text(server, "version").as_str(), server["latencySeconds"].as_f64()) {
        ("", _) if server.text() == "null" => "none: the queue is in the process of the gateway".to_owned(),
        ("", _) => "does not answer".to_owned(),
        (version, None) => version.to_owned(),
        (version, Some(latency)) if latency < 0.001 => format!("{version}, answers within 1ms"),
        (version, Some(latency)) => format!("{version}, answers in {}", show_seconds(latency)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_parts_are_described() {
        let gateway =
            json!({"id": "66ff", "host": "web-1", "version": "0.1.0", "startedAt": "S", "lastSeenAt": "L"});
        let setting = |name: &str, source: &str| json!({"name": name, "value": "1", "source": source});
        let system: Item = json!({
            "gateways": [gateway], "database": {"version": "MariaDB 10.11.6", "latencySeconds": 0.002},
            "settings": [setting("--a", "flag"), setting("--b", "default")],
        })
        .into();
        let shown = describe(&system, Format::Table);
        for part in [
            "66ff     web-1  0.1.0",
            "database      MariaDB 10.11.6, answers in 2ms\n",
            "redis         none: ",
            "--a      1      flag\n",
            "\n1 further settings",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let wide = describe(&system, Format::Wide);
        assert!(wide.contains("--b      1      default\n") && !wide.contains("further"), "{wide}");
        let near = json!({"version": "SQLite 3.51.3", "latencySeconds": 0.0004});
        assert_eq!(server(&near.into()), "SQLite 3.51.3, answers within 1ms");
        assert_eq!(server(&json!({"version": null, "latencySeconds": null}).into()), "does not answer");
    }
}
