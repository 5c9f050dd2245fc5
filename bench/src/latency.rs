//! Latencies in an HDR histogram: from a microsecond to an hour, with three significant digits.

use std::time::Duration;

/// The number of times that each latency was recorded.
#[derive(Debug, Clone)]
pub(crate) struct LatencyHistogram(hdrhistogram::Histogram<u64>);

const MAX_MICROS: u64 = 3_600_000_000;

impl Default for LatencyHistogram {
    fn default() -> Self {
        let histogram = hdrhistogram::Histogram::new_with_bounds(1, MAX_MICROS, 3);
        Self(histogram.expect("the bounds and the number of digits are valid constants"))
    }
}

impl LatencyHistogram {
    /// Records a latency; a longer one than an hour counts as an hour.
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    /// Returns the number of recorded latencies.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the latency that `share` (0 to 1) of all did not exceed.
    ///
    /// It is `None` without latencies.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(share)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_is_within_a_thousandth_of_a_recorded_latency() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        for (share, millis) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1_000.0;
            assert!(found >= millis && found < millis * 1.001, "{share}: {found}");
        }
        assert_eq!(histogram.count(), 100);
    }

    #[test]
    fn latency_above_an_hour_is_recorded() {
        let mut histogram = LatencyHistogram::default();
        histogram.record(Duration::from_secs(7_200));
        assert!(histogram.quantile(1.0).unwrap() >= Duration::from_secs(3_600));
    }
}
