//! An open loop for low rates: each request starts within about 0.1 ms of its time.
//!
//! [`super::run_open_loop`] starts requests at ticks of a millisecond, which would be a part of a latency of a few. Here
//! a separate thread sleeps until the time of each request.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{ConnectionPool, Target, Totals, run_on_this_thread};

/// Maximum number of connections.
const MAX_CONNECTIONS: usize = 512;
/// Maximum number of requests whose time has come and that were not passed to a connection.
const MAX_WAITING: usize = 1_024;

/// Starts `rate` requests per second at equal intervals for `duration`, and awaits their responses.
pub(crate) fn run_arrivals(target: &Target, rate: f64, duration: Duration) -> io::Result<Totals> {
    run_on_this_thread(async {
        let began = Instant::now();
        let pool = ConnectionPool::new(target, began, duration);
        let (sender, mut receiver) = mpsc::channel(MAX_WAITING);
        let clock = std::thread::spawn(move || {
            for due in due_times(began, rate, duration) {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if sender.blocking_send(due).is_err() {
                    return;
                }
            }
        });
        let mut senders = Vec::new();
        let mut started = 0;
        while let Some(due) = receiver.recv().await {
            started += 1;
            senders.extend(pool.start_request(due, MAX_CONNECTIONS));
        }
        clock.join().map_err(|_| io::Error::other("the thread that starts requests has panicked"))?;
        pool.finish(started, senders).await
    })?
}

/// Returns the times at which the requests are due.
fn due_times(began: Instant, rate: f64, duration: Duration) -> impl Iterator<Item = Instant> {
    let count = (duration.as_secs_f64() * rate).round() as u64;
    (0..count).map(move |number| began + Duration::from_secs_f64(number as f64 / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_intervals() {
        let began = Instant::now();
        let due: Vec<_> = due_times(began, 50.0, Duration::from_millis(60)).collect();
        let at = |ms| began + Duration::from_millis(ms);
        assert_eq!(due, [at(0), at(20), at(40)]);
        assert_eq!(due_times(began, 300.0, Duration::from_secs(2)).count(), 600);
    }
}
