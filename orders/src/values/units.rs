//! Durations and sizes with their unit: `30s`, `1h30m`, `256KiB`.
//!
//! `humantime` and `bytesize` parse them. Their formatters are not used: `1h 30m` and `256.0 KiB` have spaces, and a
//! value in a message must be one word that can be pasted as a value.

use std::time::Duration;

use bytesize::ByteSize;

use super::ValueError;

const HOUR: Duration = Duration::from_secs(60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MIB: u64 = 1 << 20;

/// Parses durations from `min` to `max`, such as `250ms`, `30s`, `1h30m` or `7d`.
pub(crate) fn duration(
    min: Duration,
    max: Duration,
) -> impl Fn(&str) -> Result<Duration, ValueError> + Clone + Send + Sync {
    move |text: &str| {
        let range = format!("{} to {}", show_duration(min), show_duration(max));
        let example = if max < WEEK { "30s" } else { "7d" };
        let hint = || format!("give a duration from {range}, such as {example}; units are ms, s, m, h and d");
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && text.bytes().any(|byte| byte != b'0') {
            return Err(ValueError::new("the unit is missing", hint()));
        }
        let outside = || ValueError::new(format!("it is not within {range}"), hint());
        let value = humantime::parse_duration(text).map_err(|error| match error {
            humantime::DurationError::NumberOverflow => outside(),
            _ => ValueError::new("it is not a duration", hint()),
        })?;
        if (min..=max).contains(&value) { Ok(value) } else { Err(outside()) }
    }
}

/// Parses durations of whole hours up to `max`, such as `0s`, `24h` or `7d`.
pub(crate) fn hours(max: Duration) -> impl Fn(&str) -> Result<Duration, ValueError> + Clone + Send + Sync {
    move |text: &str| {
        let time = duration(Duration::ZERO, max)(text)?;
        match time.as_secs() % HOUR.as_secs() == 0 && time.subsec_nanos() == 0 {
            true => Ok(time),
            false => Err(ValueError::new("it is not in whole hours", "give a duration such as 24h")),
        }
    }
}

/// Parses sizes from `min` to `max` bytes, such as `256KiB`, `8MiB` or `262144`.
pub(crate) fn size(min: u64, max: u64) -> impl Fn(&str) -> Result<usize, ValueError> + Clone + Send + Sync {
    move |text: &str| {
        let range = format!("{} to {}", show_size(min), show_size(max));
        let example = if min < MIB { "256KiB" } else { "256MiB" };
        let hint = || {
            format!(
                "give a size from {range}, such as {example}; units are KiB, MiB and GiB, without one it is bytes"
            )
        };
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(ValueError::new("it is not a size", hint()));
        }
        let outside = || ValueError::new(format!("it is not within {range}"), hint());
        let bytes = match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| outside())?,
            false => {
                text.parse::<ByteSize>().map_err(|_| ValueError::new("it is not a size", hint()))?.as_u64()
            }
        };
        if !(min..=max).contains(&bytes) {
            return Err(outside());
        }
        usize::try_from(bytes).map_err(|_| outside())
    }
}

/// Writes a duration in the form that [`duration`] parses: `1h30m`.
pub(crate) fn show_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let mut left = duration.as_nanos();
    let mut shown = String::new();
    for (length, unit) in UNITS {
        if left >= length {
            shown.push_str(&format!("{}{unit}", left / length));
            left %= length;
        }
    }
    if shown.is_empty() { "0".to_owned() } else { shown }
}

/// Writes a size in the form that [`size`] parses, in the largest unit without a fraction: `256KiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")];
    let fits = UNITS.into_iter().find(|(length, _)| bytes > 0 && bytes.is_multiple_of(*length));
    fits.map_or_else(|| bytes.to_string(), |(length, unit)| format!("{}{unit}", bytes / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

    #[test]
    fn durations_have_a_unit() {
        let parse = duration(Duration::ZERO, ALL);
        for (text, expected, shown) in [
            ("0", 0, "0"),
            ("0s", 0, "0"),
            ("250ms", 250, "250ms"),
            ("1500ms", 1_500, "1s500ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("10m", 600_000, "10m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("7d", 604_800_000, "7d"),
            ("36500d", 3_153_600_000_000, "36500d"),
        ] {
            let value = parse(text).unwrap();
            assert_eq!(value, Duration::from_millis(expected), "{text}");
            assert_eq!(show_duration(value), shown);
            assert_eq!(parse(shown), Ok(value));
        }
    }

    #[test]
    fn invalid_duration_has_a_hint() {
        let parse = duration(Duration::from_secs(1), Duration::from_secs(3_600));
        for (text, problem) in [
            ("30", "the unit is missing"),
            ("30000", "the unit is missing"),
            ("0", "not within 1s to 1h"),
            ("0s", "not within 1s to 1h"),
            ("999ms", "not within 1s to 1h"),
            ("1h1ms", "not within 1s to 1h"),
            ("99999999999999999999s", "not within 1s to 1h"),
            ("18446744073709551615d", "not within 1s to 1h"),
            ("", "not a duration"),
            ("-1s", "not a duration"),
            ("30x", "not a duration"),
            ("soon", "not a duration"),
            ("1e3s", "not a duration"),
            ("s", "not a duration"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(problem), "{text:?}: {error}");
            assert!(error.hint.contains("from 1s to 1h, such as 30s"), "{}", error.hint);
        }
        let long = duration(Duration::from_secs(60), ALL)("1").unwrap_err();
        assert!(long.hint.contains("from 1m to 36500d, such as 7d"), "{}", long.hint);
    }

    #[test]
    fn sizes_have_binary_units() {
        let parse = size(0, 1 << 40);
        for (text, expected, shown) in [
            ("0", 0, "0"),
            ("64", 64, "64"),
            ("262144", 262_144, "256KiB"),
            ("256KiB", 262_144, "256KiB"),
            ("256 KiB", 262_144, "256KiB"),
            ("256kib", 262_144, "256KiB"),
            ("1000B", 1_000, "1000"),
            ("1MB", 1_000_000, "1000000"),
            ("1.5MiB", 1_572_864, "1536KiB"),
            ("8MiB", 8_388_608, "8MiB"),
            ("1GiB", 1_073_741_824, "1GiB"),
            ("1TiB", 1_099_511_627_776, "1TiB"),
        ] {
            let bytes = parse(text).unwrap();
            assert_eq!(bytes, expected, "{text}");
            assert_eq!(show_size(bytes as u64), shown);
            assert_eq!(parse(shown), Ok(bytes));
        }
    }

    #[test]
    fn invalid_size_has_a_hint() {
        let parse = size(1_024, 64 * MIB);
        for (text, problem) in [
            ("1023", "not within 1KiB to 64MiB"),
            ("0", "not within"),
            ("65MiB", "not within"),
            ("67108865", "not within"),
            ("99999999999999999999", "not within"),
            ("99999999999999999999GiB", "not within"),
            ("-1", "not a size"),
            ("", "not a size"),
            ("big", "not a size"),
            ("NaN", "not a size"),
            ("1..5MiB", "not a size"),
            ("256KiX", "not a size"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(problem), "{text:?}: {error}");
            assert!(error.hint.contains("from 1KiB to 64MiB, such as 256KiB"), "{}", error.hint);
        }
    }
}
