//! The content of the file of contexts, which is JSON.
//!
//! An error names the line and the field, and never repeats a value, because values contain keys.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::context::{Context, Contexts, Credential, MAX_CONTEXTS, MAX_TOKEN_BYTES};
use crate::values::{self, ContextName, ValueError};

/// Maximum length of the name of an unknown field in an error. API keys are longer.
const MAX_SHOWN_FIELD: usize = 32;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    contexts: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    name: String,
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// Parses the content of the file. The error completes "`the file`: …".
pub(super) fn parse(content: &[u8]) -> Result<Contexts, String> {
    let document: Document = serde_json::from_slice(content).map_err(|error| describe(&error))?;
    check_count(document.contexts.len())?;
    let mut contexts = Contexts::default();
    for entry in document.contexts {
        let name = parse_name(&entry.name)?;
        let context = parse_entry(entry).map_err(|problem| format!("the context {name}: {problem}"))?;
        if contexts.by_name.insert(name.clone(), context).is_some() {
            return Err(format!("two contexts have the name {name}"));
        }
    }
    contexts.current = document.current.as_deref().map(parse_name).transpose()?;
    match contexts.current.as_ref().filter(|name| !contexts.by_name.contains_key(name)) {
        Some(name) => Err(format!("the field `current` names the context {name}, which does not exist")),
        None => Ok(contexts),
    }
}

/// Returns the content of the file.
pub(super) fn to_json(contexts: &Contexts) -> Result<Vec<u8>, String> {
    check_count(contexts.by_name.len())?;
    let entries = contexts.by_name.iter().map(|(name, context)| to_entry(name, context));
    let document =
        Document { current: contexts.current.as_ref().map(ToString::to_string), contexts: entries.collect() };
    let mut content = serde_json::to_vec_pretty(&document).map_err(|error| error.to_string())?;
    content.push(b'\n');
    Ok(content)
}

fn check_count(contexts: usize) -> Result<(), String> {
    match contexts {
        0..=MAX_CONTEXTS => Ok(()),
        _ => Err(format!("it would have {contexts} contexts, and at most {MAX_CONTEXTS} are possible")),
    }
}

/// Parses a name. A name that is not valid is not repeated, because it can be a key.
fn parse_name(name: &str) -> Result<ContextName, String> {
    name.parse().map_err(|ValueError { hint, .. }| format!("the name of a context is not valid: {hint}"))
}

fn parse_entry(entry: Entry) -> Result<Context, String> {
    let url = values::context_url(&entry.url).map_err(|error| format!("the field `url`: {error}"))?;
    let credential = match (entry.token, entry.token_file) {
        (Some(_), Some(_)) => return Err("the fields `token` and `tokenFile` are both set".to_owned()),
        (Some(token), None) => {
            let token = parse_token(&token).map_err(|problem| format!("the field `token`: {problem}"))?;
            Some(Credential::Token(token))
        }
        (None, file) => file.map(Credential::File),
    };
    if let Some(Credential::File(file)) = &credential {
        check_absolute("tokenFile", file)?;
    }
    if let Some(file) = &entry.ca {
        check_absolute("ca", file)?;
    }
    Ok(Context { url, ca: entry.ca, credential })
}

fn parse_token(token: &str) -> Result<SecretString, String> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(format!("it is longer than {MAX_TOKEN_BYTES} bytes"));
    }
    values::secret(token).map_err(|error| error.to_string())
}

/// Refuses a relative path, which would depend on the folder in which a command runs.
fn check_absolute(field: &str, file: &Path) -> Result<(), String> {
    match file.is_absolute() {
        true => Ok(()),
        false => Err(format!("the field `{field}` is not an absolute path")),
    }
}

fn to_entry(name: &ContextName, context: &Context) -> Entry {
    let (token, token_file) = match &context.credential {
        Some(Credential::Token(token)) => (Some(token.expose_secret().to_owned()), None),
        Some(Credential::File(file)) => (None, Some(file.clone())),
        None => (None, None),
    };
    Entry {
        name: name.to_string(),
        url: context.url.expose_secret().to_string(),
        ca: context.ca.clone(),
        token_file,
        token,
    }
}

