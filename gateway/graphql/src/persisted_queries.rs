//! Resolves documents that a client identifies by a hash or a name.
//!
//! **Automatic persisted queries**, Apollo's protocol: a client sends the hash of a document. If the gateway does not
//! know the hash, it responds with an error and the client sends the document with its hash. Later requests need only
//! the hash. Only valid documents are stored, up to a number and a total size; the least recently used ones are evicted
//! first.
//!
//! **Trusted documents**: only the documents of a file run. A request identifies a document by its name in the file, by
//! its hash, or by its exact source.
//!
//! Hand-written: the extension of async-graphql (`apollo_persisted_queries`) stores a document before it is validated,
//! which lets invalid documents evict valid ones, and it has no trusted documents. The map is hashlink's `LruCache`;
//! this file adds the limit of bytes. The weighted caches quick_cache and moka were not measured.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::ErrorCode;
use hashlink::LruCache;
use metrics::counter;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::errors::request_error;
use crate::execution_result::ExecutionResult;
use crate::language::{Coerced, DocumentError, Language};
use crate::limits;
use crate::request::{Params, PersistedQuery};

/// Optional prefix of a hash in `documentId`.
const SHA256: &str = "sha256:";

type Hash = [u8; 32];

/// The source of the documents of requests.
pub(crate) enum DocumentSource {
    /// Each request contains its document.
    Inline,
    /// A request contains its document, or the hash of a document that was sent before.
    Persisted(Mutex<PersistedQueryStore>),
    /// Only these documents run.
    Trusted(Arc<TrustedDocuments>),
}

/// The document of a request.
#[derive(Debug)]
pub(crate) struct ResolvedDocument {
    pub(crate) text: Arc<str>,
    /// The hash under which it is stored after it passed validation.
    pub(crate) register: Option<Hash>,
}

impl DocumentSource {
    pub(crate) fn new(limits: &Config, trusted: Option<Arc<TrustedDocuments>>) -> Self {
        match trusted {
            Some(trusted) => Self::Trusted(trusted),
            None if limits.max_persisted_queries == 0 => Self::Inline,
            None => Self::Persisted(Mutex::new(PersistedQueryStore::new(limits))),
        }
    }

    /// Returns the document of a request.
    pub(crate) fn find(&self, params: &Params) -> Result<ResolvedDocument, ExecutionResult> {
        if params.persisted.as_ref().is_some_and(|persisted| persisted.version != 1) {
            return Err(refused(ErrorCode::InvalidInput, "Unsupported persisted query version"));
        }
        match self {
            Self::Trusted(trusted) => trusted.find(params),
            Self::Persisted(store) => {
                let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                store.find(params)
            }
            Self::Inline => match (&params.persisted, &params.query) {
                (None, Some(text)) => Ok(ResolvedDocument { text: text.as_str().into(), register: None }),
                // After this error clients send only whole documents.
                _ => Err(not_found(ErrorCode::PersistedQueryNotSupported, "PersistedQueryNotSupported")),
            },
        }
    }

    /// Stores a valid document under its hash.
    pub(crate) fn register(&self, hash: Hash, text: &Arc<str>) {
        match self {
            Self::Persisted(store) => {
                store.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, Arc::clone(text));
                counter!("orders_graphql_persisted_queries_total", "outcome" => "registered").increment(1);
            }
            Self::Inline | Self::Trusted(_) => {}
        }
    }
}

/// Counts a miss and returns its error. Apollo's clients read the message and expect status 200.
fn not_found(code: ErrorCode, message: &str) -> ExecutionResult {
    counter!("orders_graphql_persisted_queries_total", "outcome" => "miss").increment(1);
    refused(code, message)
}

fn refused(code: ErrorCode, message: &str) -> ExecutionResult {
    ExecutionResult::refused(code, request_error(code, message))
}

/// The most recently used documents, by hash.
pub(crate) struct PersistedQueryStore {
    documents: LruCache<Hash, Arc<str>>,
    bytes: usize,
    max_bytes: usize,
}

