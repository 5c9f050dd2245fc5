//! The steps of a migration file.
//!
//! A file is split at its semicolons. On MySQL a change of the tables commits at once, so a program that is killed may
//! have executed a step without recording it; every step must therefore be repeatable. The permitted forms are listed
//! here, and a test reads every file:
//!
//! - `CREATE TABLE` is sent with `IF NOT EXISTS`.
//! - `ALTER TABLE` is atomic. The program first reads which of its changes exist, and leaves those out.
//! - `UPDATE` and `DELETE` of orders or their events are sent for one range of keys after the other. The transaction of
//!   each range records the position. They must change nothing when they are repeated, because earlier versions of the
//!   program did not record positions.
//! - `INSERT IGNORE` (`INSERT OR IGNORE`).
//! - Indexes and columns of SQLite, which are recorded in the transaction that changes them.

use std::collections::BTreeSet;

/// One step, which is recorded when it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A statement that is sent unchanged.
    Plain(String),
    /// `ALTER TABLE`.
    Alter { table: String, clauses: Vec<Clause> },
    /// A change of the rows of a table, for keys above one bound and up to another; both are bound.
    Rows { table: &'static str, key: &'static str, text: String },
}

/// A part of an `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) text: String,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    AddColumn(String),
    DropColumn(String),
    AddKey(String),
    DropKey(String),
    /// Gives a column another type, which may be repeated.
    Modify,
}

/// The columns and keys of a table.
#[derive(Debug, Default)]
pub(super) struct Present {
    pub(super) columns: BTreeSet<String>,
    pub(super) keys: BTreeSet<String>,
}

/// The tables whose rows are changed in ranges, and their keys.
const KEYS: [(&str, &str); 2] = [("orders", "orders.id"), ("order_events", "order_events.order_id")];

/// Returns the steps of a file, or the statement that has none of the forms above.
pub(super) fn steps(file: &str) -> Result<Vec<Step>, String> {
    let statements = split(&without_comments(file), ';');
    statements.into_iter().map(|statement| step(&statement).ok_or(statement)).collect()
}

fn step(statement: &str) -> Option<Step> {
    let words: Vec<&str> = statement.split_whitespace().take(6).collect();
    let plain = || Some(Step::Plain(statement.to_owned()));
    match words[..] {
        ["CREATE", "TABLE", "IF", "NOT", "EXISTS", ..] => plain(),
        ["CREATE", "TABLE", name, ..] => {
            let rest = statement.split_once(name)?.1;
            Some(Step::Plain(format!("CREATE TABLE IF NOT EXISTS {name}{rest}")))
        }
        ["INSERT", "IGNORE", "INTO", ..] | ["INSERT", "OR", "IGNORE", "INTO", ..] => plain(),
        ["CREATE" | "DROP", "INDEX", ..] => plain(),
        ["ALTER", "TABLE", table, ..] => {
            let clauses = split(statement.split_once(table)?.1, ',');
            let clauses: Vec<Clause> = clauses.into_iter().map(clause).collect::<Option<_>>()?;
            Some(Step::Alter { table: table.to_owned(), clauses })
        }
        ["UPDATE", table, ..] | ["DELETE", "FROM", table, ..] | ["DELETE", table, "FROM", ..] => {
            let (table, key) = KEYS.into_iter().find(|(name, _)| *name == table)?;
            Some(Step::Rows { table, key, text: within_range(statement, key) })
        }
        _ => None,
    }
}

fn clause(text: String) -> Option<Clause> {
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    let change = match words[..] {
        ["ADD", "COLUMN", name] => Change::AddColumn(name.to_owned()),
        ["DROP", "COLUMN", name] => Change::DropColumn(name.to_owned()),
        ["ADD", "KEY", name] => Change::AddKey(name.to_owned()),
        ["DROP", "KEY", name] => Change::DropKey(name.to_owned()),
        ["MODIFY", ..] => Change::Modify,
        _ => return None,
    };
    Some(Clause { text, change })
}

/// Returns the clauses that are missing in a table.
///
/// An `ALTER TABLE` is atomic, so one whose visible changes exist was executed as a whole. A key that is dropped and
/// added again does not show it.
pub(super) fn remaining<'c>(clauses: &'c [Clause], present: &Present) -> Vec<&'c Clause> {
    let added =
        |name: &str| clauses.iter().any(|it| matches!(&it.change, Change::AddKey(key) if key == name));
    let dropped =
        |name: &str| clauses.iter().any(|it| matches!(&it.change, Change::DropKey(key) if key == name));
    // `None` for a change that is not visible.
    let done = |clause: &Clause| match &clause.change {
        Change::AddColumn(name) => Some(present.columns.contains(name)),
        Change::DropColumn(name) => Some(!present.columns.contains(name)),
        Change::AddKey(name) if dropped(name) => None,
        Change::AddKey(name) => Some(present.keys.contains(name)),
        Change::DropKey(name) if added(name) => None,
        Change::DropKey(name) => Some(!present.keys.contains(name)),
        Change::Modify => None,
    };
    let visible: Vec<bool> = clauses.iter().filter_map(done).collect();
    if !visible.is_empty() && visible.iter().all(|done| *done) {
        return Vec::new();
    }
    let impossible =
        |clause: &Clause| matches!(&clause.change, Change::DropKey(name) if !present.keys.contains(name));
    clauses.iter().filter(|clause| done(clause) != Some(true) && !impossible(clause)).collect()
}

