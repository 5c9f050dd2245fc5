//! The statistics that readers see: a window of time in steps.

use std::time::Duration;

use domain::Timestamp;

use super::interval::Interval;
use super::minute::INTERVAL_S;

/// Maximum window: the time for which signals are kept.
pub const MAX_WINDOW: Duration = Duration::from_secs(6 * 60 * 60);
/// Minimum window.
pub const MIN_WINDOW: Duration = Duration::from_secs(60);
/// Window without a request for another one.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Maximum number of steps of a window.
pub const MAX_STEPS: u64 = 360;
/// Steps of a window without a request for another length.
const DEFAULT_STEPS: u64 = 60;

/// A window and its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsRange {
    window_s: u64,
    step_s: u64,
}

/// The requested window or step is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// The window is too short or too long.
    #[error("must be from 1m to 6h")]
    Window,
    /// The step is no multiple of an interval.
    #[error("must be a multiple of 10s")]
    Step,
    /// The window has too many steps.
    #[error("must be at least {0}s: the window has at most {MAX_STEPS} steps")]
    TooManySteps(u64),
}

impl InvalidRange {
    /// Returns the parameter that is not possible.
    pub fn parameter(&self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Step | Self::TooManySteps(_) => "step",
        }
    }
}

/// Parses a duration such as `15m` or `1h30m`. The error completes the sentence "is …".
///
/// # Errors
/// If it is none.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "is not a duration: expected one such as 90s, 15m or 1h30m";
    // Longer ones are no durations, and not repeated in an error.
    if text.len() > 20 { Err(EXPECTED) } else { humantime::parse_duration(text).map_err(|_| EXPECTED) }
}

impl StatsRange {
    /// Creates a range.
    ///
    /// # Errors
    /// [`InvalidRange`].
    pub fn new(window: Option<Duration>, step: Option<Duration>) -> Result<Self, InvalidRange> {
        let interval = INTERVAL_S.unsigned_abs();
        let window = window.unwrap_or(DEFAULT_WINDOW);
        if !(MIN_WINDOW..=MAX_WINDOW).contains(&window) {
            return Err(InvalidRange::Window);
        }
        let window_s = window.as_secs();
        let step_s = match step {
            None => window_s.div_ceil(DEFAULT_STEPS).next_multiple_of(interval),
            Some(step) if step.as_secs() >= interval && step.subsec_nanos() == 0 => step.as_secs(),
            Some(_) => return Err(InvalidRange::Step),
        };
        if !step_s.is_multiple_of(interval) {
            return Err(InvalidRange::Step);
        }
        if window_s.div_ceil(step_s) > MAX_STEPS {
            return Err(InvalidRange::TooManySteps(window_s.div_ceil(MAX_STEPS).next_multiple_of(interval)));
        }
        Ok(Self { window_s, step_s })
    }

    /// Returns the start of the first step and the number of steps, of which the last one contains `now`.
    pub(super) fn steps(self, now: Timestamp) -> (i64, u64) {
        let (now_s, step) = (now.as_micros() / 1_000_000, i64::try_from(self.step_s).unwrap_or(i64::MAX));
        let count = self.window_s.div_ceil(self.step_s).max(1);
        let last = now_s - now_s.rem_euclid(step);
        (last - (i64::try_from(count).unwrap_or(0) - 1) * step, count)
    }

    /// Returns the length of a step in seconds.
    pub fn step_s(self) -> u64 {
        self.step_s
    }
}

/// What happened within a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// The start of the first step.
    pub from: Timestamp,
    /// The end, within the last step.
    pub to: Timestamp,
    /// The length of a step in seconds.
    pub step_s: u64,
    /// The sums of all steps.
    pub total: Step,
    /// The steps, the oldest first.
    pub steps: Vec<Step>,
}

/// What happened within a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its start.
    pub at: Timestamp,
    /// Whether everything that happened is known.
    pub is_complete: bool,
    /// The counts and times.
    pub interval: Interval,
    /// The number of orders that could be started, as it was measured last.
    pub ready: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn ranges_are_checked() {
        let step = |window, step| StatsRange::new(window, step).map(StatsRange::step_s);
        assert_eq!(step(None, None), Ok(60));
        assert_eq!(step(s(900), None), Ok(20));
        assert_eq!(step(s(6 * 3600), None), Ok(360));
        assert_eq!(step(s(3600), s(10)), Ok(10));
        assert_eq!(step(s(59), None), Err(InvalidRange::Window));
        assert_eq!(step(s(6 * 3600 + 1), None), Err(InvalidRange::Window));
        for wrong in [s(0), s(9), s(15), Some(Duration::from_millis(10_500))] {
            assert_eq!(step(s(900), wrong), Err(InvalidRange::Step));
        }
        assert_eq!(step(s(6 * 3600), s(10)), Err(InvalidRange::TooManySteps(60)));
        limits_page::row("statistics: window; steps of a window", &format!("6 h; {MAX_STEPS}"));
    }

    #[test]
    fn the_last_step_contains_the_present() {
        let now = Timestamp::from_micros(1_000_000_065_000_000);
        let (first, count) = StatsRange::new(s(600), s(60)).unwrap().steps(now);
        assert_eq!((first, count), (1_000_000_020 - 9 * 60, 10));
        let (first, count) = StatsRange::new(s(90), s(60)).unwrap().steps(now);
        assert_eq!((first, count), (1_000_000_020 - 60, 2));
    }
}
