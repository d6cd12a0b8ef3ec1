//! Loss in one direction, from two running totals: sent at one end, received at the other.

/// Datagrams between two looks at the totals.
const SAMPLE: u64 = 16;
/// Datagrams after which a look counts a half.
const MEMORY: f64 = 256.0;

/// Share of datagrams lost, smoothed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loss {
    sent: u64,
    received: u64,
    share: f64,
    begun: bool,
}

impl Loss {
    /// Of `sent` datagrams so far `received` had arrived by then.
    pub(super) fn update(&mut self, sent: u64, received: u64) {
        if !self.begun || sent < self.sent || received < self.received {
            (self.sent, self.received, self.begun) = (sent, received, true);
            return;
        }
        let (more, arrived) = (sent - self.sent, received - self.received);
        if more < SAMPLE {
            return;
        }
        let lost = (1.0 - arrived as f64 / more as f64).clamp(0.0, 1.0);
        let weight = more as f64 / (more as f64 + MEMORY);
        self.share += (lost - self.share) * weight;
        (self.sent, self.received) = (sent, received);
    }

    pub(super) fn share(&self) -> f64 {
        self.share
    }
}
