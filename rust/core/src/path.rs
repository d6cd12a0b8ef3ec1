//! The longest frame that gets through to one node over relays, found by probes from end to end (RFC 8899).
//!
//! Relays say nothing about what they drop, so the ends ask each other. A round is a short probe and a long one: the
//! short one tells a path that carries nothing from one that loses what is long. The path is asked when it is new or
//! changed, when something is sent and nothing comes back, and from time to time whether it carries more again.

/// Frames to choose from, longest first. The first goes through every relay over Ethernet; the last through a stock
/// QUIC link that fell back to its smallest datagram (1200 bytes of UDP payload).
pub const FRAMES: [usize; 4] = [1394, 1282, 1176, 1122];

/// How long a round waits for its answers at least, in seconds: above what a busy host takes (a guess).
const ROUND: f64 = 0.1;
/// Rounds in a row in which only the short probe came back, before a shorter frame is tried.
const STRIKES: u32 = 2;
/// Rounds without any answer before this machine waits to be asked again: the path is dead, and others see to that.
const SILENT: u32 = 8;
/// After so many seconds a longer frame is tried again: RFC 8899's PMTU_RAISE_TIMER is 600 s, but routes change.
const RAISE: f64 = 60.0;

/// A probe to be sent: an answer repeats its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Names it.
    pub number: u32,
    /// Bytes of the frame that carries it; none: as short as it comes.
    pub frame: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Round {
    /// Which of [`FRAMES`] is asked for.
    step: usize,
    short: u32,
    long: u32,
    heard: bool,
    until: f64,
    strikes: u32,
    silent: u32,
}

/// What is known of the path to one node.
#[derive(Debug)]
pub struct PathMtu {
    step: usize,
    round: Option<Round>,
    raise_at: Option<f64>,
    next: u32,
    probes: Vec<Probe>,
}

impl Default for PathMtu {
    fn default() -> Self {
        Self {
            step: 0,
            round: None,
            raise_at: None,
            next: 1,
            probes: Vec::new(),
        }
    }
}

impl PathMtu {
    /// The longest frame that may be sent.
    #[must_use]
    pub fn longest(&self) -> usize {
        FRAMES.get(self.step).copied().unwrap_or(1122)
    }

    /// The path is new, has changed, or nothing comes back over it.
    pub fn suspect(&mut self, now: f64, rtt: f64) {
        if self.round.is_none() {
            self.begin(self.step, 0, 0, now, rtt);
        }
    }

    /// A probe of this number was answered. True: [`Self::longest`] changed.
    pub fn answered(&mut self, number: u32, now: f64) -> bool {
        let Some(round) = &mut self.round else {
            return false;
        };
        if number == round.short {
            round.heard = true;
        }
        if number != round.long {
            return false;
        }
        let changed = round.step != self.step;
        self.step = round.step;
        self.round = None;
        self.raise_at = (self.step > 0).then_some(now + RAISE);
        changed
    }

    /// Do what is due. True: [`Self::longest`] changed.
    pub fn wake(&mut self, now: f64, rtt: f64) -> bool {
        match self.round {
            Some(round) if round.until <= now => self.end(round, now, rtt),
            None if self.raise_at.is_some_and(|at| at <= now) => {
                self.raise_at = Some(now + RAISE);
                self.begin(self.step.saturating_sub(1), 0, 0, now, rtt);
                false
            }
            _ => false,
        }
    }

    /// When [`Self::wake`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<f64> {
        self.round.map(|round| round.until).or(self.raise_at)
    }

    /// The probes to be sent.
    pub fn probes(&mut self) -> Vec<Probe> {
        std::mem::take(&mut self.probes)
    }

    /// A round is over, and the long probe isn't answered.
    fn end(&mut self, round: Round, now: f64, rtt: f64) -> bool {
        self.round = None;
        if !round.heard {
            if round.silent + 1 < SILENT {
                self.begin(round.step, round.strikes, round.silent + 1, now, rtt);
            }
            return false;
        }
        if round.strikes + 1 < STRIKES {
            self.begin(round.step, round.strikes + 1, 0, now, rtt);
            return false;
        }
        if round.step < self.step {
            // It doesn't carry more than before.
            return false;
        }
        let shorter = (round.step + 1).min(FRAMES.len() - 1);
        let changed = shorter != self.step;
        self.step = shorter;
        self.raise_at = Some(now + RAISE);
        if changed {
            self.begin(shorter, 0, 0, now, rtt);
        }
        changed
    }

    fn begin(&mut self, step: usize, strikes: u32, silent: u32, now: f64, rtt: f64) {
        let (short, long) = (self.next, self.next.wrapping_add(1));
        self.next = self.next.wrapping_add(2);
        self.round = Some(Round {
            step,
            short,
            long,
            heard: false,
            until: now + ROUND.max(3.0 * rtt),
            strikes,
            silent,
        });
        let frame = FRAMES.get(step).copied();
        self.probes.push(Probe {
            number: short,
            frame: None,
        });
        self.probes.push(Probe { number: long, frame });
    }
}