impl PersistedQueryStore {
    fn new(limits: &Config) -> Self {
        let documents = LruCache::new(limits.max_persisted_queries);
        Self { documents, bytes: 0, max_bytes: limits.max_persisted_query_bytes }
    }

    fn find(&mut self, params: &Params) -> Result<ResolvedDocument, ExecutionResult> {
        let id = params.document_id.as_deref().map(|id| id.strip_prefix(SHA256).unwrap_or(id));
        let hash = params.persisted.as_ref().map(|persisted| persisted.hash.as_str());
        let Some(text) = &params.query else {
            let known = hash.or(id).and_then(from_hex).and_then(|hash| self.documents.get(&hash));
            return match known {
                Some(text) => {
                    counter!("orders_graphql_persisted_queries_total", "outcome" => "hit").increment(1);
                    Ok(ResolvedDocument { text: Arc::clone(text), register: None })
                }
                None => Err(not_found(ErrorCode::PersistedQueryNotFound, "PersistedQueryNotFound")),
            };
        };
        let register = match hash {
            None => None,
            Some(hash) => {
                let computed = sha256(text);
                if from_hex(hash) != Some(computed) {
                    return Err(mismatch());
                }
                Some(computed).filter(|hash| self.documents.get(hash).is_none())
            }
        };
        Ok(ResolvedDocument { text: text.as_str().into(), register })
    }

    fn insert(&mut self, hash: Hash, text: Arc<str>) {
        if text.len() > self.max_bytes || self.documents.contains_key(&hash) {
            return;
        }
        while self.documents.len() >= self.documents.capacity() || self.bytes + text.len() > self.max_bytes {
            let Some((_, evicted)) = self.documents.remove_lru() else { break };
            self.bytes -= evicted.len();
        }
        self.bytes += text.len();
        self.documents.insert(hash, text);
    }
}

fn mismatch() -> ExecutionResult {
    refused(ErrorCode::InvalidInput, "provided sha does not match query")
}

/// The documents of the file; a gateway with trusted documents runs no others.
#[derive(Debug, Default)]
pub struct TrustedDocuments {
    /// By name, without `sha256:`.
    named: HashMap<String, Arc<str>>,
    hashed: HashMap<Hash, Arc<str>>,
}

impl TrustedDocuments {
    /// Reads a JSON object of names and documents, and validates every document.
    ///
    /// GraphQL Code Generator writes this format to `persisted-documents.json`.
    ///
    /// # Errors
    /// A sentence about the first error: the JSON is invalid, or a document does not parse, exceeds a limit or does not fit
    /// the schema.
    pub fn read(json: &str, limits: &Config) -> Result<Self, String> {
        let listed: std::collections::BTreeMap<String, String> = serde_json::from_str(json)
            .map_err(|error| format!("it is not a JSON object of names and documents: {error}"))?;
        if listed.is_empty() {
            return Err("it lists no documents, so nothing could run".to_owned());
        }
        let language = Language::new();
        let mut documents = Self::default();
        for (name, text) in listed {
            let failure = |problem: String| format!("the document {name:?} {problem}");
            let over_limit =
                |exceeded: limits::LimitExceeded| failure(format!("is over a limit: {}", exceeded.message));
            let document = language.read(&text, limits).map_err(|error| match error {
                DocumentError::LimitExceeded(exceeded) => over_limit(exceeded),
                DocumentError::Invalid(errors) => {
                    let texts: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
                    failure(format!("cannot be used: {}", texts.join("; ")))
                }
            })?;
            limits::check_variables(&document.ast, None, &Coerced::default(), limits).map_err(over_limit)?;
            let text: Arc<str> = text.into();
            documents.hashed.insert(sha256(&text), Arc::clone(&text));
            documents.named.insert(name.strip_prefix(SHA256).unwrap_or(&name).to_owned(), text);
        }
        Ok(documents)
    }

