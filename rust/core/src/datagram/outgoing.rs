//! The sending half of the control stream: what the peer hasn't acknowledged, and when to send it again.
//!
//! A segment is taken for lost when one sent later arrived a round trip and a quarter ago (RACK, RFC 8985,
//! simplified), or when nothing arrived for the retransmission timeout. The congestion window falls by a
//! third on loss, at most once a flight, and never below eight segments: control must get through, and is
//! little.

use std::collections::VecDeque;

use super::control::Ack;

/// A segment's bytes at most are given by the link; windows are counted in these.
const SEGMENT: usize = 1200;
const MIN_WINDOW: usize = 8 * SEGMENT;
const FIRST_WINDOW: usize = 16 * SEGMENT;
const MAX_WINDOW: usize = 512 << 10;
/// Timeouts double this often at most.
const MAX_BACKOFF: u32 = 5;
/// No timeout is longer, in seconds: liveness deals with what lasts.
const MAX_RTO: f64 = 2.0;
/// A peer without room is asked again after so many seconds.
const ASK_AGAIN: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Flying,
    Lost,
    Arrived,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    offset: u64,
    length: usize,
    sent: f64,
    fate: Fate,
}

impl Segment {
    fn end(&self) -> u64 {
        self.offset + self.length as u64
    }
}

/// Bytes on their way.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// From `start` on.
    buffer: VecDeque<u8>,
    capacity: usize,
    /// Everything below is acknowledged.
    start: u64,
    /// Everything below was sent at least once.
    next: u64,
    /// The peer has room up to here.
    limit: u64,
    segments: VecDeque<Segment>,
    flying: usize,
    window: usize,
    threshold: usize,
    /// The window doesn't fall again before this is acknowledged.
    recover: u64,
    backoff: u32,
    /// When and where the newest of the arrived segments was sent, and how long it took.
    newest: (f64, u64),
    took: f64,
    /// Since when nothing has moved.
    quiet_since: f64,
    asked: f64,
}

impl Outgoing {
    /// Up to `capacity` bytes may wait; the peer has room for `room` at first.
    pub(super) fn new(capacity: usize, room: usize) -> Self {
        Self {
            buffer: VecDeque::new(),
            capacity,
            start: 0,
            next: 0,
            limit: room as u64,
            segments: VecDeque::new(),
            flying: 0,
            window: FIRST_WINDOW,
            threshold: MAX_WINDOW,
            recover: 0,
            backoff: 0,
            newest: (f64::NEG_INFINITY, 0),
            took: 0.0,
            quiet_since: f64::NEG_INFINITY,
            asked: f64::NEG_INFINITY,
        }
    }

    /// Bytes that the peer hasn't acknowledged.
    pub(super) fn queued(&self) -> usize {
        self.buffer.len()
    }

