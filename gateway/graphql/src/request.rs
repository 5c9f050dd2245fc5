//! Reads the parameters of a request from the JSON of a body or a websocket message, or from the query of a URL.
//!
//! A parameter of a wrong type is an error that names the parameter; the gateway never guesses.

use async_graphql::Context;
use axum::http::HeaderValue;
use domain::ErrorCode;
use serde_json::{Map, Value};

/// The parameters of one operation.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Params {
    /// The document. Without it, the request has `persisted` or `document_id`.
    pub(crate) query: Option<String>,
    /// The hash of the document, for automatic persisted queries.
    pub(crate) persisted: Option<PersistedQuery>,
    /// The name of a trusted document, or a hash.
    pub(crate) document_id: Option<String>,
    /// The name of the operation to run.
    pub(crate) operation_name: Option<String>,
    /// The values of the variables.
    pub(crate) variables: Map<String, Value>,
    /// Whether the request comes from a page that may only read.
    pub(crate) read_only: bool,
    /// The id of the HTTP request, for the audit log.
    pub(crate) request_id: Option<HeaderValue>,
}

/// The id of the HTTP request of an operation. A websocket has none.
pub(crate) struct RequestId(pub(crate) Option<HeaderValue>);

impl RequestId {
    /// Returns the id of the request of a mutation.
    pub(crate) fn of(ctx: &Context<'_>) -> Option<String> {
        let Self(id) = ctx.data_opt()?;
        id.as_ref()?.to_str().ok().map(str::to_owned)
    }
}

/// `extensions.persistedQuery`.
#[derive(Debug, PartialEq)]
pub(crate) struct PersistedQuery {
    /// Version of the protocol; only 1 exists.
    pub(crate) version: Value,
    /// SHA-256 of the document, in hexadecimal.
    pub(crate) hash: String,
}

/// The operations of a body.
#[derive(Debug, PartialEq)]
pub(crate) enum Requests {
    /// One operation.
    One(Params),
    /// Several operations, which run one after the other.
    Batch(Vec<Params>),
}

/// Invalid parameters; the message is a sentence.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub(crate) struct InvalidParams {
    pub(crate) code: ErrorCode,
    message: String,
}

impl InvalidParams {
    fn new(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidInput, message: message.into() }
    }
}

impl Params {
    /// Reads a JSON value. Unknown members are ignored, as the specification requires.
    pub(crate) fn from_json(json: Value) -> Result<Self, InvalidParams> {
        let mut members = match json {
            Value::Object(members) => members,
            _ => return Err(InvalidParams::new("the request must be a JSON object")),
        };
        let operation_name = string("operationName", members.remove("operationName"))?;
        let document_id = string("documentId", members.remove("documentId"))?;
        let variables = object("variables", members.remove("variables"))?;
        let mut extensions = object("extensions", members.remove("extensions"))?;
        let persisted = extensions.remove("persistedQuery").map(persisted).transpose()?;
        let query = match members.remove("query") {
            Some(Value::String(query)) => Some(query),
            None | Some(Value::Null) if persisted.is_some() || document_id.is_some() => None,
            Some(_) => return Err(InvalidParams::new("query must be a string")),
            None => return Err(InvalidParams::new("query is missing: it must be a GraphQL document")),
        };
        Ok(Self {
            query,
            persisted,
            document_id,
            operation_name,
            variables,
            read_only: false,
            request_id: None,
        })
    }

    /// Reads the query of a URL. Empty parameters count as absent.
    pub(crate) fn from_url_query(text: &str) -> Result<Self, InvalidParams> {
        let mut members = Map::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let value = match name.as_ref() {
                _ if value.is_empty() => continue,
                "query" | "operationName" | "documentId" => Value::String(value.into_owned()),
                "variables" | "extensions" => serde_json::from_str(&value)
                    .map_err(|error| InvalidParams::new(format!("{name} is not JSON: {error}")))?,
                _ => continue,
            };
            if members.insert(name.clone().into_owned(), value).is_some() {
                return Err(InvalidParams::new(format!("{name} is given more than once")));
            }
        }
        Self::from_json(Value::Object(members))
    }
}

