//! A rate: so many a second, and as many at once.

/// A token bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    rate: f64,
    tokens: f64,
    at: f64,
}

impl Bucket {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            rate: f64::from(per_second),
            tokens: f64::from(per_second),
            at: f64::NEG_INFINITY,
        }
    }

    /// Whether one more may go.
    pub(crate) fn take(&mut self, now: f64) -> bool {
        let more = (now - self.at).max(0.0) * self.rate;
        self.tokens = (self.tokens + more).min(self.rate);
        self.at = now;
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }
}
