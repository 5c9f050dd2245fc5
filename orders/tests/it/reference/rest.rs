//! `docs/reference/rest.md`, from the OpenAPI document.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Map, Value};

use super::{HOW_TO_WRITE, cell, compare, first_sentence, grouped, link};

/// The order of the methods of a path.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// A list of this length or more is on the page only where its schema is described.
const LONG_ENUM: usize = 10;

#[test]
fn the_reference_describes_every_operation_of_rest() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_orders")).arg("openapi").output().expect("the program starts");
    let document: Value = serde_json::from_slice(&output.stdout).expect("the document is JSON");
    compare("rest.md", &page(&document));
}

fn page(document: &Value) -> String {
    let mut page = format!(
        "# REST API\n\n{HOW_TO_WRITE}\n\n{}\n\n[Use the REST API](../guides/rest.md) is the guide. A gateway serves \
         this reference as OpenAPI at `/openapi.json`, and\n`/docs` sends requests to it.\n",
        text(&document["info"]["description"])
    );
    let tags = document["tags"].as_array().expect("the document has tags");
    page.push_str("\n| operation | |\n|---|---|\n");
    for (method, path, operation) in operations(document) {
        let anchor = anchor(method, path);
        let summary = first_sentence(text(&operation["summary"]));
        let _ = writeln!(page, "| [`{} {path}`](#{anchor}) | {summary} |", method.to_uppercase());
    }
    for tag in tags {
        let name = text(&tag["name"]);
        let _ = write!(page, "\n## {}\n\n{}\n", capitalised(name), text(&tag["description"]));
        for (method, path, operation) in operations(document) {
            if operation["tags"][0] == *name {
                describe_operation(&mut page, method, path, operation);
            }
        }
    }
    page.push_str("\n## Schemas\n");
    for (name, schema) in object(&document["components"]["schemas"]) {
        describe_schema(&mut page, name, schema);
    }
    page
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    object(&document["paths"]).iter().flat_map(|(path, item)| {
        METHODS.into_iter().filter_map(move |method| Some((method, path.as_str(), item.get(method)?)))
    })
}

fn describe_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = write!(page, "\n### `{} {path}`\n\n{}\n", method.to_uppercase(), text(&operation["summary"]));
    if let Some(parameters) = operation["parameters"].as_array() {
        page.push_str("\n| parameter | in | type | limits | |\n|---|---|---|---|---|\n");
        for parameter in parameters {
            let schema = &parameter["schema"];
            let required = if parameter["required"] == true { "required. " } else { "" };
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {required}{} |",
                text(&parameter["name"]),
                text(&parameter["in"]),
                type_of(schema),
                limits(schema),
                cell(text(&parameter["description"]))
            );
        }
    }
    let body = &operation["requestBody"];
    if let Some(content) = body["content"].as_object() {
        let kinds = content.iter().map(|(kind, media)| format!("`{kind}` ({})", type_of(&media["schema"])));
        let optional = if body["required"] == true { "" } else { ", optional" };
        let _ = write!(page, "\nBody{optional}: {}.\n", kinds.collect::<Vec<_>>().join(", "));
    }
    page.push_str("\n| status | body | |\n|---|---|---|\n");
    for (status, response) in object(&operation["responses"]) {
        let _ = writeln!(page, "| {status} | {} | {} |", bodies(response), described(response));
    }
}

/// The types of the bodies of a response, each once.
fn bodies(response: &Value) -> String {
    let mut kinds: Vec<String> = Vec::new();
    for (kind, media) in response["content"].as_object().into_iter().flatten() {
        let described = match kind.as_str() {
            "application/json" | "application/problem+json" => type_of(&media["schema"]),
            other => format!("`{other}`"),
        };
        if !kinds.contains(&described) {
            kinds.push(described);
        }
    }
    kinds.join(", ")
}

/// The description of a response, with its headers.
fn described(response: &Value) -> String {
    let mut described = cell(text(&response["description"]));
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let _ = write!(described, " `{name}`: {}", cell(text(&header["description"])));
    }
    described
}

fn describe_schema(page: &mut String, name: &str, schema: &Value) {
    let _ = write!(page, "\n### {name}\n\n{}\n", text(&schema["description"]));
    if let Some(fields) = schema["properties"].as_object() {
        let required = schema["required"].as_array();
        let is_required = |field: &str| required.is_some_and(|names| names.iter().any(|name| name == field));
        page.push_str("\n| field | type | limits | |\n|---|---|---|---|\n");
        for (field, schema) in fields {
            let presence = if is_required(field) { "" } else { "optional. " };
            let _ = writeln!(
                page,
                "| `{field}` | {} | {} | {presence}{} |",
                type_of(schema),
                limits(schema),
                cell(text(&schema["description"]))
            );
        }
    } else if let Some(values) = schema["enum"].as_array() {
        let _ = write!(page, "\nValues: {}.\n", code_list(values));
    } else {
        let limits = limits(schema);
        let limits = if limits.is_empty() { limits } else { format!(", {limits}") };
        let _ = write!(page, "\nType: {}{limits}.\n", type_of(schema));
    }
}

/// The type of a schema, with a link if it has a name.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return link(name);
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        let mut variants: Vec<_> = variants.iter().map(type_of).collect();
        variants.dedup();
        return variants.join(" or ");
    }
    let named = |name: &str| match (name, schema["format"].as_str()) {
        ("array", _) => format!("array of {}", type_of(&schema["items"])),
        ("string", Some(format)) => format!("string ({format})"),
        _ => name.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => named(name),
        Value::Array(names) => names.iter().map(|name| named(text(name))).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

/// The limits of a value. Patterns are in the OpenAPI document only.
fn limits(schema: &Value) -> String {
    let range = |least: &str, most: &str, unit: &str| {
        let number = |key: &str| schema[key].as_u64();
        match (number(least), number(most)) {
            (Some(least), Some(most)) => Some(format!("{} to {}{unit}", grouped(least), grouped(most))),
            (Some(least), None) if least > 0 => Some(format!("at least {}{unit}", grouped(least))),
            (None, Some(most)) => Some(format!("at most {}{unit}", grouped(most))),
            _ => None,
        }
    };
    let values = schema["enum"].as_array().map(|values| match values.len() {
        0..LONG_ENUM => code_list(values),
        _ => format!("one of {} values", values.len()),
    });
    let found = [
        values,
        range("minimum", "maximum", ""),
        range("minLength", "maxLength", " characters"),
        range("minItems", "maxItems", " entries"),
    ];
    found.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn code_list(values: &[Value]) -> String {
    values.iter().map(|value| format!("`{}`", text(value))).collect::<Vec<_>>().join(", ")
}

/// The anchor of the heading of an operation.
fn anchor(method: &str, path: &str) -> String {
    let kept = path.chars().filter(|character| character.is_alphanumeric() || *character == '-');
    format!("{method}-{}", kept.collect::<String>().to_ascii_lowercase())
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("the document has an object here")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
