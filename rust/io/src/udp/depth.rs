//! How much may wait for a socket: two milliseconds of what it has been seen to take.
//!
//! A socket that takes nothing more has its buffer full of what the interface hasn't sent yet. From what leaves that buffer
//! in the time until it takes something again follows the interface's rate, and from that how large the buffer should be.
//! With one size for all, what is two milliseconds on a fast interface delays a slow one's packets by a tenth of a second.
//!
//! What waits for the link-layer address of a host that is gone (RFC 4861, RFC 826) is in that buffer as well, for seconds,
//! whatever the interface does: it mustn't pass for a slow interface, nor keep everything else out.

/// Seconds for which the buffer should hold.
const TARGET: f64 = 0.002;
/// Bytes: some trains of the shortest length, in the memory that the kernel counts for them. Less is no queue.
const LEAST: usize = 24 << 10;
/// Bytes: two milliseconds at 12 Gbit/s. More delays everything that waits behind one stream, by as much, and makes nothing
/// faster (docs/benchmarks.md).
pub const MOST: usize = 3 << 20;
/// Bytes: what waits for link-layer addresses is hardly more, so as much alone is no sign of a slow interface; and as much
/// room is made beside it. The kernel keeps 208 KiB for one address.
const ASIDE: usize = 256 << 10;
/// A measurement ends when half of the limit has left, or so many bytes.
const SAMPLE: usize = 256 << 10;
/// Or after so many seconds: a socket that takes nothing is looked at as often.
pub const LONGEST: f64 = 0.05;
/// Seconds from one look to the next while nothing is measured.
const REST: f64 = 0.001;

/// One socket's. Bytes are as the kernel counts them for its buffer.
#[derive(Debug)]
pub struct Depth {
    limit: usize,
    looked: f64,
    measured: Option<Measured>,
    /// It took less than it was given last.
    refused: bool,
}

/// Since when something has always been in the buffer, how much has left since, and how much it held last.
#[derive(Debug)]
struct Measured {
    at: f64,
    left: usize,
    queued: usize,
}

impl Default for Depth {
    fn default() -> Self {
        Self {
            limit: MOST,
            looked: f64::NEG_INFINITY,
            measured: None,
            refused: false,
        }
    }
}

impl Depth {
    /// How large the buffer should be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the interface is slower than the largest buffer is made for.
    pub fn is_slow(&self) -> bool {
        self.limit < MOST
    }

    /// Whether it took less than it was given last.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether a `look` is wanted at `now`, in seconds, before the next bytes are handed over.
    pub fn is_due(&self, now: f64) -> bool {
        self.measured.is_some() || now - self.looked >= REST
    }

    /// Whether `gave` is wanted after bytes were handed over.
    pub fn is_measuring(&self) -> bool {
        self.measured.is_some()
    }

    /// It holds so many bytes at `now`, and is given more in a moment. True when `limit` has changed.
    pub fn look(&mut self, now: f64, queued: usize) -> bool {
        self.looked = now;
        let Some(measured) = &mut self.measured else {
            if queued >= (self.limit / 2).clamp(LEAST, ASIDE) {
                let (at, left) = (now, 0);
                self.measured = Some(Measured { at, left, queued });
            }
            return false;
        };
        measured.left += measured.queued.saturating_sub(queued);
        measured.queued = queued;
        let (left, passed) = (measured.left, now - measured.at);
        let seen = if queued == 0 {
            // It ran dry, and would have sent more of what it refused.
            if self.refused { 2 * self.limit } else { self.limit }
        } else if left == 0 && passed >= LONGEST {
            // Not even the slowest interface sends nothing for so long.
            let beside = if self.refused { 2 * self.limit } else { self.limit };
            self.limit.max(beside.min(ASIDE))
        } else if left >= SAMPLE.min(self.limit / 2) || passed >= LONGEST {
            (left as f64 / passed * TARGET) as usize
        } else {
            return false;
        };
        self.measured = None;
        // A measurement may be wrong, by a thread that lost its processor, say.
        let limit = seen.clamp(self.limit / 2, 2 * self.limit).clamp(LEAST, MOST);
        let changed = limit != self.limit && limit.abs_diff(self.limit) >= self.limit / 8;
        if changed {
            self.limit = limit;
        }
        changed
    }

