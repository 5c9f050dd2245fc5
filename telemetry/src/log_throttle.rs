//! Limits the rate of a log line: an unreachable database fails every request.
//!
//! It is written by hand because it also counts the lines that it suppressed, for the next line. `tracing-throttle`
//! suppresses whole log layers, and `governor` has no such count.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Default minimum time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Allows one log line per interval, by default one second, and counts those that it suppresses.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    state: Mutex<State>,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::with_interval(INTERVAL)
    }
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// Creates a throttle with this minimum time between two lines.
    pub fn with_interval(interval: Duration) -> Self {
        Self { interval, state: Mutex::default() }
    }

    /// Returns the number of lines suppressed since the last one, if a line may be written now.
    pub fn allow(&self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    fn allow_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            state.suppressed += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_reports_the_suppressed_ones() {
        let (throttle, start) = (LogThrottle::default(), Instant::now());
        assert_eq!(throttle.allow_at(start), Some(0));
        assert_eq!(throttle.allow_at(start), None);
        assert_eq!(throttle.allow_at(start + INTERVAL / 2), None);
        assert_eq!(throttle.allow_at(start + INTERVAL), Some(2));
        assert_eq!(throttle.allow_at(start + INTERVAL), None);
        let throttle = LogThrottle::with_interval(3 * INTERVAL);
        assert_eq!(throttle.allow_at(start), Some(0));
        assert_eq!(throttle.allow_at(start + 2 * INTERVAL), None);
        assert_eq!(throttle.allow_at(start + 3 * INTERVAL), Some(1));
    }
}
