//! The progress of a running attempt. It is not stored, is no event and takes no sequence.

use crate::order_id::OrderId;
use crate::tenant::TenantId;
use crate::timestamp::Timestamp;

/// The maximum length of a note, in characters.
pub const MAX_PROGRESS_NOTE: usize = 200;

/// What a worker tells about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The order.
    pub order_id: OrderId,
    /// The owner of the order. Clients do not receive it.
    pub tenant_id: TenantId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The done part of the work: 0 to 100.
    pub percent: Option<u8>,
    /// What the worker does.
    pub note: Option<String>,
    /// The time of the report.
    pub reported_at: Timestamp,
}

impl Progress {
    /// Limits the percentage and the note.
    #[must_use]
    pub fn cleaned(self) -> Self {
        let clean = |note: String| {
            let note: String = note.chars().filter(|c| !c.is_control()).take(MAX_PROGRESS_NOTE).collect();
            Some(note.trim().to_owned()).filter(|note| !note.is_empty())
        };
        Self {
            percent: self.percent.map(|percent| percent.min(100)),
            note: self.note.and_then(clean),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_and_notes_are_limited() {
        let progress = Progress {
            order_id: OrderId::from_bytes([1; 16]),
            tenant_id: TenantId::default(),
            attempt: 1,
            percent: Some(255),
            note: Some(format!(" a\nb{}", "ü".repeat(500))),
            reported_at: Timestamp::from_micros(0),
        };
        let cleaned = progress.clone().cleaned();
        assert_eq!(cleaned.percent, Some(100));
        let note = cleaned.note.unwrap();
        assert!(note.starts_with("abü") && note.chars().count() < MAX_PROGRESS_NOTE, "{note}");
        assert_eq!(Progress { note: Some(" \t".to_owned()), ..progress }.cleaned().note, None);
    }
}
