//! The columns of a listing.

use serde_json::Value;

use super::Item;

/// The columns of a kind of item.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The member that identifies an item, for `-o id`.
    pub(crate) id: &'static str,
    /// The message for readers when there is no item.
    pub(crate) none: &'static str,
    /// The columns.
    pub(crate) columns: &'static [Column],
}

impl Layout {
    /// Returns all cells of an item with the heads of their columns.
    pub(crate) fn cells(&self, item: &Item) -> Vec<(&'static str, String)> {
        self.columns.iter().map(|column| (column.head, printable(&(column.cell)(item)))).collect()
    }
}

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    /// The head, in capital letters.
    pub(super) head: &'static str,
    /// Whether `-o table` omits it.
    pub(super) is_wide: bool,
    /// Whether `-o table` shows only the beginning of long cells.
    pub(super) is_cut: bool,
    /// Returns the cell of an item; empty if the item has none.
    pub(super) cell: fn(&Item) -> String,
}

impl Column {
    /// A column of every format.
    pub(crate) const fn new(head: &'static str, cell: fn(&Item) -> String) -> Self {
        Self { head, is_wide: false, is_cut: false, cell }
    }

    /// A column with strings of clients or errors, which can be long.
    pub(crate) const fn cut(head: &'static str, cell: fn(&Item) -> String) -> Self {
        Self { head, is_wide: false, is_cut: true, cell }
    }

    /// A column of `wide` and `csv`.
    pub(crate) const fn wide(head: &'static str, cell: fn(&Item) -> String) -> Self {
        Self { head, is_wide: true, is_cut: false, cell }
    }
}

/// Returns a member as a string: a list as words, and nothing for an absent one.
pub(crate) fn text(item: &Item, name: &str) -> String {
    words(&item[name])
}

/// Returns a value as a string; the elements of a list are separated by commas.
pub(crate) fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Replaces the characters that change a terminal: values come from clients.
pub(crate) fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if hidden(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_words_without_control_characters() {
        let item = Item::from(json!({"a": ["x", 1], "b": null, "c": true}));
        assert_eq!(
            [text(&item, "a"), text(&item, "b"), text(&item, "c"), text(&item, "d")],
            ["x,1", "", "true", ""]
        );
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}é"), "a [2Jb  é");
    }
}
