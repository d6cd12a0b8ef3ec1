//! The replay window: which counters of a sender were seen. After RFC 6479, a ring of bits.

use std::sync::{Mutex, PoisonError};

/// A counter on the wire has the lane that counts above this bit, and its own count below.
pub const LANE_SHIFT: u32 = 56;
/// A counter without its lane.
pub(crate) const fn below_lane(counter: u64) -> u64 {
    counter & ((1 << LANE_SHIFT) - 1)
}

/// Bits of the ring.
const BITS: u64 = 4096;
const WORD: u64 = 64;
const WORDS: usize = (BITS / WORD) as usize;
/// Counters that are older than the newest by more than this are refused.
pub const WINDOW: u64 = BITS - WORD;

/// Counters seen, up to [`WINDOW`] behind the newest.
#[derive(Debug, Clone)]
pub struct Window {
    /// One more than the newest counter; 0 before the first.
    next: u64,
    bits: [u64; WORDS],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            next: 0,
            bits: [0; WORDS],
        }
    }
}

impl Window {
    /// Whether `counter` is newer than all seen.
    #[must_use]
    pub fn is_newest(&self, counter: u64) -> bool {
        counter >= self.next
    }

    /// Note `counter`. False if it was seen before, or is too old to tell.
    #[inline]
    #[must_use]
    pub fn accept(&mut self, counter: u64) -> bool {
        if counter == u64::MAX || counter.saturating_add(WINDOW) < self.next {
            return false;
        }
        if counter >= self.next {
            self.advance(counter);
        }
        let Some(word) = self.bits.get_mut((counter / WORD) as usize % WORDS) else {
            return false;
        };
        let bit = 1 << (counter % WORD);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Forget the words that the ring needs for counters up to `counter`.
    fn advance(&mut self, counter: u64) {
        let newest = counter / WORD;
        let from = match self.next {
            0 => newest,
            next => (next - 1) / WORD + 1,
        };
        for word in from.max(newest.saturating_sub(WORDS as u64 - 1))..=newest {
            if let Some(word) = self.bits.get_mut(word as usize % WORDS) {
                *word = 0;
            }
        }
        self.next = counter + 1;
    }
}

/// A window for each lane of the sender, made when its first counter comes.
#[derive(Debug)]
pub struct Windows(Box<[Mutex<Option<Box<Window>>>]>);

impl Windows {
    /// For a sender of so many lanes.
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        Self((0..lanes).map(|_| Mutex::new(None)).collect())
    }

    fn of(&self, counter: u64) -> Option<&Mutex<Option<Box<Window>>>> {
        self.0.get((counter >> LANE_SHIFT) as usize)
    }

    /// Whether the lane of `counter` is one of the sender's.
    #[inline]
    #[must_use]
    pub fn has_lane_of(&self, counter: u64) -> bool {
        self.of(counter).is_some()
    }

    /// Note `counter`, which is authentic. False if it was seen before, is too old to tell, or of no lane.
    #[inline]
    #[must_use]
    pub fn accept(&self, counter: u64) -> bool {
        self.of(counter).is_some_and(|window| {
            window
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_default()
                .accept(below_lane(counter))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_counter_is_accepted_once_and_only_near_the_newest(
            steps in proptest::collection::vec((0u64..3, 0u64..9000), 1..300), start in 0u64..1 << 60,
        ) {
            let (mut window, mut seen, mut newest) = (Window::default(), BTreeSet::new(), start);
            for (kind, distance) in steps {
                let counter = match kind {
                    0 => newest.saturating_sub(distance),
                    1 => newest + distance,
                    _ => newest + distance % 3,
                };
                let old = !seen.is_empty() && counter + WINDOW < newest + 1;
                prop_assert_eq!(window.accept(counter), !old && !seen.contains(&counter));
                if !old {
                    newest = if seen.is_empty() { counter } else { newest.max(counter) };
                    seen.insert(counter);
                }
            }
        }
    }
}
