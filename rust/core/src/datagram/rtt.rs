//! Round trips: smoothed and varied as in RFC 6298, and the smallest of the last minutes.

use crate::silence::{Lately, Smallest, patience};

/// No retransmission timeout is shorter, in seconds.
const MIN_RTO: f64 = 0.020;
/// The timeout before anything was measured.
const FIRST_RTO: f64 = 0.250;
/// No silence that is shorter means anything, in seconds.
const MIN_STALL: f64 = 0.100;

/// What is known about the round trip.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rtt {
    smoothed: Option<f64>,
    variance: f64,
    smallest: Smallest,
    lately: Lately,
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
        self.smallest.sample(rtt, now);
        self.lately.sample(rtt);
    }

    /// Smoothed, 0 before the first sample.
    pub(super) fn smoothed(&self) -> f64 {
        self.smoothed.unwrap_or(0.0)
    }

    pub(super) fn variance(&self) -> f64 {
        self.variance
    }

    pub(super) fn smallest(&self) -> f64 {
        self.smallest.get()
    }

    /// The median of the last few, 0 before the first sample.
    pub(super) fn lately(&self) -> f64 {
        self.lately.median()
    }

    /// How long to wait for an answer before asking again.
    pub(super) fn timeout(&self) -> f64 {
        self.smoothed
            .map_or(FIRST_RTO, |rtt| (rtt + 4.0 * self.variance).max(MIN_RTO))
    }

    /// How long silence lasts before it means something: 3 RTT + 4 variances, within the bounds of [`patience`].
    pub(super) fn stall(&self) -> f64 {
        self.smoothed.map_or(3.0 * FIRST_RTO, |rtt| {
            let usual = 3.0 * rtt + 4.0 * self.variance;
            patience(usual, MIN_STALL, self.smallest(), self.lately())
        })
    }
}
