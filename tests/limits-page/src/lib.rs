//! Compares `docs/limits.md` with the code, for the tests of every crate.
//!
//! The module that has a limit tests its row with [`row`]. A test in `gateway` finds rows that no module tests.

use std::time::Duration;

const PAGE: &str = include_str!("../../../docs/limits.md");

/// Asserts that the page lists this limit with this default.
///
/// # Panics
/// When the row is missing or has another default.
pub fn row(limit: &str, default: &str) {
    let found = rows().find(|(name, _)| *name == limit);
    assert_eq!(found, Some((limit, default)), "docs/limits.md does not say this about {limit:?}");
}

/// Returns the name and the default of each limit on the page.
pub fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = lines.map(|line| line.split(" | ").map(|cell| cell.trim_end_matches(" |").trim()));
    cells
        .filter_map(|mut cells| Some((cells.next()?, cells.next()?.trim_end_matches('|').trim())))
        .filter(|(limit, _)| !matches!(*limit, "limit" | "switch"))
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
