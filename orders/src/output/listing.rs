//! Prints items in the format of the user.

use super::table::Table;
use super::{Column, Format, Item, Layout, Stream, csv, is_colored};
use crate::console;
use crate::error::Error;

/// A listing that is printed page by page, so that its length costs no memory.
#[derive(Debug)]
pub(crate) struct Listing {
    format: Format,
    layout: &'static Layout,
    table: Table,
    printed: usize,
}

impl Listing {
    /// Creates a listing without items.
    pub(crate) fn new(format: Format, layout: &'static Layout) -> Self {
        let table = Table::new(layout, format == Format::Wide, is_colored(Stream::Stdout));
        Self { format, layout, table, printed: 0 }
    }

    /// Prints a page.
    pub(crate) fn add(&mut self, items: &[Item]) -> Result<(), Error> {
        let text = self.page(items);
        console::print(&text)
    }

    /// Ends the listing, and tells a reader that it is empty.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let text = self.end();
        console::print(&text)
    }

    fn page(&mut self, items: &[Item]) -> String {
        if items.is_empty() {
            return String::new();
        }
        let first = self.printed == 0;
        self.printed += items.len();
        match self.format {
            Format::Table | Format::Wide => self.table.rows(items, first),
            Format::Json => {
                let begin = if first { "[\n" } else { ",\n" };
                format!("{begin}{}", items.iter().map(Item::text).collect::<Vec<_>>().join(",\n"))
            }
            Format::JsonLines => items.iter().map(|item| format!("{}\n", item.text())).collect(),
            Format::Csv => {
                let head = if first { self.csv_head() } else { String::new() };
                let cells = |item| self.layout.columns.iter().map(move |column| (column.cell)(item));
                let line = |item| csv::line(&cells(item).collect::<Vec<_>>());
                head + &items.iter().map(line).collect::<String>()
            }
            Format::Id => {
                items.iter().map(|item| format!("{}\n", super::text(item, self.layout.id))).collect()
            }
        }
    }

    fn end(&mut self) -> String {
        match (self.format, self.printed) {
            (Format::Json, 0) => "[]\n".to_owned(),
            (Format::Json, _) => "\n]\n".to_owned(),
            (Format::Table | Format::Wide, 0) => format!("{}\n", self.layout.none),
            (Format::Csv, 0) => self.csv_head(),
            _ => String::new(),
        }
    }

    /// The head of CSV: the heads of the columns in lower case, with `_` for a space.
    fn csv_head(&self) -> String {
        let name = |column: &Column| column.head.to_lowercase().replace(' ', "_");
        csv::line(&self.layout.columns.iter().map(name).collect::<Vec<_>>())
    }
}

/// Prints a complete listing.
pub(crate) fn print_list(format: Format, layout: &'static Layout, items: &[Item]) -> Result<(), Error> {
    let mut listing = Listing::new(format, layout);
    listing.add(items)?;
    listing.finish()
}

/// Returns items as a table.
pub(crate) fn render_table(format: Format, layout: &'static Layout, items: &[Item]) -> String {
    Listing::new(format, layout).page(items)
}

/// Prints one object; `describe` writes it for readers.
pub(crate) fn print_object(
    format: Format,
    layout: &'static Layout,
    item: &Item,
    describe: impl FnOnce(&Item) -> String,
) -> Result<(), Error> {
    match format {
        Format::Table | Format::Wide => console::print(&describe(item)),
        Format::Json | Format::JsonLines => console::print(&format!("{}\n", item.text())),
        Format::Csv | Format::Id => print_list(format, layout, std::slice::from_ref(item)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static LAYOUT: Layout = Layout {
        id: "id",
        none: "nothing matches",
        columns: &[
            Column::new("ID", |item| super::super::text(item, "id")),
            Column::wide("LAST USE", |item| super::super::text(item, "use")),
        ],
    };

    fn shown(format: Format, pages: &[&[Item]]) -> String {
        let mut listing = Listing::new(format, &LAYOUT);
        let mut shown: String = pages.iter().map(|page| listing.page(page)).collect();
        shown.push_str(&listing.end());
        shown
    }

    #[test]
    fn every_format_has_its_shape() {
        let a = [Item::from(json!({"id": "a", "use": "1,5"}))];
        let b = [Item::from(json!({"id": "b", "use": null}))];
        for (format, some, none) in [
            (Format::Table, "ID\na\nb\n", "nothing matches\n"),
            (Format::Wide, "ID  LAST USE\na   1,5\nb   -\n", "nothing matches\n"),
            (Format::Json, "[\n{\"id\":\"a\",\"use\":\"1,5\"},\n{\"id\":\"b\",\"use\":null}\n]\n", "[]\n"),
            (Format::JsonLines, "{\"id\":\"a\",\"use\":\"1,5\"}\n{\"id\":\"b\",\"use\":null}\n", ""),
            (Format::Csv, "id,last_use\na,\"1,5\"\nb,\n", "id,last_use\n"),
            (Format::Id, "a\nb\n", ""),
        ] {
            assert_eq!(shown(format, &[&a, &b, &[]]), some, "{format:?}");
            assert_eq!(shown(format, &[&[]]), none, "{format:?}");
        }
    }
}
