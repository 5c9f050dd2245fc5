//! Converts byte offsets of a document to lines and columns.

use apollo_compiler::parser::SourceSpan;
use async_graphql::Pos;

/// The line and column of each byte of a document.
///
/// A table: one search per field in a long line would take longer than all other steps.
pub(super) struct LineIndex(Vec<(u32, u32)>);

impl LineIndex {
    pub(super) fn new(text: &str) -> Self {
        let mut lines = Vec::with_capacity(text.len() + 1);
        let (mut line, mut column) = (1, 1);
        let mut before = '\0';
        for character in text.chars() {
            if before == '\n' || (before == '\r' && character != '\n') {
                (line, column) = (line + 1, 1);
            }
            lines.extend(std::iter::repeat_n((line, column), character.len_utf8()));
            column += 1;
            before = character;
        }
        lines.push((line, column));
        Self(lines)
    }

    /// Returns the position of a byte offset.
    pub(super) fn at(&self, offset: usize) -> Pos {
        let (line, column) = self.0.get(offset).or(self.0.last()).copied().unwrap_or((1, 1));
        Pos { line: line as usize, column: column as usize }
    }

    /// Returns the position of the start of a span.
    pub(super) fn of(&self, span: Option<SourceSpan>) -> Pos {
        self.at(span.map_or(0, |span| span.offset()))
    }
}
