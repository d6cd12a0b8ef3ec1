//! Frames of one lane of the peer as they were opened, and those that repairs give back.

use super::field::{add, double, inverse, power, scale};
use super::{FRAMES, HEADER, LENGTH, add_symbol};
use crate::datagram::window::{LANE_SHIFT, below_lane};

/// Frames that are kept: a group, and what may come between it and its repairs.
const KEPT: u64 = 32;
/// Without a repair for so many seconds nothing more is kept.
const IDLE: f64 = 2.0;

/// A repair that no group can have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a repair that no group can have made")]
pub struct Malformed;

/// The repairs of the last group.
#[derive(Debug, Default)]
struct Last {
    first: u64,
    frames: u64,
    sums: [Option<Vec<u8>>; 2],
}

/// See the module. Everything given to it is authentic: a peer can mislead it about nothing but its own frames.
#[derive(Debug)]
pub struct Mender {
    kept: Vec<Option<(u64, Vec<u8>)>>,
    last: Last,
    heard: f64,
}

impl Mender {
    /// Nothing kept yet, at `now` in seconds.
    #[must_use]
    pub fn new(now: f64) -> Self {
        Self {
            kept: (0..KEPT).map(|_| None).collect(),
            last: Last::default(),
            heard: now,
        }
    }

    /// When it is of no use any more, unless another repair comes.
    #[must_use]
    pub fn deadline(&self) -> f64 {
        self.heard + IDLE
    }

    /// A frame was opened; `counter` is the whole of it.
    pub fn keep(&mut self, counter: u64, entries: &[u8]) {
        let place = self.kept.get_mut((counter % KEPT) as usize);
        // One that was late doesn't take the place of a newer one.
        if let Some(place) = place.filter(|place| place.as_ref().is_none_or(|(known, _)| *known < counter)) {
            let mut bytes = place.take().map(|(_, bytes)| bytes).unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(entries);
            *place = Some((counter, bytes));
        }
    }

    fn kept(&self, counter: u64) -> Option<&[u8]> {
        let place = self.kept.get((counter % KEPT) as usize)?.as_ref()?;
        (place.0 == counter).then_some(place.1.as_slice())
    }

    /// A repair came in a frame under `counter`. The frames that it gives back, each with its own counter.
    ///
    /// # Errors
    /// [`Malformed`]: it is none; nothing was changed.
    pub fn repair(&mut self, counter: u64, body: &[u8], now: f64) -> Result<Vec<(u64, Vec<u8>)>, Malformed> {
        let ([c0, c1, c2, c3, c4, c5, c6, frames, which], sum) =
            body.split_first_chunk::<HEADER>().ok_or(Malformed)?;
        let first = u64::from_be_bytes([0, *c0, *c1, *c2, *c3, *c4, *c5, *c6]);
        let frames = u64::from(*frames);
        // It was sealed after all that it covers, which is still kept.
        let own = below_lane(counter);
        let is_one = (1..=FRAMES as u64).contains(&frames) && *which < 2 && sum.len() > LENGTH;
        if !is_one || own < first + frames || own - first >= KEPT {
            return Err(Malformed);
        }
        let first = counter >> LANE_SHIFT << LANE_SHIFT | first;
        if (self.last.first, self.last.frames) != (first, frames) {
            self.last = Last {
                first,
                frames,
                ..Last::default()
            };
        }
        if let Some(place) = self.last.sums.get_mut(usize::from(*which)) {
            *place = Some(sum.to_vec());
        }
        self.heard = now;
        let found = self.solve().unwrap_or_else(|Malformed| {
            // It would be as useless the next time.
            self.last = Last::default();
            Vec::new()
        });
        // The second sum says nothing new.
        for (counter, entries) in &found {
            self.keep(*counter, entries);
        }
        Ok(found)
    }

    fn solve(&self) -> Result<Vec<(u64, Vec<u8>)>, Malformed> {
        let Last { first, frames, sums } = &self.last;
        let missing: Vec<u64> = (0..*frames)
            .filter(|at| self.kept(first + at).is_none())
            .collect();
        let first = *first;
        let symbols: Vec<(u64, Vec<u8>)> = match (&missing[..], sums) {
            ([one], [Some(plain), _]) => vec![(*one, self.without(plain, false)?)],
            ([one], [_, Some(weighted)]) => {
                let mut symbol = self.without(weighted, true)?;
                scale(&mut symbol, inverse(self.weight(*one)));
                vec![(*one, symbol)]
            }
            ([one, two], [Some(plain), Some(weighted)]) => {
                // plain = A + B, weighted = a A + b B, so A = (weighted + b plain) / (a + b).
                let (plain, mut other) = (self.without(plain, false)?, self.without(weighted, true)?);
                let (a, b) = (self.weight(*one), self.weight(*two));
                let mut scaled = plain.clone();
                scale(&mut scaled, b);
                add(&mut other, 0, &scaled);
                scale(&mut other, inverse(a ^ b));
                let mut rest = plain;
                add(&mut rest, 0, &other);
                vec![(*one, other), (*two, rest)]
            }
            _ => return Ok(Vec::new()),
        };
        let entries = |symbol: &[u8]| {
            let (length, bytes) = symbol.split_first_chunk::<LENGTH>()?;
            bytes
                .get(..usize::from(u16::from_be_bytes(*length)))
                .map(<[u8]>::to_vec)
        };
        let found = symbols
            .iter()
            .map(|(at, symbol)| Some((first + at, entries(symbol)?)));
        found.collect::<Option<_>>().ok_or(Malformed)
    }