/// Returns the statement for a range of keys.
fn within_range(statement: &str, key: &str) -> String {
    let range = format!("{key} > ? AND {key} <= ?");
    match top_level(statement).filter(|(_, rest)| is_where(rest)).last() {
        Some((at, _)) => {
            let (head, condition) = (&statement[..at], &statement[at + " WHERE".len()..]);
            format!("{head} WHERE ({}) AND {range}", condition.trim())
        }
        None => format!("{statement} WHERE {range}"),
    }
}

fn is_where(rest: &str) -> bool {
    let mut bytes = rest.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_whitespace())
        && rest[1..].starts_with("WHERE")
        && rest[6..].bytes().next().is_some_and(|byte| byte.is_ascii_whitespace())
}

/// Splits at a character, but not within parentheses or quotation marks, without empty parts.
fn split(text: &str, sign: char) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (at, rest) in top_level(text) {
        if rest.starts_with(sign) {
            pieces.push(&text[begin..at]);
            begin = at + sign.len_utf8();
        }
    }
    pieces.push(&text[begin..]);
    pieces.into_iter().map(|piece| piece.trim().to_owned()).filter(|piece| !piece.is_empty()).collect()
}

/// Returns the positions outside of parentheses and quotation marks, each with the rest from there.
fn top_level(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut depth, mut quoted) = (0_usize, false);
    text.char_indices().filter_map(move |(at, sign)| {
        match sign {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if !quoted && depth == 0 => return Some((at, &text[at..])),
            _ => {}
        }
        None
    })
}

/// Removes comments: the files have them on separate lines and after statements, and no `--` in a string.
fn without_comments(file: &str) -> String {
    let lines = file.lines().map(|line| line.split_once("--").map_or(line, |(before, _)| before).trim_end());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(columns: &[&str], keys: &[&str]) -> Present {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Present { columns: owned(columns), keys: owned(keys) }
    }

    fn left(statement: &str, present: &Present) -> Vec<String> {
        let Ok([Step::Alter { clauses, .. }]) =
            steps(statement).map(|steps| <[Step; 1]>::try_from(steps).unwrap())
        else {
            panic!("{statement}")
        };
        remaining(&clauses, present).into_iter().map(|clause| clause.text.clone()).collect()
    }

    #[test]
    fn a_file_is_cut_into_steps() {
        let file = "-- a; b\nCREATE TABLE t (\n a INT, -- one; two\n b CHAR(3) DEFAULT ';'\n);\n\n\
                    INSERT IGNORE INTO t VALUES (1);\nDROP INDEX x;\n";
        let texts: Vec<_> = steps(file).unwrap();
        assert_eq!(
            texts,
            [
                Step::Plain("CREATE TABLE IF NOT EXISTS t (\n a INT,\n b CHAR(3) DEFAULT ';'\n)".into()),
                Step::Plain("INSERT IGNORE INTO t VALUES (1)".into()),
                Step::Plain("DROP INDEX x".into()),
            ]
        );
        for other in
            ["INSERT INTO t VALUES (1)", "DROP TABLE t", "UPDATE t SET a = 1", "ALTER TABLE t RENAME u"]
        {
            assert_eq!(steps(other), Err(other.to_owned()));
        }
    }

    #[test]
    fn a_change_of_rows_gets_a_range() {
        for (statement, expected) in [
            (
                "UPDATE orders SET a = CASE WHEN b THEN 1 END",
                "UPDATE orders SET a = CASE WHEN b THEN 1 END WHERE orders.id > ? AND orders.id <= ?",
            ),
            (
                "DELETE order_events FROM order_events JOIN orders ON id = order_id\n    WHERE a = 1 OR b = 2",
                "DELETE order_events FROM order_events JOIN orders ON id = order_id\n    WHERE (a = 1 OR b = 2) AND \
                 order_events.order_id > ? AND order_events.order_id <= ?",
            ),
            (
                "DELETE FROM order_events WHERE a OR b >= (SELECT c FROM orders WHERE d)",
                "DELETE FROM order_events WHERE (a OR b >= (SELECT c FROM orders WHERE d)) AND \
                 order_events.order_id > ? AND order_events.order_id <= ?",
            ),
        ] {
            let Ok([Step::Rows { text, .. }]) =
                steps(statement).map(|steps| <[Step; 1]>::try_from(steps).unwrap())
            else {
                panic!("{statement}")
            };
            assert_eq!(
                text.split_whitespace().collect::<Vec<_>>(),
                expected.split_whitespace().collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn an_alteration_that_was_done_is_not_repeated() {
        let swap = "ALTER TABLE t ADD COLUMN a DECIMAL(1, 2), DROP KEY k, ADD KEY k (a, b), MODIFY c INT";
        assert_eq!(left(swap, &present(&["c"], &["k"])).len(), 4);
        assert_eq!(left(swap, &present(&["a", "c"], &["k"])), [""; 0]);
        // An index that does not exist cannot be dropped.
        assert_eq!(left(swap, &present(&["c"], &[])).len(), 3);

        let keys = "ALTER TABLE t MODIFY c INT, ADD KEY k (a), DROP KEY l, DROP COLUMN d";
        assert_eq!(left(keys, &present(&["c", "d"], &["l"])).len(), 4);
        assert_eq!(left(keys, &present(&["c"], &["k"])), [""; 0]);
        assert_eq!(left(keys, &present(&["c"], &["l"])), ["MODIFY c INT", "ADD KEY k (a)", "DROP KEY l"]);

        let modify = "ALTER TABLE t MODIFY c INT";
        assert_eq!(left(modify, &present(&["c"], &[])), ["MODIFY c INT"]);
    }
}