/// Describes an error of the JSON parser without the values that it repeats.
fn describe(error: &serde_json::Error) -> String {
    let line = error.line();
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
    if !error.is_data() {
        return format!("line {line}: it is not JSON: {message}");
    }
    let is_shown = |field: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        field.len() <= MAX_SHOWN_FIELD && field.chars().all(plain)
    };
    // The name of an unknown field can contain this separator, the expected names cannot.
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.rsplit_once("`, expected "));
    match (unknown, expected) {
        (Some((field, expected)), _) if is_shown(field) => {
            format!("line {line}: the field `{field}` is unknown, expected {expected}")
        }
        (Some((_, expected)), _) => format!("line {line}: a field is unknown, expected {expected}"),
        (None, Some(expected)) => format!("line {line}: a value has the wrong type, expected {expected}"),
        // A missing or duplicate field, which is one of ours.
        (None, None) => format!("line {line}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use gateway::access::Key;

    use super::*;

    fn token(token: &str) -> Option<Credential> {
        Some(Credential::Token(SecretString::from(token)))
    }

    #[test]
    fn written_contexts_are_read() {
        let context = |url: &str, ca: Option<&str>, credential| Context {
            url: values::context_url(url).unwrap(),
            ca: ca.map(PathBuf::from),
            credential,
        };
        let name = |name: &str| name.parse::<ContextName>().unwrap();
        let key = Key::generate();
        let contexts = Contexts {
            current: Some(name("b")),
            by_name: [
                (name("a"), context("http://127.0.0.1:3000", None, None)),
                (name("b"), context("https://orders.example/x", Some("/ca.crt"), token(key.expose()))),
                (name("c"), context("https://c", None, Some(Credential::File("/c.key".into())))),
            ]
            .into(),
        };
        let content = to_json(&contexts).unwrap();
        let read = parse(&content).unwrap();
        assert_eq!(to_json(&read).unwrap(), content);
        assert_eq!((&read.current, read.by_name.len()), (&contexts.current, 3));
        assert_eq!(read.by_name[&name("b")].credential.as_ref().unwrap().key_id().unwrap(), key.id());
        assert!(parse(&to_json(&Contexts::default()).unwrap()).unwrap().by_name.is_empty());
        assert!(!format!("{contexts:?}").contains(key.expose()), "Debug shows no key");
    }

    #[test]
    fn errors_name_the_line_and_the_field_and_no_value() {
        let key = Key::generate();
        let hush = key.expose();
        let entry = |fields: &str| format!("{{\"contexts\": [\n{{{fields}}}\n]}}");
        let valid = "\"name\": \"a\", \"url\": \"https://a\"";
        for (content, parts) in [
            (String::new(), &["line 1", "not JSON"][..]),
            ("[]".to_owned(), &["line 1", "wrong type"]),
            ("{\"contexts\": [}".to_owned(), &["line 1", "not JSON", "expected value"]),
            (format!("{{\"contexts\": \"{hush}\"}}"), &["line 1", "wrong type", "sequence"]),
            (format!("{{\"contexts\": [], \"{hush}\": 1}}"), &["line 1", "a field is unknown", "`current`"]),
            (
                entry(&format!("{valid},\n\"tokens\": \"{hush}\"")),
                &["line 3", "`tokens` is unknown", "`token`"],
            ),
            (entry(&format!("{valid}, \"token\": {{\"{hush}\": 1}}")), &["line 2", "wrong type", "string"]),
            (
                entry(&format!("{valid}, \"token\": [\"{hush}, expected x\"]")),
                &["line 2", "wrong type", "string"],
            ),
            (entry("\"name\": \"a\""), &["line 2", "missing field `url`"]),
            (entry(&format!("{valid}, \"name\": \"a\"")), &["line 2", "duplicate field `name`"]),
            (entry(&format!("\"name\": \"{hush}\", \"url\": \"https://a\"")), &["name", "lower-case"]),
            (entry(&format!("\"name\": \"a\", \"url\": \"{hush}\"")), &["context a", "`url`"]),
            (entry(&format!("\"name\": \"a\", \"url\": \"https://{hush}@a\"")), &["context a", "`url`"]),
            (entry(&format!("{valid}, \"token\": \"{hush} \"")), &["context a", "`token`", "whitespace"]),
            (entry(&format!("{valid}, \"token\": \"{}\"", hush.repeat(200))), &["`token`", "8192 bytes"]),
            (
                entry(&format!("{valid}, \"token\": \"{hush}\", \"tokenFile\": \"/a\"")),
                &["`tokenFile`", "both"],
            ),
            (entry(&format!("{valid}, \"tokenFile\": \"a.key\"")), &["`tokenFile`", "absolute"]),
            (entry(&format!("{valid}, \"ca\": \"ca.crt\"")), &["`ca`", "absolute"]),
            (entry(&format!("{valid}}}, {{{valid}")), &["two contexts", "name a"]),
            ("{\"current\": \"a\", \"contexts\": []}".to_owned(), &["`current`", "does not exist"]),
        ] {
            let problem = parse(content.as_bytes()).unwrap_err();
            for part in parts {
                assert!(problem.contains(part), "{part} is missing in {problem:?} of {content}");
            }
            assert!(!problem.contains(hush), "{problem}");
        }
        assert!(parse(b"{\"contexts\": [], \"current\": \"\xff\"}").is_err());
    }

    #[test]
    fn number_of_contexts_is_limited() {
        let entry = |number: usize| format!("{{\"name\": \"a{number}\", \"url\": \"https://a\"}}");
        let of = |count: usize| {
            let entries: Vec<_> = (0..count).map(entry).collect();
            parse(format!("{{\"contexts\": [{}]}}", entries.join(",")).as_bytes())
        };
        let mut full = of(MAX_CONTEXTS).unwrap();
        assert!(to_json(&full).is_ok());
        let another = full.by_name.values().next().unwrap().clone();
        full.by_name.insert("b".parse().unwrap(), another);
        for problem in [to_json(&full).unwrap_err(), of(MAX_CONTEXTS + 1).unwrap_err()] {
            assert!(problem.contains("at most 100"), "{problem}");
        }
        limits_page::row("contexts of a user", &MAX_CONTEXTS.to_string());
        limits_page::row("key or token of a context", &limits_page::bytes(MAX_TOKEN_BYTES));
    }
}
