//! Compares `docs/reference/errors.md` with the error codes and the status map of each API. With
//! `ORDERS_WRITE_REFERENCE=1` the test writes the file instead.

use std::fmt::Write as _;
use std::path::Path;

use domain::{Api, ErrorCode};

const HEAD: &str = "# Error codes

This page is generated. Rewrite it with `ORDERS_WRITE_REFERENCE=1 cargo test -p gateway --lib error_reference`.

A code has the same spelling on every API:

- **REST**: `code` in `application/problem+json`. `/problems` of a gateway explains each code.
- **GraphQL**: `extensions.code` of an error, and `code` in `userErrors`.
- **gRPC**: the metadata `orders-error` of a status, and `Refused.reason` on the `Work` stream.

The columns HTTP, GraphQL and gRPC show the status; an empty cell means that the API does not return the code. The GraphQL
status is that of a request that is refused before it runs. An operation that ran has 200 with any code, and so has a
document that is rejected, unless the client asked for `application/graphql-response+json` (400).

A retryable code means that the same request can succeed later without a change. The wait is in `Retry-After`,
`extensions.retryAfterSeconds` or `grpc-retry-pushback-ms`; without one, wait a second.

The four codes in upper case are words of Apollo's persisted query protocol and of Apollo Server, which GraphQL client
libraries compare.

| code | meaning | HTTP | GraphQL | gRPC | retryable | what to do |
|---|---|---|---|---|---|---|
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for &code in ErrorCode::ALL {
        let on = |api: Api, status: String| if code.apis().contains(&api) { status } else { String::new() };
        let http = on(Api::Rest, gateway_http::problem::status(code.kind()).as_u16().to_string());
        let graphql = on(Api::GraphQl, crate::graphql::status(code.kind()).as_u16().to_string());
        let grpc = on(Api::Grpc, format!("`{}`", grpc_name(crate::grpc::status(code.kind()))));
        let retryable = if code.retryable() { "yes" } else { "no" };
        let (meaning, advice) = (code.meaning(), code.advice());
        writeln!(page, "| `{code}` | {meaning} | {http} | {graphql} | {grpc} | {retryable} | {advice} |")
            .unwrap();
    }
    page
}

/// Returns the name in the gRPC documentation: `NOT_FOUND` for `NotFound`.
fn grpc_name(code: tonic::Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[test]
fn the_reference_shows_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/errors.md");
    let page = page();
    if std::env::var_os("ORDERS_WRITE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/errors.md is stale; its first paragraph states how to rewrite it"
    );
}
