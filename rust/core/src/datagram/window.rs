//! The replay window: which counters of a sender were seen. After RFC 6479, a ring of bits.

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
                    seen.insert(counter);
                    newest = newest.max(counter);
                }
            }
        }
    }
}
