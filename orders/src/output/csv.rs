//! CSV as RFC 4180 describes it, with line feeds.

/// Returns a row as a line.
pub(super) fn line(cells: &[String]) -> String {
    let mut line = cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_separators_are_quoted() {
        let cells = ["a", "", "b,c", "say \"x\"", "two\nlines"].map(str::to_owned);
        assert_eq!(line(&cells), "a,,\"b,c\",\"say \"\"x\"\"\",\"two\nlines\"\n");
    }
}
