//! Compares the values of `docs/reference/limits.md` with the code, for the tests of every crate.
//!
//! The module that has a limit tests its row with [`row`]. With `ORDERS_WRITE_REFERENCE=1` the tests write the values
//! instead. A test in `gateway` finds rows that no module tests.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::Duration;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/limits.md");

/// Asserts that the page lists this limit with this value.
///
/// # Panics
/// When the row is missing or has another value.
pub fn row(limit: &str, value: &str) {
    if std::env::var_os("ORDERS_WRITE_REFERENCE").is_some() {
        write(limit, value);
    }
    let found = rows().into_iter().find(|(name, _)| name == limit);
    assert_eq!(
        found.map(|(_, value)| value).as_deref(),
        Some(value),
        "docs/reference/limits.md does not say this about {limit:?}; its first paragraph states how to rewrite it"
    );
}

/// Returns the name and the value of each limit on the page.
///
/// # Panics
/// When the page cannot be read.
pub fn rows() -> Vec<(String, String)> {
    let mut file = File::open(PAGE).expect("the page can be opened");
    file.lock_shared().expect("the page can be locked");
    let mut page = String::new();
    file.read_to_string(&mut page).expect("the page can be read");
    page.lines().filter_map(cells).map(|(limit, value)| (limit.to_owned(), value.to_owned())).collect()
}

/// The first two cells of a row of a table, without its head.
fn cells(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| ")?.split(" | ").map(|cell| cell.trim_end_matches(" |").trim());
    let (limit, value) = (cells.next()?, cells.next()?.trim_end_matches('|').trim());
    (!matches!(limit, "limit" | "switch")).then_some((limit, value))
}

/// Writes the value of a limit. The tests of several crates write at the same time, so the file is locked.
fn write(limit: &str, value: &str) {
    let mut file = File::options().read(true).write(true).open(PAGE).expect("the page can be opened");
    file.lock().expect("the page can be locked");
    let mut page = String::new();
    file.read_to_string(&mut page).expect("the page can be read");
    let replaced = |line: &str| match cells(line) {
        Some((name, old)) if name == limit && old != value => {
            let (head, tail) = line.split_at(line.find(" | ").map_or(0, |end| end + 3));
            format!("{head}{}\n", tail.replacen(old, value, 1))
        }
        _ => format!("{line}\n"),
    };
    let page: String = page.lines().map(replaced).collect();
    file.rewind().expect("the page can be written");
    file.set_len(0).expect("the page can be written");
    file.write_all(page.as_bytes()).expect("the page can be written");
}

/// Formats a number of bytes as the page does.
pub fn bytes(bytes: usize) -> String {
    match bytes {
        mib if mib % (1024 * 1024) == 0 => format!("{} MiB", mib / 1024 / 1024),
        kib if kib % 1024 == 0 => format!("{} KiB", kib / 1024),
        other => format!("{other} bytes"),
    }
}

/// Formats a number with a comma between thousands.
pub fn count(number: usize) -> String {
    match number {
        0..=999 => number.to_string(),
        _ => format!("{},{:03}", count(number / 1_000), number % 1_000),
    }
}

/// Formats a duration as the page does.
///
/// # Panics
/// When it is not a whole number of seconds.
pub fn time(time: Duration) -> String {
    assert_eq!(time.subsec_nanos(), 0);
    format!("{} s", time.as_secs())
}
