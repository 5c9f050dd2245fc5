//! Numbers and switches.
//!
//! The range parser of clap is not used: its error has no hint, and it reports `-1` and a number with too many digits
//! as `invalid digit` and `too large` without the range.

use std::ops::RangeInclusive;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::ValueError;

/// Parses whole numbers of a range.
pub(crate) fn number<T>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, ValueError> + Clone + Send + Sync
where
    T: TryFrom<u64>,
{
    move |text: &str| {
        let (min, max) = (range.start(), range.end());
        let hint = || format!("give a whole number from {min} to {max}");
        let outside = || ValueError::new(format!("it is not within {min} to {max}"), hint());
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ValueError::new("it is not a whole number", hint()));
        }
        let value = text.parse().ok().filter(|value| range.contains(value)).ok_or_else(outside)?;
        T::try_from(value).map_err(|_| ValueError::new("it is too large", hint()))
    }
}

/// A new limit. `None` removes the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewLimit(pub(crate) Option<u32>);

/// Parses a limit of a range, or `none`.
pub(crate) fn limit(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<NewLimit, ValueError> + Clone + Send + Sync {
    let max = *range.end();
    let parse = number(range);
    move |text: &str| match text {
        "none" => Ok(NewLimit(None)),
        _ => parse(text).map(|limit| NewLimit(Some(limit))).map_err(|error| {
            ValueError::new(error.problem, format!("give a whole number from 1 to {max}, or none"))
        }),
    }
}

/// Parses a share from 0 to 1.
pub(crate) fn share(text: &str) -> Result<f64, ValueError> {
    const HINT: &str = "give a number from 0 (never) to 1 (always) such as 0.1";
    let value: f64 = text.parse().map_err(|_| ValueError::new("it is not a number", HINT))?;
    if !(0.0..=1.0).contains(&value) {
        return Err(ValueError::new("it is not within 0 to 1", HINT));
    }
    Ok(value)
}

/// Parses a rate per second: `50/s`.
pub(crate) fn rate(text: &str) -> Result<u32, ValueError> {
    let count = text.strip_suffix("/s").unwrap_or(text);
    number(1..=u64::from(gateway::service::orders::MAX_RATE))(count)
        .map_err(|error| ValueError::new(error.problem, "give a rate from 1/s to 10000/s, such as 50/s"))
}

const ON: [&str; 3] = ["on", "true", "1"];
const OFF: [&str; 3] = ["off", "false", "0"];

/// Parses `on` and `off`, and the usual other names of both.
pub(crate) fn switch() -> impl TypedValueParser<Value = bool> {
    let possible = |[name, aliases @ ..]: [&'static str; 3]| PossibleValue::new(name).aliases(aliases);
    PossibleValuesParser::new([possible(ON), possible(OFF)]).map(|text| ON.contains(&text.as_str()))
}

/// Checks whether a word of the command line is a value of a switch.
pub(crate) fn is_switch_value(text: &str) -> bool {
    ON.contains(&text) || OFF.contains(&text)
}
