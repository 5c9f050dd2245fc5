//! The limits of what users set.

use std::time::Duration;

/// Maximum length of a description, in characters.
pub const MAX_DESCRIPTION: usize = 200;
/// Maximum length of the customer of a filter, in characters.
pub(crate) const MAX_CUSTOMER: usize = 200;
/// Concurrent requests of an endpoint whose creator names no number.
pub const DEFAULT_CONCURRENCY: u32 = 8;
/// Maximum number of concurrent requests of an endpoint.
pub const MAX_CONCURRENCY: u32 = 32;
/// Maximum rate of an endpoint, in requests per second.
pub const MAX_RATE: u32 = 10_000;
/// The time for which an old secret signs if its user names none.
pub const OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
/// The maximum of this time.
pub const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let rate = limits_page::count(MAX_RATE as usize);
        limits_page::row(
            "webhook endpoint: description; concurrent requests; requests per second",
            &format!(
                "{MAX_DESCRIPTION} characters; {DEFAULT_CONCURRENCY}, at most {MAX_CONCURRENCY}; at most {rate}"
            ),
        );
        let hours = |time: Duration| time.as_secs() / 3600;
        limits_page::row(
            "time for which an old secret of a webhook signs",
            &format!("{} h, at most {} days", hours(OVERLAP), hours(MAX_OVERLAP) / 24),
        );
    }
}