    /// What the second sum multiplies the frame at this place by.
    fn weight(&self, at: u64) -> u8 {
        power((self.last.frames - 1 - at) as usize)
    }

    /// A sum without the frames that came, none of which is longer.
    fn without(&self, sum: &[u8], weighted: bool) -> Result<Vec<u8>, Malformed> {
        let came = |at| self.kept(self.last.first + at);
        let mut lengths = (0..self.last.frames).filter_map(came).map(<[u8]>::len);
        if lengths.any(|length| length + LENGTH > sum.len()) {
            return Err(Malformed);
        }
        let mut known = vec![0; sum.len()];
        for at in 0..self.last.frames {
            if weighted {
                double(&mut known);
            }
            if let Some(entries) = came(at) {
                add_symbol(&mut known, entries);
            }
        }
        add(&mut known, 0, sum);
        Ok(known)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repair::Group;

    /// The repairs of these frames, whose first has this counter.
    fn repairs(frames: &[Vec<u8>], first: u64) -> Vec<Vec<u8>> {
        let mut group = Group::default();
        for (counter, frame) in (first..).zip(frames) {
            group.add(counter, frame, 1.0);
        }
        group.close()
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..80), 1..=FRAMES)
    }

    proptest! {
        #[test]
        fn as_many_frames_come_back_as_there_are_repairs(
            frames in frames(), lane in 0u64..16, first in 0u64..1 << 40,
            lost: [prop::sample::Index; 2], kept: [bool; 2], turned: bool,
        ) {
            let first = lane << LANE_SHIFT | first;
            let mut bodies: Vec<_> = (first + frames.len() as u64..).zip(repairs(&frames, first)).collect();
            bodies = bodies.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(body, _)| body).collect();
            if turned {
                bodies.reverse();
            }
            let mut lost: Vec<u64> = lost.iter().map(|at| first + at.index(frames.len()) as u64).collect();
            lost.sort_unstable();
            lost.dedup();
            let mut mender = Mender::new(1.0);
            for (counter, frame) in (first..).zip(&frames).filter(|(counter, _)| !lost.contains(counter)) {
                mender.keep(counter, frame);
            }
            let mut found = Vec::new();
            for (counter, body) in &bodies {
                found.extend(mender.repair(*counter, body, 1.0).unwrap());
            }
            let all: Vec<_> = lost.iter().map(|at| (*at, frames[(at - first) as usize].clone())).collect();
            prop_assert_eq!(found, if lost.len() <= bodies.len() { all } else { Vec::new() });
        }

        #[test]
        fn whatever_comes_changes_nothing_or_gives_frames_of_its_group(
            kept in proptest::collection::vec((0u64..40, proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
            bodies in proptest::collection::vec((0u64..60, 0u8..40, 0u8..20, 0u8..3, any::<[u8; 12]>()), 1..6),
        ) {
            let mut mender = Mender::new(1.0);
            for (counter, frame) in &kept {
                mender.keep(*counter, frame);
            }
            for (counter, first, frames, which, sum) in bodies {
                let body = [&[0, 0, 0, 0, 0, 0, first, frames, which][..], &sum].concat();
                for (at, entries) in mender.repair(counter, &body, 1.0).unwrap_or_default() {
                    prop_assert!(at < counter && (u64::from(first)..u64::from(first + frames)).contains(&at));
                    prop_assert!(entries.len() <= sum.len() - LENGTH);
                }
            }
        }
    }

    #[test]
    fn what_no_group_can_have_made_is_refused() {
        let mut mender = Mender::new(1.0);
        let body = |first: u8, frames: u8, which: u8| vec![0, 0, 0, 0, 0, 0, first, frames, which, 0, 1, 7];
        assert_eq!(mender.repair(50, &body(40, 4, 0), 1.0), Ok(Vec::new()));
        for (counter, body) in [
            (50, body(40, 0, 0)),
            (50, body(30, FRAMES as u8 + 1, 0)),
            (50, body(40, 4, 2)),
            (50, body(49, 2, 0)),
            (50 + KEPT, body(40, 4, 0)),
            (50, body(40, 4, 0)[..HEADER + LENGTH].to_vec()),
            (50, vec![0; HEADER - 1]),
        ] {
            assert_eq!(mender.repair(counter, &body, 9.0), Err(Malformed), "{body:?}");
        }
        assert_eq!(mender.deadline(), 1.0 + IDLE);
    }

    #[test]
    fn a_frame_that_never_was_needs_no_repair() {
        let frames = vec![b"one".to_vec(), b"two".to_vec()];
        let mut mender = Mender::new(1.0);
        (7..)
            .zip(&frames)
            .for_each(|(counter, frame)| mender.keep(counter, frame));
        assert_eq!(mender.repair(9, &repairs(&frames, 7)[0], 1.0), Ok(Vec::new()));
    }
}