    /// It was given more and holds so many bytes now, after it took all or `refused` some.
    pub fn gave(&mut self, now: f64, queued: usize, refused: bool) {
        self.refused = refused;
        match &mut self.measured {
            Some(measured) => measured.queued = queued,
            None if refused => {
                let (at, left) = (now, 0);
                self.measured = Some(Measured { at, left, queued });
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes handed over at once.
    const TRAIN: usize = 16_000;

    /// Give it all that it takes for so many seconds, while its interface sends `rate` bytes a second, as a lane does that
    /// comes `late` by so many seconds once half of the buffer is free.
    fn keep_full(depth: &mut Depth, rate: f64, late: f64, seconds: f64) {
        let (mut now, mut queued) = (0.0, 0.0_f64);
        depth.looked = f64::NEG_INFINITY;
        while now < seconds {
            assert!(depth.is_due(now));
            depth.look(now, queued as usize);
            while (queued as usize) < depth.limit() {
                queued += TRAIN as f64;
            }
            depth.gave(now, queued as usize, true);
            let step = (queued - depth.limit() as f64 / 2.0).max(0.0) / rate + late;
            now += step;
            queued = (queued - rate * step).max(0.0);
        }
    }

    #[test]
    fn the_buffer_holds_two_milliseconds_whatever_the_rate_and_follows_it() {
        let mut depth = Depth::default();
        for mbit in [1000.0, 400.0, 8000.0, 2000.0, 100_000.0, 600.0] {
            let rate = mbit * 1e6 / 8.0;
            keep_full(&mut depth, rate, 20e-6, 0.5);
            let wanted = ((rate * TARGET) as usize).clamp(LEAST, MOST);
            let found = depth.limit();
            assert!(
                found > wanted * 6 / 10 && found < wanted * 14 / 10,
                "{mbit} Mbit/s: {found}, not {wanted}"
            );
        }
    }

    #[test]
    fn a_queue_that_stands_is_found_though_the_buffer_would_take_more() {
        let mut depth = Depth::default();
        let (rate, mut queued) = (12.5e6, 1_500_000.0_f64);
        for turn in 0..2000 {
            let now = f64::from(turn) * 0.000_5;
            if depth.is_due(now) {
                depth.look(now, queued as usize);
            }
            // As much as left, so that the queue stands.
            queued += rate * 0.000_5;
            if depth.is_measuring() {
                depth.gave(now, queued as usize, false);
            }
            queued -= rate * 0.000_5;
        }
        assert!(depth.limit() < 30_000, "two milliseconds at 100 Mbit/s are 25 kB");
    }

    #[test]
    fn no_queue_is_no_reason_for_a_limit() {
        let mut depth = Depth::default();
        for turn in 0..1000 {
            let now = f64::from(turn) * 0.01;
            assert!(!depth.look(now, if turn % 2 == 0 { LEAST / 2 } else { 0 }));
            assert!(!depth.is_measuring());
        }
        // One that comes and goes says nothing of the rate.
        depth.look(20.0, 2 * ASIDE);
        assert!(depth.is_measuring());
        assert!(!depth.look(20.04, 0));
        assert!(!depth.is_slow());
    }

    #[test]
    fn what_waits_for_an_address_is_no_slow_interface() {
        let mut depth = Depth::default();
        // It is there at each look, and all else has left.
        for turn in 0..1000 {
            depth.look(f64::from(turn) * 0.01, 50_000);
            assert!(!depth.is_measuring() && !depth.is_slow());
        }
    }

    #[test]
    fn what_waits_for_an_address_keeps_nothing_else_out() {
        let mut depth = Depth::default();
        keep_full(&mut depth, 2.5e6, 20e-6, 5.0);
        assert_eq!(depth.limit(), LEAST);
        // The buffer is full of it, and nothing leaves.
        let (stuck, mut now) = (60_000, 10.0);
        while depth.limit() < 2 * stuck {
            depth.gave(now, stuck, true);
            now += LONGEST;
            depth.look(now, stuck);
            assert!(now < 10.3, "{}", depth.limit());
        }
        for turn in 0..100 {
            now += LONGEST;
            depth.gave(now, stuck, turn % 2 == 0);
            depth.look(now, stuck);
            assert!((2 * stuck..=ASIDE).contains(&depth.limit()));
        }
        keep_full(&mut depth, 2.5e6, 20e-6, 5.0);
        assert_eq!(depth.limit(), LEAST, "it is as slow as before");
    }

    #[test]
    fn neither_a_standstill_nor_any_measurement_leaves_the_bounds() {
        let mut depth = Depth::default();
        keep_full(&mut depth, 1e4, 0.0, 1000.0);
        assert_eq!(depth.limit(), LEAST);
        keep_full(&mut depth, 1e12, 0.0, 0.01);
        assert_eq!(depth.limit(), MOST);
        for (passed, queued) in [
            (0.0, 0),
            (1.0, 0),
            (0.0, 1),
            (f64::NAN, 1),
            (-1.0, 1),
            (1e-9, MOST),
        ] {
            depth.gave(0.0, MOST, true);
            depth.look(passed, queued);
            assert!((LEAST..=MOST).contains(&depth.limit()));
        }
    }
}
