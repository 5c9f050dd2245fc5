//! The close codes of websockets in the metrics.

/// The values of the label `code`. Clients choose codes too; the others share one value.
pub const CLOSE_CODES: &[&str] = &[
    "1000", "1001", "1002", "1005", "1006", "1007", "1009", "1011", "1012", "1013", "4400", "4401", "4403",
    "4408", "4409", "4429", OTHER,
];
const OTHER: &str = "other";

/// Returns the label of a close code.
pub(super) fn label(code: u16) -> &'static str {
    let code = code.to_string();
    CLOSE_CODES.iter().find(|known| **known == code).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_share_a_label() {
        assert_eq!([label(1000), label(4408), label(4999)], ["1000", "4408", "other"]);
    }
}
