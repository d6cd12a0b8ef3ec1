//! Bounds on what strangers and hopeless destinations may cause.

use std::collections::HashMap;

/// Errors that may still be sent: strangers can cause them.
#[derive(Debug, Default)]
pub struct Allowance {
    spent: f64,
    at: f64,
}

impl Allowance {
    /// Errors a second, and at once (guesses: a traceroute needs a few dozen).
    const RATE: f64 = 500.0;
    const BURST: f64 = 200.0;

    /// Whether one may be sent now; it counts.
    pub fn allow(&mut self, now: f64) -> bool {
        self.spent = (self.spent - (now - self.at) * Self::RATE).max(0.0);
        self.at = now;
        let allowed = self.spent < Self::BURST;
        if allowed {
            self.spent += 1.0;
        }
        allowed
    }
}

/// Prefixes that packets waited for in vain: for some seconds the next ones are refused at once, so that a host
/// that keeps trying hears "no route" instead of nothing.
#[derive(Debug, Default)]
pub struct Hopeless(HashMap<u64, f64>);

impl Hopeless {
    /// Seconds of refusal (a guess): about as long as the first retransmissions of TCP.
    const LASTS: f64 = 3.0;
    /// Prefixes remembered; beyond that none is added until some have passed.
    const LIMIT: usize = 1024;

    /// Packets waited for `prefix` in vain.
    pub fn add(&mut self, prefix: u64, now: f64) {
        if self.0.len() >= Self::LIMIT {
            self.0.retain(|_, until| *until > now);
        }
        if self.0.len() < Self::LIMIT {
            self.0.insert(prefix, now + Self::LASTS);
        }
    }

    /// Whether packets for `prefix` are refused now.
    pub fn has(&mut self, prefix: u64, now: f64) -> bool {
        let Some(until) = self.0.get(&prefix) else {
            return false;
        };
        let still = *until > now;
        if !still {
            self.0.remove(&prefix);
        }
        still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_errors_is_thinned_and_time_makes_up_for_it() {
        let mut errors = Allowance::default();
        assert_eq!((0..1000).filter(|_| errors.allow(1.0)).count(), 200);
        assert!(errors.allow(1.1));
    }

    #[test]
    fn a_prefix_is_hopeless_for_a_while_and_there_is_an_end_to_it() {
        let mut hopeless = Hopeless::default();
        hopeless.add(7, 0.0);
        assert!(hopeless.has(7, 2.9));
        assert!(!hopeless.has(7, 3.1));
        assert!(!hopeless.has(8, 0.0));
        (0..5000).for_each(|prefix| hopeless.add(prefix, 10.0));
        assert_eq!(hopeless.0.len(), Hopeless::LIMIT);
    }
}
