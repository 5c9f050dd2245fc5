//! Keeps one cause from flooding the log: a database that is away fails every request.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most one line in this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line through at a time, and counts the others.
#[derive(Default)]
pub(crate) struct LogGate {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl LogGate {
    /// Whether a line may be written now, and then how many were held back since the last one.
    pub(crate) fn opens(&self) -> Option<u64> {
        self.opens_at(Instant::now())
    }

    fn opens_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_while_says_how_many_were_held_back() {
        let (gate, start) = (LogGate::default(), Instant::now());
        assert_eq!(gate.opens_at(start), Some(0));
        assert_eq!(gate.opens_at(start), None);
        assert_eq!(gate.opens_at(start + INTERVAL / 2), None);
        assert_eq!(gate.opens_at(start + INTERVAL), Some(2));
        assert_eq!(gate.opens_at(start + INTERVAL), None);
    }
}
