//! The largest datagram that arrives: DPLPMTUD (RFC 8899) with probes in the control channel.
//!
//! Sizes are UDP payloads. The first probe has the largest size, which mostly fits; then the range is halved.
//! While data flows, a probe of the size in use looks whether it still arrives; three lost ones in a row,
//! while other things are heard, are a black hole: back to the base size, and search anew.

/// The IP packet that every path carries (RFC 8200).
const BASE_PACKET: u32 = 1280;
/// Probes of one size before it counts as too big, and of the size in use before it is a black hole.
const TRIES: u32 = 3;
/// Sizes are found to within so many bytes.
const STEP: u32 = 4;
/// A finished search is tried again after so many seconds.
const RAISE: f64 = 600.0;
/// While data flows, the size in use is looked at as often.
const CONFIRM: f64 = 0.5;
/// A probe is lost after this, or after twice the usual time.
const MIN_WAIT: f64 = 0.1;

/// While the peer is silent, nothing is tried for so long.
const HOLD: f64 = 0.25;

/// A probe to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) id: u32,
    pub(super) size: u32,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The size in use is another one.
    Size(u32),
    /// The same, because the one before was swallowed.
    BlackHole(u32),
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    probe: Probe,
    sent: f64,
}

/// The search on one path.
#[derive(Debug)]
pub(super) struct Mtu {
    base: u32,
    max: u32,
    /// The largest that arrived, and the largest that may.
    current: u32,
    high: u32,
    tries: u32,
    waiting: Option<Waiting>,
    last_id: u32,
    next: f64,
    confirmed: f64,
}

/// The base size, by the IP version.
pub(super) fn base(v6: bool) -> u32 {
    BASE_PACKET - headers(v6)
}

/// IP and UDP headers.
pub(super) fn headers(v6: bool) -> u32 {
    if v6 { 48 } else { 28 }
}

impl Mtu {
    /// From the base up to IP packets of `max_packet` bytes, and payloads of `peer` bytes.
    pub(super) fn new(v6: bool, max_packet: u32, peer: u32, now: f64) -> Self {
        let base = base(v6);
        let max = max_packet.saturating_sub(headers(v6)).min(peer).max(base);
        Self {
            base,
            max,
            current: base,
            high: max,
            tries: 0,
            waiting: None,
            last_id: 0,
            next: now,
            confirmed: now,
        }
    }

    pub(super) fn current(&self) -> u32 {
        self.current
    }

    fn is_searching(&self) -> bool {
        self.high >= self.current + STEP
    }

    fn candidate(&self) -> u32 {
        if self.high == self.max {
            return self.max;
        }
        self.current + (self.high - self.current).div_ceil(2)
    }

    /// The next probe, if one is due; a ping must go with it. `flows`: data does. `heard`: when the peer was.
    pub(super) fn probe(
        &mut self,
        timeout: f64,
        flows: bool,
        heard: f64,
        now: f64,
    ) -> (Option<Probe>, Option<Found>) {
        let found = self.expire(timeout, heard, now);
        if self.waiting.is_some() || now < self.next - 1e-6 {
            return (None, found);
        }
        if !self.is_searching() && now >= self.confirmed + RAISE && self.current < self.max {
            self.high = self.max;
            self.confirmed = now;
        }
        let size = if self.is_searching() {
            self.candidate()
        } else if flows && self.current > self.base {
            self.current
        } else {
            return (None, found);
        };
        self.last_id = self.last_id.wrapping_add(1);
        let probe = Probe {
            id: self.last_id,
            size,
        };
        self.waiting = Some(Waiting { probe, sent: now });
        (Some(probe), found)
    }

    fn expire(&mut self, timeout: f64, heard: f64, now: f64) -> Option<Found> {
        let waiting = self.waiting?;
        if now < waiting.sent + Self::patience(timeout) - 1e-6 {
            return None;
        }
        self.waiting = None;
        self.next = now;
        if heard <= waiting.sent {
            // Silence says nothing about sizes.
            return None;
        }
        self.tries += 1;
        (self.tries >= TRIES).then(|| self.fail(waiting.probe.size, now))?
    }

    fn patience(timeout: f64) -> f64 {
        (2.0 * timeout).max(MIN_WAIT)
    }

    /// The peer doesn't answer at all: no probes, and the one on its way doesn't count.
    pub(super) fn hold(&mut self, now: f64) {
        self.waiting = None;
        self.next = self.next.max(now + HOLD);
    }

    /// This size doesn't arrive.
    fn fail(&mut self, size: u32, now: f64) -> Option<Found> {
        self.tries = 0;
        if size > self.current {
            self.high = size - 1;
            self.settle(now);
            return None;
        }
        let before = self.current;
        self.current = self.base;
        self.high = before.saturating_sub(1).max(self.base);
        self.next = now;
        (before != self.base).then_some(Found::BlackHole(self.base))
    }

    fn settle(&mut self, now: f64) {
        self.confirmed = now;
        self.next = if self.is_searching() { now } else { now + CONFIRM };
    }

    /// The peer received a probe.
    pub(super) fn acked(&mut self, id: u32, now: f64) -> Option<Found> {
        let waiting = self.waiting.filter(|waiting| waiting.probe.id == id)?;
        self.waiting = None;
        self.tries = 0;
        if waiting.probe.size <= self.current {
            self.next = now + CONFIRM;
            return None;
        }
        self.current = waiting.probe.size.min(self.high);
        self.settle(now);
        Some(Found::Size(self.current))
    }

    /// The socket wouldn't send so much.
    pub(super) fn too_big(&mut self, size: u32, now: f64) -> Option<Found> {
        let waiting = self.waiting.filter(|waiting| waiting.probe.size == size)?;
        self.waiting = None;
        self.fail(waiting.probe.size, now)
    }

    /// When [`Mtu::probe`] has something to do.
    pub(super) fn deadline(&self, timeout: f64, flows: bool) -> f64 {
        match self.waiting {
            Some(waiting) => waiting.sent + Self::patience(timeout),
            None if self.is_searching() || (flows && self.current > self.base) => self.next,
            None if self.current < self.max => self.next.max(self.confirmed + RAISE),
            None => f64::INFINITY,
        }
    }
}
