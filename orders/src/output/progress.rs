//! The progress of a long command on stderr: a bar on a terminal, otherwise a line from time to time.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::console;

/// Interval of the bar.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of the lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Length of the bar, in characters.
const BAR: usize = 30;

/// How much is done.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) done: u64,
    /// `u64::MAX` if it is unknown.
    pub(crate) total: u64,
    /// Further words.
    pub(crate) words: String,
}

/// The progress of a command.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
    /// Whether the remaining time can be estimated: all parts of the work take about the same time.
    has_estimate: bool,
    started: Instant,
    shown: Instant,
    /// Whether the bar is on the present line of the terminal.
    is_drawn: bool,
}

impl Progress {
    /// Begins. The first line without a terminal appears after its interval.
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        Self { is_terminal, has_estimate: true, started: now, shown: now, is_drawn: false }
    }

    /// Begins with work whose parts take different times, so that the remaining time is unknown.
    pub(crate) fn start_without_estimate() -> Self {
        Self { has_estimate: false, ..Self::start() }
    }

    /// Shows that `done` of `total` are done, if it is time. `describe` returns further words.
    pub(crate) fn show(&mut self, done: u64, total: u64, describe: impl FnOnce() -> String) {
        let interval = if self.is_terminal { BAR_INTERVAL } else { LINE_INTERVAL };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let elapsed = if self.has_estimate { self.started.elapsed() } else { Duration::ZERO };
        let line = line(done, total, elapsed, &describe());
        if self.is_terminal {
            self.is_drawn = true;
            console::explain(&format!("\r\u{1b}[K{} {line}", bar(done, total)));
        } else {
            console::explain(&format!("{line}\n"));
        }
    }

    /// Shows the state of work until it is done, also while the state stays the same.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = T>,
        state: impl Fn() -> Option<State>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut ticks = tokio::time::interval(BAR_INTERVAL);
        loop {
            tokio::select! {
                done = &mut work => {
                    self.finish();
                    return done;
                }
                _ = ticks.tick() => {
                    if let Some(State { done, total, words }) = state() {
                        self.show(done, total, || words);
                    }
                }
            }
        }
    }

    /// Returns whether the progress is a bar on a terminal.
    pub(crate) fn is_bar(&self) -> bool {
        self.is_terminal
    }

    /// Removes the bar.
    pub(crate) fn finish(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            console::explain("\r\u{1b}[K");
        }
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// An error is printed in a separate line.
impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The share that is done, from 0 to 1.
fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) }
}

fn bar(done: u64, total: u64) -> String {
    let filled = (share(done, total) * BAR as f64) as usize;
    format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR - filled))
}

/// Percent, further words and the remaining time, which is unknown at the beginning.
fn line(done: u64, total: u64, elapsed: Duration, words: &str) -> String {
    let share = share(done, total);
    let left = (share > 0.0 && share < 1.0 && elapsed >= Duration::from_secs(1))
        .then(|| Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 - share) / share).ok())
        .flatten()
        .map(|left| left.as_secs())
        .map(|left| format!(", {} left", crate::values::show_duration(Duration::from_secs(left.max(1)))));
    format!("{:3.0} %  {words}{}", share * 100.0, left.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_the_share_and_the_remaining_time() {
        assert_eq!(bar(1, 2), format!("[{}{}]", "#".repeat(15), "-".repeat(15)));
        assert_eq!(bar(0, 0), format!("[{}]", "#".repeat(30)));
        assert_eq!(bar(9, 3), bar(3, 3));
        let after = Duration::from_secs;
        assert_eq!(line(25, 100, after(30), "25 orders"), " 25 %  25 orders, 1m30s left");
        assert_eq!(line(0, 100, after(30), "x"), "  0 %  x");
        assert_eq!(line(100, 100, after(30), "x"), "100 %  x");
        assert_eq!(line(1, u64::MAX, after(30), "x"), "  0 %  x", "the time is unknown");
    }
}
