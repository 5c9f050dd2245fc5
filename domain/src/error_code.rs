//! Every error code of the APIs, with its meaning and advice for the client.
//!
//! A code has one spelling on REST, GraphQL and gRPC. Each API maps [`ErrorKind`] to its own status, so a new code needs
//! one row here and no row in another table. Four codes are in upper case, because the GraphQL client libraries of Apollo
//! and urql compare these words; they exist on GraphQL only.

use std::fmt;

use crate::transition::Refusal;

/// An API of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// REST, and rejections by the HTTP server itself.
    Rest,
    /// The `errors` and `userErrors` of GraphQL.
    GraphQl,
    /// Calls, and refused entries of the `Work` stream.
    Grpc,
}

/// The kind of condition that a code reports. Each API maps it to a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request cannot be read, or has a value of the wrong type or outside its range.
    Malformed,
    /// The request can be read and breaks a rule about orders.
    RuleBroken,
    /// The GraphQL document is unknown, or is not valid for the schema.
    Document,
    /// The request has no valid credential.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// The request is for another host.
    WrongHost,
    /// The resource does not exist.
    NotFound,
    /// The resource is no longer there.
    Gone,
    /// The resource does not have this method.
    WrongMethod,
    /// No media type that the client accepts can be produced.
    NotAcceptable,
    /// The request did not arrive in time.
    ReceiveTimeout,
    /// The present state of the order does not allow the change.
    Conflict,
    /// What the client has read is no longer the present state.
    PreconditionFailed,
    /// The body is too large.
    BodyTooLarge,
    /// The path with its query string is too long.
    UriTooLong,
    /// The head of the request is too large.
    HeadTooLarge,
    /// The body has the wrong media type.
    WrongMediaType,
    /// The client exceeds its share.
    TooMany,
    /// A defect of the gateway.
    Internal,
    /// The request cannot be carried out at present.
    Unavailable,
}

macro_rules! error_codes {
    ($($code:ident $word:literal $kind:ident [$($api:ident)*] retryable: $retryable:literal
        $meaning:literal $advice:literal;)*) => {
        /// A stable word that programs compare.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $word, "`: ", $meaning, ".")] $code,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// Returns the spelling of the code on every API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $word),* }
            }

            /// Returns the kind of the condition.
            pub const fn kind(self) -> ErrorKind {
                match self { $(Self::$code => ErrorKind::$kind),* }
            }

            /// Returns the APIs that return the code.
            pub const fn apis(self) -> &'static [Api] {
                match self { $(Self::$code => &[$(Api::$api),*]),* }
            }

            /// Returns whether the same request can succeed after a wait.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$code => $retryable),* }
            }

            /// Returns the meaning of the code, as a sentence without its full stop.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning),* }
            }

            /// Returns the advice for the client. Code is between backticks.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$code => $advice),* }
            }
        }
    };
}

