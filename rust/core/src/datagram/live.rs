//! Whether the peer is there.
//!
//! Pings go out while data flows, every 50 ms; faster once the first of them is late, so that the loss of one
//! or two isn't taken for the loss of the link. A quiet link gets one every 20 s, which also keeps NATs open,
//! and more when it isn't answered. A clock that jumped, or a pause in which nobody woke the machine, means
//! that the host slept: then the peer is asked at once, and has time to answer before it is given up.

/// While data flows, and while a stall is young.
pub(super) const PING: f64 = super::PING_MS as f64 / 1000.0;
/// Data flows if some was sent or heard as recently, in seconds. Heard counts too: who only receives must leave a silent
/// link as soon as the other end, or its answers go into it.
const FLOWING: f64 = 0.2;
/// When the first ping is late.
const HURRY: f64 = 0.010;
/// When a stall lasts for a second, and for ten.
const STALLED: [(f64, f64); 2] = [(10.0, 1.0), (1.0, 0.2)];
/// Pings of a quiet link.
const KEEP_ALIVE: f64 = 20.0;
/// Pings of a quiet link that wasn't answered, and how long until it counts as stalled at least.
const QUIET_PING: f64 = 0.2;
const QUIET_STALL: f64 = 1.0;
/// Silence after which a link is dead, if probes went out for [`PROBED`] at least.
pub(super) const DEAD: f64 = 60.0;
const PROBED: f64 = 5.0;
/// Nobody woke the machine for so long: the host slept.
const ASLEEP: f64 = 5.0;
/// Unanswered for so long, the dialler begins to dial anew beside; after sleep, or a long silence, sooner.
const REVIVE: f64 = 1.0;
const REVIVE_SOON: f64 = 0.3;
const LONG_SILENCE: f64 = 30.0;
/// The lanes' clocks are looked at as often at least.
const LOOK: f64 = 0.25;

/// What is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) ping: bool,
    /// Changed to this.
    pub(super) stalled: Option<bool>,
    pub(super) revive: bool,
    pub(super) dead: bool,
    /// The host slept until now: what was on its way isn't any more.
    pub(super) slept: bool,
}

/// What the link knows at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// When lanes or the control stream sent something that wants to arrive.
    pub(super) data: f64,
    /// When lanes heard something.
    pub(super) heard: f64,
    /// How long an answer takes, and how long silence may last.
    pub(super) timeout: f64,
    pub(super) stall: f64,
}

/// The liveness of one link.
#[derive(Debug)]
pub(super) struct Live {
    heard: f64,
    /// The first ping since something was heard.
    asked: Option<f64>,
    pinged: f64,
    /// When anything was sent.
    sent: f64,
    woken: f64,
    slept: bool,
    stalled: Option<f64>,
}

impl Live {
    pub(super) fn new(now: f64) -> Self {
        Self {
            heard: now,
            asked: None,
            pinged: f64::NEG_INFINITY,
            sent: now,
            woken: now,
            slept: false,
            stalled: None,
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    pub(super) fn heard_at(&self) -> f64 {
        self.heard
    }

    /// Something authentic came in.
    pub(super) fn heard(&mut self, now: f64) {
        self.heard = self.heard.max(now);
        self.asked = None;
        self.slept = false;
    }

    /// Something was sent.
    pub(super) fn sent(&mut self, now: f64) {
        self.sent = self.sent.max(now);
    }

    /// A ping was sent.
    pub(super) fn pinged(&mut self, now: f64) {
        self.pinged = now;
        self.sent(now);
        self.asked.get_or_insert(now);
    }

    /// Take note of what lanes heard, and of sleep.
    fn look(&mut self, seen: &Seen, now: f64) -> bool {
        let woke = now - self.woken > ASLEEP;
        self.woken = now;
        if woke {
            self.asked = None;
            self.slept = true;
        }
        if seen.heard > self.heard {
            let answered = self.asked.is_none_or(|asked| seen.heard >= asked);
            self.heard = seen.heard;
            if answered {
                self.asked = None;
                self.slept = false;
            }
        }
        self.sent = self.sent.max(seen.data);
        woke
    }

    fn flows(seen: &Seen, now: f64) -> bool {
        now - seen.data.max(seen.heard) <= FLOWING
    }

    /// When silence after the first ping is a stall.
    fn stall_at(&self, seen: &Seen) -> f64 {
        let Some(asked) = self.asked else {
            return f64::INFINITY;
        };
        let flowed = seen.data > self.heard || Self::flows(seen, asked);
        let patience = if flowed {
            seen.stall
        } else {
            seen.stall.max(QUIET_STALL)
        };
        asked + patience
    }

    /// When the next ping is due.
    fn next_ping(&self, seen: &Seen, now: f64) -> f64 {
        if let Some(since) = self.stalled {
            let interval = STALLED
                .iter()
                .find(|(after, _)| now - since >= *after)
                .map_or(PING, |(_, interval)| *interval);
            return self.pinged + interval;
        }
        let late = self.asked.is_some_and(|asked| now - asked > seen.timeout);
        match (Self::flows(seen, now), self.asked) {
            (true, _) if late => self.pinged + HURRY,
            (true, _) => self.pinged + PING,
            (false, Some(_)) if self.slept || seen.data > self.heard => self.pinged + PING,
            (false, Some(_)) => self.pinged + QUIET_PING.max(seen.timeout),
            (false, None) => self.sent + KEEP_ALIVE,
        }
    }

    pub(super) fn wake(&mut self, seen: &Seen, now: f64) -> Verdict {
        let mut verdict = Verdict::default();
        let woke = self.look(seen, now);
        let unanswered = self.asked.map(|asked| now - asked);
        match (self.stalled, unanswered) {
            (Some(_), None) if !woke => {
                self.stalled = None;
                verdict.stalled = Some(false);
            }
            (None, Some(_)) if now >= self.stall_at(seen) => {
                self.stalled = Some(now);
                verdict.stalled = Some(true);
            }
            _ => {}
        }
        let silence = now - self.heard;
        let soon = self.slept || silence > LONG_SILENCE;
        let revive = if soon { REVIVE_SOON } else { REVIVE };
        verdict.revive = unanswered.is_some_and(|unanswered| unanswered >= revive.max(2.0 * seen.timeout));
        verdict.dead = silence >= DEAD && unanswered.is_some_and(|unanswered| unanswered >= PROBED);
        verdict.slept = woke;
        verdict.ping = woke || now >= self.next_ping(seen, now);
        verdict
    }

    /// When [`Live::wake`] has something to do.
    pub(super) fn deadline(&self, seen: &Seen, now: f64) -> f64 {
        let stall = match self.stalled {
            None => self.stall_at(seen),
            Some(_) if self.asked.is_none() => now,
            Some(_) => f64::INFINITY,
        };
        self.next_ping(seen, now).min(stall).min(now + LOOK)
    }
}
