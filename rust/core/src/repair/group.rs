//! Frames of one lane under one key, as they are sealed, and the sums that follow them.

use super::field::double;
use super::{FRAMES, HEADER, add_symbol};
use crate::datagram::window::below_lane;

/// A group is closed so many seconds after its first frame: TCP waits for a packet that is late for a quarter of a round
/// trip at least before it takes it for lost (RFC 8985, section 6.2), once it has seen that some are.
const LONGEST: f64 = 0.015;
/// With fewer frames one sum does.
const FEW: usize = 4;
/// Frames are counted for so many seconds; a path that takes more has senders that loss doesn't slow down, and the sums
/// would take from them.
const WINDOW: f64 = 0.1;
const MANY: u32 = 800;

/// The frames of the last moments, counted.
#[derive(Debug, Default)]
struct Pace {
    since: f64,
    counted: u32,
    before: u32,
}

impl Pace {
    /// One more; whether there are many.
    fn took(&mut self, now: f64) -> bool {
        let passed = now - self.since;
        if passed >= WINDOW {
            self.before = if passed < 2.0 * WINDOW { self.counted } else { 0 };
            (self.since, self.counted) = (now, 0);
        }
        self.counted += 1;
        self.counted.max(self.before) > MANY
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Group {
    first: u64,
    frames: usize,
    since: f64,
    sums: [Vec<u8>; 2],
    pace: Pace,
}

impl Group {
    /// A frame was sealed under `counter`, at `now` in seconds. One that doesn't follow the last begins a new group, and no
    /// sum covers what was before.
    pub fn add(&mut self, counter: u64, entries: &[u8], now: f64) {
        if self.pace.took(now) || entries.len() > usize::from(u16::MAX) {
            return self.clear();
        }
        if self.first.wrapping_add(self.frames as u64) != counter {
            self.clear();
        }
        if self.frames == 0 {
            (self.first, self.since) = (counter, now);
        }
        let [plain, weighted] = &mut self.sums;
        double(weighted);
        for sum in [plain, weighted] {
            add_symbol(sum, entries);
        }
        self.frames += 1;
    }

    /// Whether it takes no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.frames >= FRAMES
    }

    /// When it is to be closed, in seconds; none while it is empty.
    #[must_use]
    pub fn deadline(&self) -> Option<f64> {
        (self.frames > 0).then_some(self.since + LONGEST)
    }

    /// The bodies of the repairs of what was added, to be sealed next. The group is empty then.
    pub fn close(&mut self) -> Vec<Vec<u8>> {
        let count = match self.frames {
            0 => 0,
            1..FEW => 1,
            _ => 2,
        };
        let [.., c0, c1, c2, c3, c4, c5, c6] = below_lane(self.first).to_be_bytes();
        let head = [c0, c1, c2, c3, c4, c5, c6, self.frames as u8];
        let sums = self.sums.iter().zip(0..count);
        let bodies = sums.map(|(sum, which)| {
            let mut body = Vec::with_capacity(HEADER + sum.len());
            body.extend_from_slice(&head);
            body.push(which);
            body.extend_from_slice(sum);
            body
        });
        let bodies = bodies.collect();
        self.clear();
        bodies
    }

    fn clear(&mut self) {
        self.frames = 0;
        self.sums.iter_mut().for_each(Vec::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_closed_when_it_is_full_or_old() {
        let mut group = Group::default();
        assert_eq!(group.deadline(), None);
        for counter in 0..FRAMES as u64 {
            assert!(!group.is_full());
            group.add(counter, b"frame", 1.0 + counter as f64 * 1e-3);
        }
        assert!(group.is_full());
        assert_eq!(group.deadline(), Some(1.0 + LONGEST));
        assert_eq!(group.close().len(), 2);
        assert_eq!((group.deadline(), group.close().len()), (None, 0));
    }

    #[test]
    fn few_frames_have_one_sum() {
        for frames in 1..=FRAMES {
            let mut group = Group::default();
            (0..frames as u64).for_each(|counter| group.add(counter, b"x", 0.0));
            assert_eq!(group.close().len(), if frames < FEW { 1 } else { 2 }, "{frames}");
        }
    }

    #[test]
    fn a_frame_that_was_left_out_begins_another_group() {
        let mut group = Group::default();
        group.add(5, b"a", 0.0);
        group.add(7, b"b", 0.001);
        assert_eq!(group.deadline(), Some(0.001 + LONGEST));
        let bodies = group.close();
        assert_eq!(bodies, [[&[0, 0, 0, 0, 0, 0, 7, 1, 0, 0, 1], &b"b"[..]].concat()]);
    }

    #[test]
    fn many_frames_a_second_have_none_and_fewer_do_again() {
        let mut group = Group::default();
        let mut closed = 0;
        let mut send = |from: u64, frames: u64, seconds: f64, start: f64| {
            for at in 0..frames {
                group.add(from + at, b"x", start + seconds * at as f64 / frames as f64);
                if group.is_full() {
                    closed += group.close().len();
                }
            }
            std::mem::take(&mut closed)
        };
        assert_eq!(send(0, 800, 0.2, 10.0), 100);
        let fast = send(800, 2000, 0.2, 10.2);
        assert!(fast <= 100, "{fast}");
        assert_eq!(send(2800, 1000, 0.1, 10.4), 0);
        assert_eq!(send(3800, 800, 0.2, 10.7), 100);
    }
}
