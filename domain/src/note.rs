//! Notes of an order: what people and systems record about it, beside its status.

use std::fmt;

use crate::order_id::OrderId;
use crate::strings;
use crate::timestamp::Timestamp;

/// Maximum length of a note, in characters.
pub const MAX_NOTE: usize = 1_000;
/// Maximum length of a milestone, in characters.
pub const MAX_MILESTONE: usize = 32;
/// Maximum number of notes of an order.
pub const MAX_NOTES: u32 = 100;

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its order.
    pub order_id: OrderId,
    /// The number within the order: 1, 2, 3. It is independent of the sequences of events.
    pub number: u32,
    /// Its content.
    pub content: NoteContent,
    /// The name of its author.
    pub author: String,
    /// Time of creation.
    pub created_at: Timestamp,
}

/// The content of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteContent {
    /// What it says.
    pub text: String,
    /// The milestone that the order has reached, such as `packed`.
    pub milestone: Option<String>,
    /// Whether the customer sees it on the tracking page.
    pub is_public: bool,
}

/// A field of a note that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidNote {
    /// `text` or `milestone`.
    pub field: &'static str,
    /// What to change; continues the name of the field.
    pub message: String,
}

impl fmt::Display for InvalidNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.message)
    }
}

impl NoteContent {
    /// Checks the content.
    ///
    /// # Errors
    /// All invalid fields.
    pub fn check(
        text: Option<String>,
        milestone: Option<String>,
        is_public: bool,
    ) -> Result<Self, Vec<InvalidNote>> {
        let mut problems = Vec::new();
        let text = text.unwrap_or_default();
        if let Err(message) = strings::validate(&text, MAX_NOTE) {
            problems.push(InvalidNote { field: "text", message });
        }
        if let Some(Err(message)) = milestone.as_deref().map(check_milestone) {
            problems.push(InvalidNote { field: "milestone", message });
        }
        if problems.is_empty() { Ok(Self { text, milestone, is_public }) } else { Err(problems) }
    }
}

fn check_milestone(milestone: &str) -> Result<(), String> {
    let permitted = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if milestone.is_empty() || milestone.len() > MAX_MILESTONE || !milestone.chars().all(permitted) {
        return Err(format!(
            "must have 1 to {MAX_MILESTONE} lower-case ASCII letters, digits, `_` or `-`, such as packed"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_not_blank_and_a_milestone_is_a_word() {
        let fields = |text: &str, milestone: Option<&str>| {
            let checked = NoteContent::check(Some(text.to_owned()), milestone.map(str::to_owned), false);
            checked.err().into_iter().flatten().map(|problem| problem.field).collect::<Vec<_>>()
        };
        assert!(fields("in box 7", None).is_empty() && fields("x", Some("packed-2")).is_empty());
        assert!(fields(&"ä".repeat(MAX_NOTE), Some(&"a".repeat(MAX_MILESTONE))).is_empty());
        assert_eq!(fields(" ", Some("Packed")), ["text", "milestone"]);
        assert_eq!(fields(&"a".repeat(MAX_NOTE + 1), Some("")), ["text", "milestone"]);
        assert_eq!(fields("a\nb", Some(&"a".repeat(MAX_MILESTONE + 1))), ["text", "milestone"]);
        assert_eq!(
            NoteContent::check(None, None, false).unwrap_err()[0].to_string(),
            "text must not be empty"
        );
    }
}
