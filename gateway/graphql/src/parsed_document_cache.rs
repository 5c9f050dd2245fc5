//! Documents that were parsed and validated lately.
//!
//! Clients send the same few documents again and again, and reading one costs more than everything that
//! HTTP does for its request. What is kept is within the limits of the text; what depends on variables
//! is checked each time.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;

use crate::language::Document;

/// Most documents that are kept.
const MAX_DOCUMENTS: usize = 500;
/// The maximum total length of their sources. A parsed document takes up to about a hundred times its length.
const MAX_BYTES: usize = 64 * 1024;

/// The most recently used documents by their sources.
pub(crate) struct ParsedDocumentCache(Mutex<Entries>);

struct Entries {
    documents: LruCache<Arc<str>, Arc<Document>>,
    bytes: usize,
}

impl Default for ParsedDocumentCache {
    fn default() -> Self {
        Self(Mutex::new(Entries { documents: LruCache::new(MAX_DOCUMENTS), bytes: 0 }))
    }
}

impl ParsedDocumentCache {
    /// The document with this text, if it is kept.
    pub(crate) fn get(&self, text: &str) -> Option<Arc<Document>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).documents.get(text).cloned()
    }

    /// Stores a document, and evicts the least recently used ones.
    pub(crate) fn insert(&self, text: &Arc<str>, document: &Arc<Document>) {
        if text.len() > MAX_BYTES {
            return;
        }
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.documents.contains_key(text) {
            return;
        }
        while entries.documents.len() >= MAX_DOCUMENTS || entries.bytes + text.len() > MAX_BYTES {
            let Some((evicted, _)) = entries.documents.remove_lru() else { break };
            entries.bytes -= evicted.len();
        }
        entries.bytes += text.len();
        entries.documents.insert(Arc::clone(text), Arc::clone(document));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::language::Language;

    #[test]
    fn the_least_recently_used_document_is_evicted() {
        let cache = ParsedDocumentCache::default();
        let read = Language::new().read("{ __typename }", &Config::default());
        let document = Arc::new(read.ok().unwrap());
        let text = |n: usize, length: usize| Arc::<str>::from(format!("{}{n:04}", " ".repeat(length - 4)));
        for n in 0..MAX_DOCUMENTS {
            cache.insert(&text(n, 4), &document);
            cache.insert(&text(n, 4), &document);
        }
        assert!(cache.get(&text(0, 4)).is_some(), "and used just now");
        cache.insert(&text(MAX_DOCUMENTS, 4), &document);
        assert!(cache.get(&text(0, 4)).is_some() && cache.get(&text(1, 4)).is_none());
        // One that takes all the room.
        cache.insert(&text(0, MAX_BYTES + 1), &document);
        assert!(cache.get(&text(0, MAX_BYTES + 1)).is_none() && cache.get(&text(0, 4)).is_some());
        cache.insert(&text(0, MAX_BYTES), &document);
        assert!(cache.get(&text(0, MAX_BYTES)).is_some() && cache.get(&text(0, 4)).is_none());
        assert_eq!(cache.0.lock().unwrap().bytes, MAX_BYTES);
    }
}