    fn find(&self, params: &Params) -> Result<ResolvedDocument, ExecutionResult> {
        let named = |name: &str| {
            let name = name.strip_prefix(SHA256).unwrap_or(name);
            self.named.get(name).or_else(|| self.hashed.get(&from_hex(name)?))
        };
        let text = match (&params.document_id, &params.persisted, &params.query) {
            (Some(id), _, _) => named(id),
            (None, Some(PersistedQuery { hash, .. }), _) => named(hash),
            (None, None, Some(text)) => self.hashed.get(&sha256(text)),
            (None, None, None) => None,
        };
        match text {
            Some(text) if params.query.as_deref().is_some_and(|sent| sent != &**text) => Err(mismatch()),
            Some(text) => Ok(ResolvedDocument { text: Arc::clone(text), register: None }),
            None => {
                counter!("orders_graphql_rejections_total", "reason" => "trusted_documents").increment(1);
                let message = "only listed documents run here, and this one is not listed";
                Err(refused(ErrorCode::DocumentNotTrusted, message))
            }
        }
    }
}

fn sha256(text: &str) -> Hash {
    Sha256::digest(text).into()
}

fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (n, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Config {
        Config::default()
    }

    #[test]
    fn store_is_limited_in_number_and_bytes() {
        let mut store = PersistedQueryStore::new(&Config {
            max_persisted_queries: 3,
            max_persisted_query_bytes: 100,
            ..limits()
        });
        let insert = |store: &mut PersistedQueryStore, text: &str| store.insert(sha256(text), text.into());
        let contains =
            |store: &mut PersistedQueryStore, text: &str| store.documents.get(&sha256(text)).is_some();
        for text in ["a", "b", "c"] {
            insert(&mut store, text);
        }
        assert!(contains(&mut store, "a"));
        insert(&mut store, "d");
        assert!(
            contains(&mut store, "a") && !contains(&mut store, "b"),
            "the least recently used one is evicted"
        );
        insert(&mut store, &"x".repeat(99));
        assert_eq!((store.documents.len(), store.bytes), (2, 100));
        insert(&mut store, &"y".repeat(101));
        assert_eq!((store.documents.len(), store.bytes), (2, 100));
    }

    #[test]
    fn error_of_a_list_names_the_document() {
        for (json, words) in [
            ("[]", "not a JSON object"),
            ("{}", "no documents"),
            (r#"{"a": 5}"#, "not a JSON object"),
            (r#"{"a": "{"}"#, "\"a\" cannot be used: "),
            (r#"{"a": "{ __typename }", "b": "{ nonsense }"}"#, "\"b\" cannot be used: "),
            (r#"{"a": "{ ...A } fragment A on Query { ...A }"}"#, "\"a\" is over a limit"),
        ] {
            let error = TrustedDocuments::read(json, &limits()).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn listed_document_is_found_by_name_hash_and_source() {
        let text = "{ __typename }";
        let hash: String = sha256(text).iter().map(|byte| format!("{byte:02x}")).collect();
        let persisted = |hash: &str| PersistedQuery { version: 1.into(), hash: hash.to_owned() };
        let by_id = |id: &str| Params { document_id: Some(id.to_owned()), ..Params::default() };
        let by_hash = |hash: &str| Params { persisted: Some(persisted(hash)), ..Params::default() };
        let by_text = |text: &str| Params { query: Some(text.to_owned()), ..Params::default() };
        for name in ["home", &hash, &format!("sha256:{hash}")] {
            let list = serde_json::json!({ name: text }).to_string();
            let trusted = TrustedDocuments::read(&list, &limits()).unwrap();
            for good in [
                by_id(name),
                by_id(&hash),
                by_id(&format!("sha256:{hash}")),
                by_hash(&hash),
                by_text(text),
                Params { query: Some(text.to_owned()), ..by_hash(&hash) },
            ] {
                assert_eq!(&*trusted.find(&good).unwrap().text, text, "{good:?}");
            }
            for bad in [
                by_id("other"),
                by_hash(&"0".repeat(64)),
                by_text("{ x: __typename }"),
                Params { query: Some("{ x: __typename }".to_owned()), ..by_hash(&hash) },
            ] {
                assert!(trusted.find(&bad).is_err(), "{bad:?}");
            }
        }
    }
}
