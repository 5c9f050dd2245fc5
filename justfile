# The commands that people use; `just` lists them. Each is one line that runs without just as well.

_list:
    @just --list --unsorted

# The product in one process, on http://127.0.0.1:3000
run *arguments:
    cargo run -- {{arguments}}

# Every check and every test, with what they need; a filter selects tests
test *filter:
    scripts/test.sh {{ if filter == "" { "" } else { "-- " + filter } }}

# Formatting and lints
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# A command with a private MariaDB and Redis, which are gone when it ends
with-services *command:
    scripts/services.sh run -- {{command}}

# The files that are generated from the code
generate:
    cargo run -- schema > schema.graphql
    ORDERS_WRITE_REFERENCE=1 cargo test --quiet --workspace reference
    ORDERS_WRITE_REFERENCE=1 cargo test --quiet --workspace --lib limits
    scripts/guide.sh
