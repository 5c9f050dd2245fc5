use std::time::Duration;

/// The limits of the GraphQL API. Each is checked before a resolver runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Maximum length of a document, in bytes.
    pub max_document_size: usize,
    /// Maximum number of tokens in a document.
    pub max_tokens: usize,
    /// Maximum number of selections after every fragment is expanded.
    pub max_selections: usize,
    /// Maximum nesting of selections; introspection fields are exempt.
    pub max_depth: usize,
    /// Maximum number of aliases in a document.
    pub max_aliases: usize,
    /// Maximum number of fields at the root.
    pub max_root_fields: usize,
    /// Maximum number of directives in a document.
    pub max_directives: usize,
    /// Maximum complexity: one for each field, times the page size under a connection.
    pub max_complexity: usize,
    /// Whether clients may query the schema.
    pub introspection: bool,
    /// Maximum number of operations in one request; 0 and 1 disable batches.
    pub max_batch_size: usize,
    /// Maximum number of stored automatic persisted queries; 0 disables them.
    pub max_persisted_queries: usize,
    /// Maximum total length of their documents, in bytes.
    pub max_persisted_query_bytes: usize,
    /// Timeout of a query or mutation, or of a whole batch.
    pub execution_timeout: Duration,
    /// Timeout of `connection_init` on a websocket.
    pub connection_init_timeout: Duration,
    /// Interval between the pings of a websocket.
    pub ping_interval: Duration,
    /// Timeout of the response to a ping, and of one send.
    pub pong_timeout: Duration,
    /// Maximum number of concurrent operations on one websocket.
    pub max_operations_per_socket: usize,
    /// Maximum length of a websocket message, in bytes.
    pub max_message_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_document_size: 16 * 1024,
            max_tokens: 4_000,
            max_selections: 1_000,
            max_depth: 12,
            max_aliases: 30,
            max_root_fields: 20,
            max_directives: 50,
            max_complexity: 3_000,
            introspection: true,
            max_batch_size: 0,
            max_persisted_queries: 1_000,
            max_persisted_query_bytes: 4 * 1024 * 1024,
            execution_timeout: Duration::from_secs(10),
            connection_init_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(12),
            pong_timeout: Duration::from_secs(10),
            max_operations_per_socket: 100,
            max_message_size: 64 * 1024,
        }
    }
}
