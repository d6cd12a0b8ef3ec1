//! Round trips: smoothed and varied as in RFC 6298, and the smallest of the last minutes.

/// No retransmission timeout is shorter, in seconds.
const MIN_RTO: f64 = 0.020;
/// The timeout before anything was measured.
const FIRST_RTO: f64 = 0.250;
/// The smallest is forgotten after one to two of these, in seconds.
const MIN_PERIOD: f64 = 60.0;

/// What is known about the round trip.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rtt {
    smoothed: Option<f64>,
    variance: f64,
    smallest: [f64; 2],
    period: f64,
}

impl Default for Rtt {
    fn default() -> Self {
        Self {
            smoothed: None,
            variance: 0.0,
            smallest: [f64::INFINITY; 2],
            period: 0.0,
        }
    }
}

impl Rtt {
    pub(super) fn sample(&mut self, rtt: f64, now: f64) {
        let rtt = rtt.max(0.0);
        match &mut self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variance = rtt / 2.0;
            }
            Some(smoothed) => {
                self.variance += ((*smoothed - rtt).abs() - self.variance) / 4.0;
                *smoothed += (rtt - *smoothed) / 8.0;
            }
        }
        if now - self.period >= MIN_PERIOD {
            self.smallest = [f64::INFINITY, self.smallest[0]];
            self.period = now;
        }
        self.smallest[0] = self.smallest[0].min(rtt);
    }

    /// Smoothed, 0 before the first sample.
    pub(super) fn smoothed(&self) -> f64 {
        self.smoothed.unwrap_or(0.0)
    }

    pub(super) fn variance(&self) -> f64 {
        self.variance
    }

    pub(super) fn smallest(&self) -> f64 {
        let smallest = self.smallest[0].min(self.smallest[1]);
        if smallest.is_finite() { smallest } else { 0.0 }
    }

    /// How long to wait for an answer before asking again.
    pub(super) fn timeout(&self) -> f64 {
        self.smoothed
            .map_or(FIRST_RTO, |rtt| (rtt + 4.0 * self.variance).max(MIN_RTO))
    }

    /// How long silence lasts before it means something: max(100 ms, 3 RTT + 4 variances).
    pub(super) fn stall(&self) -> f64 {
        self.smoothed.map_or(3.0 * FIRST_RTO, |rtt| {
            (3.0 * rtt + 4.0 * self.variance).max(0.100)
        })
    }
}
