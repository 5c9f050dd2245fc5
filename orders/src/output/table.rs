//! Tables for the terminal.

use super::{Column, Item, Layout, color, printable};

/// Maximum length of a cell of a column that is cut, in characters. `-o wide` shows complete values.
const MAX_CELL: usize = 60;
/// The heads of the columns that have colours.
const COLORED: [&str; 3] = ["STATUS", "STATE", "OUTCOME"];

/// A table that is printed page by page. A page never makes a column narrower.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<&'static Column>,
    widths: Vec<usize>,
    is_wide: bool,
    is_colored: bool,
}

impl Table {
    /// Creates a table. A wide one has all columns and complete cells.
    pub(super) fn new(layout: &'static Layout, is_wide: bool, is_colored: bool) -> Self {
        let columns: Vec<_> = layout.columns.iter().filter(|column| is_wide || !column.is_wide).collect();
        let widths = columns.iter().map(|column| column.head.chars().count()).collect();
        Self { columns, widths, is_wide, is_colored }
    }

    /// Returns rows as lines with aligned columns.
    pub(super) fn rows(&mut self, items: &[Item], with_head: bool) -> String {
        let row = |item| self.columns.iter().map(|column| self.cell(column, item)).collect();
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let head: Vec<String> = self.columns.iter().map(|column| column.head.to_owned()).collect();
        let head = with_head.then(|| self.line(&head, self.is_colored.then_some("1")));
        head.into_iter().chain(rows.iter().map(|row| self.line(row, None))).collect()
    }

    fn cell(&self, column: &Column, item: &Item) -> String {
        let cell = printable(&(column.cell)(item));
        match cell.chars().count() {
            0 => "-".to_owned(),
            length if column.is_cut && !self.is_wide && length > MAX_CELL => {
                format!("{}…", cell.chars().take(MAX_CELL - 1).collect::<String>())
            }
            _ => cell,
        }
    }

    fn line(&self, row: &[String], color: Option<&str>) -> String {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().enumerate().map(|(n, cell)| {
            let width = if n == last { 0 } else { self.widths[n] };
            let padded = format!("{cell:<width$}");
            let has_color = self.is_colored && COLORED.contains(&self.columns[n].head);
            match color.or_else(|| has_color.then(|| color::of_word(cell)).flatten()) {
                Some(code) => format!("\u{1b}[{code}m{padded}\u{1b}[0m"),
                None => padded,
            }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::text;
    use super::*;

    static LAYOUT: Layout = Layout {
        id: "id",
        none: "",
        columns: &[
            Column::new("STATUS", |item| text(item, "id")),
            Column::cut("NAME", |item| text(item, "name")),
            Column::wide("MORE", |item| text(item, "id")),
        ],
    };

    fn shown(table: &mut Table, rows: &[[&str; 2]], with_head: bool) -> String {
        let item = |[id, name]: &[&str; 2]| json!({"id": id, "name": name}).into();
        table.rows(&rows.iter().map(item).collect::<Vec<_>>(), with_head)
    }

    #[test]
    fn columns_are_aligned_over_pages() {
        let mut table = Table::new(&LAYOUT, false, false);
        assert_eq!(shown(&mut table, &[["abcdefgh", "é"]], true), "STATUS    NAME\nabcdefgh  é\n");
        assert_eq!(shown(&mut table, &[["a", ""]], false), "a         -\n");
        let long = "x".repeat(70);
        assert_eq!(shown(&mut table, &[["a", &long]], false), format!("a         {}…\n", "x".repeat(59)));
        let mut wide = Table::new(&LAYOUT, true, false);
        assert_eq!(shown(&mut wide, &[["a", &long]], false), format!("a       {long}  a\n"));
    }

    #[test]
    fn statuses_have_colours() {
        let mut table = Table::new(&LAYOUT, false, true);
        assert_eq!(shown(&mut table, &[["failed", "failed"]], false), "\u{1b}[31mfailed\u{1b}[0m  failed\n");
    }
}
