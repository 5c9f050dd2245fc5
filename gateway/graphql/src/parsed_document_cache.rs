//! Documents that were parsed and validated lately.
//!
//! Clients send the same few documents again and again, and reading one costs more than everything that
//! HTTP does for its request. What is kept is within the limits of the text; what depends on variables
//! is checked each time.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;

use crate::language::Document;

/// Most documents that are kept.
const DOCUMENTS: usize = 500;
/// The maximum total length of their sources. A parsed document takes up to about a hundred times its length.
const BYTES: usize = 64 * 1024;

/// The most recently used documents by their sources.
pub(crate) struct Parsed(Mutex<Kept>);

struct Kept {
    documents: LruCache<Arc<str>, Arc<Document>>,
    bytes: usize,
}

impl Default for Parsed {
    fn default() -> Self {
        Self(Mutex::new(Kept { documents: LruCache::new(DOCUMENTS), bytes: 0 }))
    }
}

impl Parsed {
    /// The document with this text, if it is kept.
    pub(crate) fn get(&self, text: &str) -> Option<Arc<Document>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).documents.get(text).cloned()
    }

    /// Stores a document, and evicts the least recently used ones.
    pub(crate) fn keep(&self, text: &Arc<str>, document: &Arc<Document>) {
        if text.len() > BYTES {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.documents.contains_key(text) {
            return;
        }
        while kept.documents.len() >= DOCUMENTS || kept.bytes + text.len() > BYTES {
            let Some((forgotten, _)) = kept.documents.remove_lru() else { break };
            kept.bytes -= forgotten.len();
        }
        kept.bytes += text.len();
        kept.documents.insert(Arc::clone(text), Arc::clone(document));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::language::Language;

    #[test]
    fn the_least_recently_used_document_is_evicted() {
        let parsed = Parsed::default();
        let read = Language::new().read("{ __typename }", &Config::default());
        let document = Arc::new(read.ok().unwrap());
        let text = |n: usize, length: usize| Arc::<str>::from(format!("{}{n:04}", " ".repeat(length - 4)));
        for n in 0..DOCUMENTS {
            parsed.keep(&text(n, 4), &document);
            parsed.keep(&text(n, 4), &document);
        }
        assert!(parsed.get(&text(0, 4)).is_some(), "and used just now");
        parsed.keep(&text(DOCUMENTS, 4), &document);
        assert!(parsed.get(&text(0, 4)).is_some() && parsed.get(&text(1, 4)).is_none());
        // One that takes all the room.
        parsed.keep(&text(0, BYTES + 1), &document);
        assert!(parsed.get(&text(0, BYTES + 1)).is_none() && parsed.get(&text(0, 4)).is_some());
        parsed.keep(&text(0, BYTES), &document);
        assert!(parsed.get(&text(0, BYTES)).is_some() && parsed.get(&text(0, 4)).is_none());
        assert_eq!(parsed.0.lock().unwrap().bytes, BYTES);
    }
}