error_codes! {
    MalformedRequest "malformed_request" Malformed [Rest Grpc] retryable: false
        "The request is not HTTP" "Send a request line and headers as RFC 9112 specifies.";
    MalformedJson "malformed_json" Malformed [Rest GraphQl] retryable: false
        "The body is not JSON" "Correct the body at the line and column that `detail` names.";
    BodyIncomplete "body_incomplete" Malformed [Rest GraphQl] retryable: true
        "The body ended early" "Send it again; a proxy may have closed the connection.";
    InvalidInput "invalid_input" Malformed [Rest GraphQl Grpc] retryable: false
        "A value of the request is unknown, repeated, of the wrong type or outside its range"
        "Correct the value. REST names each of them in `errors`, GraphQL in `field` or in the message, gRPC in the message.";
    InvalidOrderId "invalid_order_id" Malformed [Rest GraphQl Grpc] retryable: false
        "The order id is malformed" "An order id is a UUID with hyphens.";
    InvalidIdempotencyKey "invalid_idempotency_key" Malformed [Rest GraphQl] retryable: false
        "The idempotency key is malformed" "Send one key of 1 to 255 visible ASCII characters.";
    WebsocketHandshake "websocket_handshake" Malformed [Rest] retryable: false
        "The websocket cannot be opened" "Offer a subprotocol of `/graphql`; `detail` names what else is missing.";
    ParseFailed "GRAPHQL_PARSE_FAILED" Document [GraphQl] retryable: false
        "The document is not GraphQL" "Correct the document at the position in `locations`.";
    ValidationFailed "GRAPHQL_VALIDATION_FAILED" Document [GraphQl] retryable: false
        "The document does not match the schema, or the operation is ambiguous"
        "Correct the document at the position in `locations`, or name the operation.";
    PersistedQueryNotFound "PERSISTED_QUERY_NOT_FOUND" Document [GraphQl] retryable: false
        "The hash of the document is unknown" "Send the document with its hash, as client libraries do.";
    PersistedQueryNotSupported "PERSISTED_QUERY_NOT_SUPPORTED" Document [GraphQl] retryable: false
        "Hashes of documents are not accepted" "Send documents without hashes.";
    LimitExceeded "limit_exceeded" Malformed [GraphQl] retryable: false
        "The operation exceeds a limit" "Ask for less; `extensions.limit` names the limit.";
    DocumentTooLarge "document_too_large" BodyTooLarge [GraphQl] retryable: false
        "The document is too long" "Send a shorter document; the message states the limit.";
    IntrospectionDisabled "introspection_disabled" Malformed [GraphQl] retryable: false
        "Introspection is disabled" "Read the schema from `schema.graphql`.";
    Unauthenticated "unauthenticated" Unauthenticated [Rest GraphQl Grpc] retryable: false
        "The request has no valid credential"
        "Send `Authorization: Bearer` with an API key or a token. Operators: `orders keys create` creates a key.";
    TokenExpired "token_expired" Unauthenticated [Rest GraphQl Grpc] retryable: false
        "The credential has expired or was revoked" "Send the request again with a new key or token.";
    Forbidden "forbidden" Forbidden [Rest GraphQl Grpc] retryable: false
        "The credential does not permit this"
        "Use a key or token with the scope that the message names. Operators: `orders keys create --scopes` sets the scopes.";
    OriginNotAllowed "origin_not_allowed" Forbidden [Rest GraphQl] retryable: false
        "Pages of that site may not do this"
        "Operators: allow the site by its name with `--cors-origins`; `*` allows reads only.";
    DocumentNotTrusted "document_not_trusted" Forbidden [GraphQl] retryable: false
        "The document is not in the list of trusted documents"
        "Operators: add the document to the file of `--graphql-trusted-documents`.";
    HostNotAllowed "host_not_allowed" WrongHost [Rest Grpc] retryable: false
        "The gateway does not serve that host"
        "Use a host name of the gateway. Operators: add the name with `--allowed-hosts`.";
    NotFound "not_found" NotFound [Rest] retryable: false
        "The path does not exist" "`/docs` lists every path.";
    OrderNotFound "order_not_found" NotFound [Rest GraphQl Grpc] retryable: false
        "The order does not exist"
        "Check the id. Retention removes final orders after the time that the operators set.";
    KeyNotFound "key_not_found" NotFound [Rest GraphQl] retryable: false
        "The API key does not exist, or it has ended" "List the keys, and use the id of an active one.";
    MethodNotAllowed "method_not_allowed" WrongMethod [Rest GraphQl] retryable: false
        "The path does not have this method" "The `Allow` header lists the methods.";
    NotAcceptable "not_acceptable" NotAcceptable [GraphQl] retryable: false
        "No media type of `Accept` can be produced"
        "Accept `application/graphql-response+json`, `application/json` or, for a subscription, `text/event-stream`.";
    BodyTimeout "body_timeout" ReceiveTimeout [Rest GraphQl Grpc] retryable: true
        "The body did not arrive in time" "Send it again, faster.";
    OrderFinal "order_final" Conflict [Rest GraphQl Grpc] retryable: false
        "The order is final" "A completed, failed or cancelled order cannot be changed. A failed order can be redriven.";
    MetadataChanged "metadata_changed" PreconditionFailed [Rest GraphQl] retryable: false
        "The metadata of the order has changed since it was read"
        "Read the metadata again and send the change for its present version.";
    ReferenceTaken "reference_taken" Conflict [Rest GraphQl] retryable: false
        "Another order of the tenant has this external reference"
        "Read the order that the message names, or send another reference.";
    OrderStarted "order_started" Conflict [Rest GraphQl] retryable: false
        "The order was started" "Only orders that no worker has started can be replaced. Cancel the order and create another one.";
    OrderChanged "order_changed" PreconditionFailed [Rest GraphQl] retryable: false
        "The order has changed since it was read" "Read the order again and send the request for its present sequence.";
    NoteLimit "note_limit" Conflict [Rest GraphQl] retryable: false
        "The order has its maximum of notes" "An order has at most 100 notes, and notes are never removed.";
    OrderNotFailed "order_not_failed" Conflict [Rest GraphQl] retryable: false
        "The order has not failed" "Only failed orders can be redriven.";
    OrderNotProcessing "order_not_processing" Conflict [Grpc] retryable: false
        "The order is not being processed" "Report `processing` first; only an attempt that runs has a result.";
    AlreadyStarted "already_started" Conflict [Grpc] retryable: false
        "Another worker processes the order" "Drop the job.";
    NotYet "not_yet" Conflict [Grpc] retryable: true
        "The order is not due yet" "Drop the job: it is pushed again when the order is due.";
    QueuePaused "queue_paused" Conflict [Grpc] retryable: true
        "The queue is paused" "Drop the job: it is pushed again when the queue is resumed.";
    StaleLease "stale_lease" Conflict [Grpc] retryable: false
        "The lease token is not the order's present token" "Stop the work: the lease ended or another worker has it.";
    LeaseNotExpired "lease_not_expired" Conflict [Grpc] retryable: false
        "The lease has not expired" "Nothing needs to be done.";
    LeaseTokenRequired "lease_token_required" Conflict [Grpc] retryable: false
        "The report has no lease token"
        "Send the `lease_token` of the response to `processing`. Operators: `--allow-tokenless-reports`.";
    TryAgain "try_again" Unavailable [Grpc] retryable: true
        "Nothing was decided about this entry of a `Start` or a `Finish`" "Send the entry again.";
    ConnectionBusy "connection_busy" Unavailable [Grpc] retryable: true
        "The order is large, and the connection to the worker has not taken the large orders before"
        "Drop the job: the order is offered again later, to any worker.";
    CursorExpired "cursor_expired" Gone [Rest GraphQl Grpc] retryable: false
        "The event log no longer has the events after the cursor"
        "Events are missing for this reader. Read the present orders, and continue after the oldest cursor, which the error names.";
    EventLogDisabled "event_log_disabled" Conflict [Rest GraphQl Grpc] retryable: false
        "The gateway has no event log" "Operators: `--events on` writes one.";
    ReaderBehind "reader_behind" Conflict [Grpc] retryable: false
        "The reader of the event log has committed a later cursor"
        "Another process may use the same name. Continue after the committed cursor, or set `rewind` to read events again.";
    ReaderLimit "reader_limit" Conflict [Grpc] retryable: false
        "The tenant has too many named readers of the event log"
        "Use the name of an existing reader, or remove one with `RemoveReader`.";
    WebhookUrlRefused "webhook_url_refused" RuleBroken [Rest GraphQl] retryable: false
        "The URL of a webhook endpoint may not be used"
        "The message states what to change. Operators: `--webhook-allow-networks` permits internal addresses.";
    WorkerNotFound "worker_not_found" NotFound [Rest] retryable: false
        "No worker with this name was seen within the last hour" "List the workers, and use one of their names.";
    WebhookNotFound "webhook_not_found" NotFound [Rest GraphQl] retryable: false
        "The webhook endpoint does not exist" "List the endpoints, and use the id of one of them.";
    EventNotFound "event_not_found" NotFound [Rest GraphQl] retryable: false
        "The event does not exist"
        "The id of an event is that of its order, a hyphen and its sequence. Retention removes the events of an order with it.";
    WebhookLimit "webhook_limit" Conflict [Rest GraphQl] retryable: false
        "There are too many webhook endpoints" "Remove one that is not used.";
    SecretKeyMissing "secret_key_missing" Conflict [Rest GraphQl] retryable: false
        "The gateway cannot encrypt or decrypt the secrets of webhooks"
        "Operators: set `--secret-key-file` to the same file of keys for all gateways.";
    ReaderLeased "reader_leased" Conflict [Grpc] retryable: true
        "Another process has the lease of the reader of the event log"
        "Try again after `grpc-retry-pushback-ms`, to take over if the other process stops.";
    StaleReaderLease "stale_reader_lease" Conflict [Grpc] retryable: false
        "The process no longer has the lease of the reader of the event log"
        "Stop the work: another process may continue it. Take the lease with `Read`, and continue after the committed cursor.";
    UnsupportedProtocol "unsupported_protocol" Conflict [Grpc] retryable: false
        "The gateway does not support the protocol version of the worker"
        "The message states the supported version. Use a worker and a gateway of versions that fit.";
    OrderUnreadable "order_unreadable" Conflict [Rest GraphQl Grpc] retryable: false
        "The stored order cannot be read"
        "Tell the operators the id. Operators: `orders doctor` names the reason, `orders repair` repairs the order or marks it as failed.";
    BodyTooLarge "body_too_large" BodyTooLarge [Rest GraphQl Grpc] retryable: false
        "The body is too large" "Send a smaller body; the message states the limit.";
    UriTooLong "uri_too_long" UriTooLong [Rest Grpc] retryable: false
        "The path with its query string is too long" "Send a shorter path; `detail` states the limit.";
    UnsupportedMediaType "unsupported_media_type" WrongMediaType [Rest GraphQl] retryable: false
        "The media type of the body is not supported" "Send `Content-Type: application/json`.";
    InvalidOrder "invalid_order" RuleBroken [Rest GraphQl] retryable: false
        "The order breaks a rule" "REST names each field and what to change in `errors`, GraphQL in `userErrors`.";
    IdempotencyKeyReused "idempotency_key_reused" RuleBroken [Rest GraphQl] retryable: false
        "The idempotency key belongs to another order"
        "Use a new key for a new order, and the same body with the same key.";
    OrderRefused "order_refused" RuleBroken [Rest GraphQl] retryable: false
        "The database refuses the order"
        "Tell the operators. Operators: a constraint or trigger that was added to the tables refuses it; the log has its message.";
    InvalidRowCount "invalid_row_count" RuleBroken [Rest GraphQl] retryable: false
        "The request has no orders, or too many" "Send 1 to 1,000 orders in one request.";
    KeyLimit "key_limit" RuleBroken [Rest GraphQl] retryable: false
        "There are too many API keys" "Revoke keys that are not used; lists show the last use of each.";
    TooManyConnections "too_many_connections" TooMany [Rest Grpc] retryable: true
        "The address has too many open connections" "Close some, or use one connection for several requests.";
    RateLimited "rate_limited" TooMany [Rest GraphQl Grpc] retryable: true
        "The key, the tenant or the address sends too many requests"
        "Send the request again after `Retry-After`, and send fewer per second. Operators: `orders tenants update --rate`.";
    QuotaExceeded "quota_exceeded" TooMany [Rest GraphQl Grpc] retryable: true
        "The key or the tenant has its maximum of open streams or of orders that are not final"
        "Close streams, or send the request again when some orders are final. Operators: `orders tenants update`.";
    TooManyStreams "too_many_streams" TooMany [Rest Grpc] retryable: true
        "The address has too many open streams"
        "Close some websockets, event streams or long polls: one websocket carries many subscriptions.";
    HeadTooLarge "head_too_large" HeadTooLarge [Rest Grpc] retryable: false
        "The head of the request is too large" "Send fewer or shorter headers.";
    InternalError "internal_error" Internal [Rest GraphQl Grpc] retryable: false
        "The gateway has a defect" "Tell the operators the `X-Request-Id`.";
    StreamsExhausted "streams_exhausted" Unavailable [Rest Grpc] retryable: true
        "The gateway has too many open streams" "Try again after `Retry-After`, or use another gateway.";
    Overloaded "overloaded" Unavailable [Rest GraphQl Grpc] retryable: true
        "Too many requests are waiting" "Nothing was changed; try again after `Retry-After`.";
    DatabaseUnavailable "database_unavailable" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database cannot be reached" "Nothing was changed; try again after `Retry-After`.";
    DatabasePoolExhausted "database_pool_exhausted" Unavailable [Rest GraphQl Grpc] retryable: true
        "Every connection to the database is in use" "Nothing was changed; try again after `Retry-After`.";
    DatabaseConnectionLimit "database_connection_limit" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database accepts no more connections"
        "Nothing was changed; try again after `Retry-After`. Operators: allow more, or run fewer gateways.";
    DatabaseReadOnly "database_read_only" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database is read-only"
        "Nothing was changed; try again after `Retry-After`. It usually ends with a failover.";
    DatabaseFull "database_full" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database has no space left"
        "Nothing was changed; try again after `Retry-After`. Operators: make space.";
    DatabaseAccessDenied "database_access_denied" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database refuses the gateway's user"
        "Nothing was changed; try again after `Retry-After`. Operators: the log names the missing privilege.";
    DatabaseStatementLimit "database_statement_limit" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database prepares no more statements"
        "Nothing was changed; try again after `Retry-After`. Operators: raise `max_prepared_stmt_count`.";
    DatabaseStatementTimeout "database_statement_timeout" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database ended a statement that took too long"
        "Nothing was changed; try again after `Retry-After`. Operators: raise `max_statement_time` or `max_execution_time`.";
    DatabasePacketLimit "database_packet_limit" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database does not accept a statement of this length"
        "Nothing was changed; send fewer or smaller orders. Operators: raise `max_allowed_packet`.";
    DatabaseMisconfigured "database_misconfigured" Unavailable [Rest GraphQl Grpc] retryable: true
        "The database is not set up for orders"
        "Nothing was changed; try again after `Retry-After`. Operators: the log names the setting or the table.";
    TokenIssuerUnavailable "token_issuer_unavailable" Unavailable [Rest GraphQl Grpc] retryable: true
        "The keys of the token issuer cannot be read"
        "Nothing was changed; try again after `Retry-After`. Operators: the log names the cause.";
    Starting "starting" Unavailable [Rest] retryable: true
        "The gateway is starting" "Nothing was changed; try again after `Retry-After`, or at another gateway.";
    ShuttingDown "shutting_down" Unavailable [Rest GraphQl Grpc] retryable: true
        "The gateway is shutting down" "Nothing was changed; try again at another gateway.";
    OutcomeUnknown "outcome_unknown" Unavailable [Rest GraphQl] retryable: true
        "It is unknown whether the change was made"
        "Send it again with the same `Idempotency-Key`, which creates the order or returns it; without a key look for `orderId` first.";
    QueryTimeout "query_timeout" Unavailable [Rest GraphQl] retryable: true
        "The filter leaves too many orders to read" "Narrow the filter, for example to one customer, one status or a shorter time.";
    RequestTimeout "request_timeout" Unavailable [Rest GraphQl] retryable: true
        "The response took too long"
        "A change may have been made; repeat it with the same `Idempotency-Key`, or look for the order first.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Refusal> for ErrorCode {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::AlreadyStarted => Self::AlreadyStarted,
            Refusal::NotYet(_) => Self::NotYet,
            Refusal::Paused => Self::QueuePaused,
            Refusal::StaleLease(_) => Self::StaleLease,
            Refusal::Final(_) => Self::OrderFinal,
            Refusal::NotFailed(_) => Self::OrderNotFailed,
            Refusal::NotExpired => Self::LeaseNotExpired,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_have_one_spelling() {
        let words: HashSet<String> =
            ErrorCode::ALL.iter().map(|code| code.as_str().to_ascii_lowercase()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let word = code.as_str();
            assert!(word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_'), "{word}");
            let upper = word.bytes().any(|byte| byte.is_ascii_uppercase());
            // Client libraries compare these words.
            assert_eq!(upper, code.kind() == ErrorKind::Document, "{word}");
            assert!(!upper || code.apis() == [Api::GraphQl], "{word}");
        }
    }

    #[test]
    fn every_code_is_explained() {
        for code in ErrorCode::ALL {
            assert!(!code.apis().is_empty(), "{code}");
            assert!(!code.meaning().is_empty() && !code.meaning().ends_with('.'), "{code}");
            assert!(code.advice().ends_with('.') && code.advice().matches('`').count() % 2 == 0, "{code}");
        }
    }

    #[test]
    fn unavailable_is_retryable_and_a_broken_rule_is_not() {
        for code in ErrorCode::ALL {
            assert!(code.kind() != ErrorKind::Unavailable || code.retryable(), "{code}");
            assert!(code.kind() != ErrorKind::RuleBroken || !code.retryable(), "{code}");
        }
    }
}