impl Requests {
    /// Reads the bytes of a body.
    pub(crate) fn from_body(body: &[u8]) -> Result<Self, InvalidParams> {
        let json = serde_json::from_slice(body).map_err(|error| InvalidParams {
            code: ErrorCode::MalformedJson,
            message: format!("the body is not JSON: {error}"),
        })?;
        let Value::Array(operations) = json else { return Params::from_json(json).map(Self::One) };
        let read = |(n, json)| {
            Params::from_json(json).map_err(|error| InvalidParams::new(format!("operation {n}: {error}")))
        };
        operations.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Self::Batch)
    }
}

fn persisted(value: Value) -> Result<PersistedQuery, InvalidParams> {
    let wrong = || {
        InvalidParams::new(
            "extensions.persistedQuery must be an object with a version and a sha256Hash, which is a string",
        )
    };
    let Value::Object(mut members) = value else { return Err(wrong()) };
    match (members.remove("version"), members.remove("sha256Hash")) {
        (Some(version), Some(Value::String(hash))) => Ok(PersistedQuery { version, hash }),
        _ => Err(wrong()),
    }
}

/// Reads an optional string. An empty string counts as absent.
fn string(name: &str, value: Option<Value>) -> Result<Option<String>, InvalidParams> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(_) => Err(InvalidParams::new(format!("{name} must be a string or null"))),
    }
}

fn object(name: &str, value: Option<Value>) -> Result<Map<String, Value>, InvalidParams> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(InvalidParams::new(format!("{name} must be an object or null"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Params, InvalidParams> {
        match Requests::from_body(body.as_bytes())? {
            Requests::One(params) => Ok(params),
            Requests::Batch(_) => panic!("{body} is one operation"),
        }
    }

    fn refusal(body: &str) -> String {
        Requests::from_body(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn request_with_all_members_is_read() {
        let body = r#"{"query":"query A { a }","operationName":"A","variables":{"x":[1]},"extensions":{},"other":1}"#;
        let params = read(body).unwrap();
        assert_eq!(params.query.as_deref(), Some("query A { a }"));
        assert_eq!(params.operation_name.as_deref(), Some("A"));
        assert_eq!(params.variables.len(), 1);
    }

    #[test]
    fn null_and_empty_are_absent() {
        let body = r#"{"query":"{a}","operationName":null,"variables":null,"extensions":null}"#;
        let bare = Params { query: Some("{a}".to_owned()), ..Params::default() };
        assert_eq!(read(body).unwrap(), bare);
        assert_eq!(Params::from_url_query("query=%7Ba%7D&variables=&operationName=").unwrap(), bare);
    }

    #[test]
    fn hash_or_name_replaces_the_document() {
        let hash = r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#;
        let persisted = PersistedQuery { version: 1.into(), hash: "ab".to_owned() };
        let expected = Params { persisted: Some(persisted), ..Params::default() };
        assert_eq!(read(hash).unwrap(), expected);
        let extensions =
            "extensions=%7B%22persistedQuery%22:%7B%22version%22:1,%22sha256Hash%22:%22ab%22%7D%7D";
        assert_eq!(Params::from_url_query(extensions).unwrap(), expected);
        let named = Params { document_id: Some("sha256:ab".to_owned()), ..Params::default() };
        assert_eq!(read(r#"{"documentId":"sha256:ab","query":null}"#).unwrap(), named);
        assert_eq!(Params::from_url_query("documentId=sha256:ab").unwrap(), named);
        let batch = Requests::from_body(br#"[{"query":"{a}"},{"query":"{b}"}]"#).unwrap();
        assert!(matches!(batch, Requests::Batch(operations) if operations.len() == 2));
    }

    #[test]
    fn error_names_the_invalid_member() {
        for (body, word) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("5", "object"),
            (r#"[{"query":"{a}"}, 5]"#, "operation 1: the request must"),
            (r#"[[{"query":"{a}"}]]"#, "operation 0: the request must"),
            (r#"{"documentId":5}"#, "documentId"),
            (r#"{"extensions":{"persistedQuery":5}}"#, "persistedQuery must"),
            (r#"{"extensions":{"persistedQuery":{"version":1}}}"#, "persistedQuery must"),
            (r#"{"query":5,"documentId":"x"}"#, "query must"),
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
