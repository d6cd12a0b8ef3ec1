//! When a lane rests before it looks again: many small packets are worked on better in groups.
//!
//! A wake-up, a send call and a write of the TUN cost several times what one small packet costs. A lane that is woken
//! for every one of them spends its share of the processor on waking, and what comes while it waits for its next
//! share overflows the TUN's queue. Network cards moderate their interrupts for the same reason.

use std::time::Duration;

/// What is read at once and is no bulk, bytes.
pub const SMALL: usize = 2048;
/// What is a small packet of a stream, on average, bytes.
pub const SMALL_FRAME: usize = 512;
/// How long packets are counted before the rate is taken anew, seconds.
const WINDOW: f64 = 0.001;
/// Small packets a second from which on groups are worth their delay (measured: docs/benchmarks.md, "Small packets").
const FAST: f64 = 40_000.0;
/// A turn that took as many has its group already.
const GROUP: usize = 32;
/// The rest: 32 packets at 160,000 a second, a fifteenth of what the TUN's queue holds.
const REST: Duration = Duration::from_micros(200);

/// Reads in one window, or turns without a pause, beyond which more is likely to wait behind what was read.
const FEW: usize = 4;
/// A lane that waited for less, in seconds, found something there already: some times a call that doesn't wait.
const PAUSE: f64 = 0.000_02;

/// Counts small packets and decides.
#[derive(Debug, Default)]
pub struct Pace {
    since: f64,
    reads: usize,
    counted: usize,
    turn: usize,
    fast: bool,
    /// Turns since the lane had to wait: only a wait shows that nothing was left behind.
    in_a_row: usize,
    ended: f64,
}

impl Pace {
    /// A turn begins at `now`, in seconds.
    pub fn begin(&mut self, now: f64) {
        self.in_a_row = if now - self.ended > PAUSE {
            0
        } else {
            self.in_a_row + 1
        };
    }

    /// The turn and what rest it earned are over at `now`: from here on the lane waits until there is something to do.
    pub fn end(&mut self, now: f64) {
        self.ended = now;
    }

    /// A read gave so many small packets.
    pub fn took(&mut self, packets: usize) {
        self.turn += packets;
        self.reads += 1;
    }

    /// Whether little came of late, as seen in the turn that began at `now`, in seconds: what is read then is sent on at
    /// once, without a look for more that could go with it. Never in a lane that goes on and on: where turns are long, few
    /// of them fit in a window, and one packet a turn would be all that it takes.
    pub fn is_quiet(&self, now: f64) -> bool {
        !self.fast && self.in_a_row <= FEW && (self.reads <= FEW || now - self.since > WINDOW)
    }

    /// The turn that began at `now`, in seconds, is over: how long to rest, where that is better than to look at once.
    pub fn rest(&mut self, now: f64) -> Option<Duration> {
        let turn = std::mem::take(&mut self.turn);
        self.counted += turn;
        let passed = now - self.since;
        if passed >= WINDOW {
            self.fast = self.counted as f64 >= FAST * passed;
            (self.since, self.counted, self.reads) = (now, 0, 0);
        }
        (self.fast && (1..GROUP).contains(&turn)).then_some(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::{FAST, FEW, GROUP, Pace, REST};

    /// What is said at the end of a second with this many packets a turn and turns a second.
    fn after(packets: usize, turns: u32) -> Option<std::time::Duration> {
        let mut pace = Pace::default();
        let mut last = None;
        for turn in 1..=turns {
            pace.took(packets);
            last = pace.rest(f64::from(turn) / f64::from(turns));
        }
        last
    }

    #[test]
    fn rests_only_while_small_packets_come_fast_and_few_at_a_time() {
        let turns = FAST as u32;
        assert_eq!(after(1, turns / 2), None, "slow");
        assert_eq!(after(2, turns), Some(REST), "fast, few at a time");
        assert_eq!(after(GROUP, turns), None, "in groups already");
        assert_eq!(after(0, turns), None, "nothing small");
    }

    #[test]
    fn a_few_reads_are_quiet_and_so_is_what_comes_after_a_pause() {
        let mut pace = Pace::default();
        for turn in 0..10 {
            let now = 5.0 + f64::from(turn) * 1e-5;
            pace.took(1);
            // The first turn ends the window before it.
            assert_eq!(pace.is_quiet(now), turn <= FEW as u32, "{turn}");
            pace.rest(now);
        }
        assert!(pace.is_quiet(5.002));
    }

    #[test]
    fn nothing_is_quiet_while_a_lane_rests_to_take_groups() {
        let mut pace = Pace::default();
        for turn in 0..200 {
            pace.took(2);
            let rests = pace.rest(5.0 + f64::from(turn) * 1e-5).is_some();
            assert!(!rests || !pace.is_quiet(5.0 + f64::from(turn) * 1e-5), "{turn}");
        }
        assert!(pace.fast);
    }

    #[test]
    fn a_lane_without_a_pause_is_not_quiet_however_long_its_turns_are() {
        for length in [0.0003, 0.002] {
            let mut pace = Pace::default();
            let (mut now, mut turn) = (5.0, |now: f64| {
                pace.begin(now);
                pace.took(1);
                let quiet = pace.is_quiet(now);
                pace.rest(now);
                pace.end(now + length);
                quiet
            });
            let quiet = (0..20).filter(|_| {
                now += length + 1e-6;
                turn(now)
            });
            assert_eq!(quiet.count(), FEW + 1, "{length}");
            assert!(turn(now + length + 0.0001), "after a pause");
        }
    }

    #[test]
    fn stops_resting_a_millisecond_after_the_packets_stop_coming() {
        let mut pace = Pace::default();
        for turn in 0..1000 {
            pace.took(2);
            pace.rest(f64::from(turn) * 1e-5);
        }
        pace.took(1);
        assert_eq!(pace.rest(0.02), None);
    }
}
