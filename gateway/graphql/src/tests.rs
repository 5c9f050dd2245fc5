//! Tests of the schema as a whole.

use serde_json::Value as Json;

use crate::config::Config;
use crate::language::{Coerced, Language};
use crate::schema::{builder, sdl};

const INTROSPECTION: &str = r"
query IntrospectionQuery {
  __schema {
    description
    queryType { name } mutationType { name } subscriptionType { name }
    types { ...FullType }
    directives { name description locations args { ...InputValue } }
  }
}
fragment FullType on __Type {
  kind name description specifiedByURL
  fields(includeDeprecated: true) {
    name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason
  }
  inputFields { ...InputValue }
  interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef }
}
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type {
  kind name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
    ofType { kind name ofType { kind name } } } } } } }
}";

async fn introspect() -> Json {
    let response = builder().finish().execute(INTROSPECTION).await;
    assert!(response.errors.is_empty(), "{:?}", response.errors);
    response.data.into_json().unwrap()
}

fn list<'a>(json: &'a Json, name: &str) -> impl Iterator<Item = &'a Json> {
    json[name].as_array().into_iter().flatten()
}

#[tokio::test]
async fn all_types_and_fields_have_descriptions() {
    let schema = introspect().await;
    let mut missing = Vec::new();
    let mut described = 0;
    let mut look = |path: String, json: &Json| match json["description"].as_str() {
        Some(text) if !text.trim().is_empty() => described += 1,
        _ => missing.push(path),
    };
    for kind in list(&schema["__schema"], "types") {
        let name = kind["name"].as_str().unwrap();
        // The types of the specification have their own descriptions.
        if name.starts_with("__") || ["Boolean", "Float", "ID", "Int", "String"].contains(&name) {
            continue;
        }
        look(name.to_owned(), kind);
        for part in ["fields", "inputFields", "enumValues"] {
            for member in list(kind, part) {
                let path = format!("{name}.{}", member["name"].as_str().unwrap());
                look(path.clone(), member);
                for argument in list(member, "args") {
                    look(format!("{path}({})", argument["name"].as_str().unwrap()), argument);
                }
            }
        }
    }
    assert!(missing.is_empty(), "without a description: {missing:#?}");
    assert!(described > 80, "only {described} descriptions were found");
}

#[tokio::test]
async fn custom_scalars_have_a_specification_url() {
    let schema = introspect().await;
    for name in ["Decimal", "DateTime"] {
        let scalar = list(&schema["__schema"], "types").find(|kind| kind["name"] == name).unwrap();
        assert!(scalar["specifiedByURL"].as_str().unwrap().starts_with("https://"), "{name}");
    }
}

#[test]
fn committed_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema.graphql");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == sdl(),
        "schema.graphql is stale; write it again with `cargo run -- schema > schema.graphql`"
    );
}

/// The introspection query of tools is within the default limits.
#[test]
fn full_introspection_is_within_the_limits() {
    let limits = Config::default();
    let document = Language::new().read(INTROSPECTION, &limits).ok().unwrap();
    crate::limits::check_variables(&document.ast, None, &Coerced::default(), &limits).unwrap();
}