    /// Queue bytes; false if they are too many.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = self.buffer.len().saturating_add(bytes.len()) <= self.capacity;
        if fits {
            self.buffer.extend(bytes);
        }
        fits
    }

    /// The next segment to send, of at most `most` bytes.
    pub(super) fn segment(&mut self, most: usize, now: f64) -> Option<(u64, Vec<u8>)> {
        if self.flying >= self.window {
            return None;
        }
        if self.flying == 0 {
            self.quiet_since = now;
        }
        let lost = self
            .segments
            .iter_mut()
            .find(|segment| segment.fate == Fate::Lost);
        if let Some(segment) = lost {
            segment.fate = Fate::Flying;
            segment.sent = now;
            let segment = *segment;
            self.flying += segment.length;
            return Some((segment.offset, self.bytes(segment.offset, segment.length)));
        }
        let end = self.start + self.buffer.len() as u64;
        let unsent = end.min(self.limit).saturating_sub(self.next);
        let length = usize::try_from(unsent).unwrap_or(most).min(most);
        if length == 0 {
            return None;
        }
        let offset = self.next;
        self.segments.push_back(Segment {
            offset,
            length,
            sent: now,
            fate: Fate::Flying,
        });
        self.next += length as u64;
        self.flying += length;
        Some((offset, self.bytes(offset, length)))
    }

    fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let skip = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let end = skip.saturating_add(length).min(self.buffer.len());
        self.buffer.range(skip.min(end)..end).copied().collect()
    }

    /// The peer said what it has. False if it claims bytes never sent.
    pub(super) fn receive(&mut self, ack: &Ack, rtt: f64, now: f64) -> bool {
        if ack.next > self.next {
            return false;
        }
        self.limit = self.limit.max(ack.next.saturating_add(u64::from(ack.window)));
        let mut arrived = 0;
        let mut newest = self.newest;
        for segment in &mut self.segments {
            let covered = segment.end() <= ack.next
                || ack.ranges.iter().any(|&(start, end)| {
                    ack.next + u64::from(start) <= segment.offset
                        && segment.end() <= ack.next + u64::from(end)
                });
            if !covered || segment.fate == Fate::Arrived {
                continue;
            }
            if segment.fate == Fate::Flying {
                self.flying -= segment.length;
                if (segment.sent, segment.offset) > newest {
                    newest = (segment.sent, segment.offset);
                }
            }
            segment.fate = Fate::Arrived;
            arrived += segment.length;
        }
        if newest > self.newest {
            self.newest = newest;
            self.took = now - newest.0;
        }
        self.forget(ack.next);
        if arrived > 0 {
            self.quiet_since = now;
            self.backoff = 0;
            self.grow(arrived);
        }
        self.detect(rtt, now);
        true
    }

    fn forget(&mut self, below: u64) {
        while self.segments.front().is_some_and(|first| first.end() <= below) {
            self.segments.pop_front();
        }
        if below > self.start {
            let done = usize::try_from(below - self.start).unwrap_or(usize::MAX);
            self.buffer.drain(..done.min(self.buffer.len()));
            self.start = below;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > 1 << 16 {
            self.buffer.shrink_to(1 << 12);
        }
    }

    fn grow(&mut self, arrived: usize) {
        let more = if self.window < self.threshold {
            arrived
        } else {
            SEGMENT * arrived / self.window.max(1)
        };
        self.window = (self.window + more).min(MAX_WINDOW);
    }

    fn reorder(rtt: f64) -> f64 {
        (rtt / 4.0).max(0.005)
    }

    /// Mark what must be lost by now.
    fn detect(&mut self, rtt: f64, now: f64) {
        let patience = self.took + Self::reorder(rtt);
        let newest = self.newest;
        let mut first_lost = None;
        for segment in &mut self.segments {
            let is_late = segment.fate == Fate::Flying
                && (segment.sent, segment.offset) < newest
                && now >= segment.sent + patience;
            if is_late {
                segment.fate = Fate::Lost;
                self.flying -= segment.length;
                first_lost = first_lost.max(Some(segment.end()));
            }
        }
        if first_lost.is_some_and(|end| end > self.recover) {
            self.recover = self.next;
            self.threshold = (self.window * 7 / 10).max(MIN_WINDOW);
            self.window = self.threshold;
        }
    }

    fn timeout(&self, rto: f64) -> Option<f64> {
        let wait = (rto * f64::from(1 << self.backoff)).min(MAX_RTO.max(rto));
        (self.flying > 0).then_some(self.quiet_since + wait)
    }

    /// Do what time asks for.
    pub(super) fn wake(&mut self, rtt: f64, rto: f64, now: f64) {
        self.detect(rtt, now);
        if self.timeout(rto).is_none_or(|at| now < at) {
            return;
        }
        for segment in &mut self.segments {
            if segment.fate == Fate::Flying {
                segment.fate = Fate::Lost;
            }
        }
        self.flying = 0;
        self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
        self.threshold = (self.window / 2).max(MIN_WINDOW);
        self.window = MIN_WINDOW;
        self.recover = self.next;
    }

    /// Something can be sent now.
    pub(super) fn is_ready(&self) -> bool {
        let end = self.start + self.buffer.len() as u64;
        self.flying < self.window
            && (end.min(self.limit) > self.next
                || self.segments.iter().any(|segment| segment.fate == Fate::Lost))
    }

    /// Whether the peer must be asked if it has room again; asks once in a while.
    pub(super) fn ask_for_room(&mut self, now: f64) -> bool {
        let due = self.is_blocked() && now - self.asked >= ASK_AGAIN;
        if due {
            self.asked = now;
        }
        due
    }

    fn is_blocked(&self) -> bool {
        let end = self.start + self.buffer.len() as u64;
        self.segments.is_empty() && end > self.next && self.limit <= self.next
    }

    /// When [`Outgoing::wake`] has something to do.
    pub(super) fn deadline(&self, rtt: f64, rto: f64) -> f64 {
        let patience = self.took + Self::reorder(rtt);
        let late = self
            .segments
            .iter()
            .filter(|segment| segment.fate == Fate::Flying && (segment.sent, segment.offset) < self.newest)
            .map(|segment| segment.sent + patience)
            .fold(f64::INFINITY, f64::min);
        let blocked = if self.is_blocked() {
            self.asked + ASK_AGAIN
        } else {
            f64::INFINITY
        };
        late.min(self.timeout(rto).unwrap_or(f64::INFINITY)).min(blocked)
    }
}
