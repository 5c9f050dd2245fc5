//! Reads the parameters of a request, from the JSON of a body or a websocket message or from the
//! query of a URL. Strict about types, so that a client's mistake is named and not guessed away.

use async_graphql::Variables;
use serde_json::{Map, Value};

/// What a client wants to run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Params {
    /// The document.
    pub(crate) query: String,
    /// Which of its operations.
    pub(crate) operation_name: Option<String>,
    /// The values of its variables.
    pub(crate) variables: Variables,
}

/// What is wrong with the parameters, as a sentence.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct BadParams(String);

impl BadParams {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Params {
    /// From the bytes of a body.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, BadParams> {
        let json = serde_json::from_slice(body)
            .map_err(|error| BadParams::new(format!("the body is not JSON: {error}")))?;
        Self::from_json(json)
    }

    /// From a JSON value. Members with other names are ignored, as the specification asks.
    pub(crate) fn from_json(json: Value) -> Result<Self, BadParams> {
        let mut members = match json {
            Value::Object(members) => members,
            Value::Array(_) => {
                return Err(BadParams::new("several operations in one request are not supported"));
            }
            _ => return Err(BadParams::new("the request must be a JSON object")),
        };
        let query = match members.remove("query") {
            Some(Value::String(query)) => query,
            Some(_) => return Err(BadParams::new("query must be a string")),
            None => return Err(BadParams::new("query is missing: it must be a GraphQL document")),
        };
        let operation_name = match members.remove("operationName") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
            Some(_) => return Err(BadParams::new("operationName must be a string or null")),
        };
        let variables = object("variables", members.remove("variables"))?;
        object("extensions", members.remove("extensions"))?;
        Ok(Self { query, operation_name, variables: Variables::from_json(Value::Object(variables)) })
    }

    /// From the query of a URL. Empty parameters count as absent.
    pub(crate) fn from_url_query(text: &str) -> Result<Self, BadParams> {
        let mut members = Map::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let value = match name.as_ref() {
                _ if value.is_empty() => continue,
                "query" | "operationName" => Value::String(value.into_owned()),
                "variables" | "extensions" => serde_json::from_str(&value)
                    .map_err(|error| BadParams::new(format!("{name} is not JSON: {error}")))?,
                _ => continue,
            };
            if members.insert(name.clone().into_owned(), value).is_some() {
                return Err(BadParams::new(format!("{name} is given more than once")));
            }
        }
        Self::from_json(Value::Object(members))
    }
}

fn object(name: &str, value: Option<Value>) -> Result<Map<String, Value>, BadParams> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(BadParams::new(format!("{name} must be an object or null"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        Params::from_body(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_full_request_is_read() {
        let body = r#"{"query":"query A { a }","operationName":"A","variables":{"x":[1]},"extensions":{},"other":1}"#;
        let params = Params::from_body(body.as_bytes()).unwrap();
        assert_eq!(params.query, "query A { a }");
        assert_eq!(params.operation_name.as_deref(), Some("A"));
        assert_eq!(params.variables.len(), 1);
    }

    #[test]
    fn null_and_empty_are_absent() {
        let body = r#"{"query":"{a}","operationName":null,"variables":null,"extensions":null}"#;
        let bare = Params { query: "{a}".to_owned(), ..Params::default() };
        assert_eq!(Params::from_body(body.as_bytes()).unwrap(), bare);
        assert_eq!(Params::from_url_query("query=%7Ba%7D&variables=&operationName=").unwrap(), bare);
    }

    #[test]
    fn wrong_shapes_are_named() {
        for (body, word) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("5", "object"),
            ("[]", "several"),
            (r#"[{"query":"{a}"}]"#, "several"),
            ("{}", "query is missing"),
            (r#"{"query":5}"#, "query must"),
            (r#"{"query":null}"#, "query must"),
            (r#"{"query":"{a}","operationName":5}"#, "operationName"),
            (r#"{"query":"{a}","variables":[]}"#, "variables"),
            (r#"{"query":"{a}","variables":"{}"}"#, "variables"),
            (r#"{"query":"{a}","extensions":"x"}"#, "extensions"),
        ] {
            assert!(refusal(body).contains(word), "{body}: {}", refusal(body));
        }
        assert!(Params::from_url_query("query=a&query=b").is_err());
        assert!(Params::from_url_query("query=a&variables=%7B").is_err());
    }
}
