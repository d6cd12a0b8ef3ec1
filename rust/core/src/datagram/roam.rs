//! A peer that turns up at another address: it moves there once it answered a challenge from there.

use std::net::SocketAddr;

/// A challenge is answered within so many seconds, or is over.
const VALID: f64 = 3.0;
/// The same challenge goes out again after so long, while frames come from there.
const AGAIN: f64 = 0.1;
/// A challenge isn't given up for another address sooner.
const HELD: f64 = 1.0;

#[derive(Debug, Clone, Copy)]
struct Challenge {
    token: [u8; 8],
    to: SocketAddr,
    first: f64,
    last: f64,
}

/// The challenge under way, at most one.
#[derive(Debug, Default)]
pub(super) struct Roam(Option<Challenge>);

impl Roam {
    /// An authentic frame with the newest counter came from another address: the challenge to send there, if
    /// one is due. `fresh` draws a token.
    pub(super) fn challenge(
        &mut self,
        from: SocketAddr,
        fresh: impl FnOnce() -> Option<[u8; 8]>,
        now: f64,
    ) -> Option<[u8; 8]> {
        match &mut self.0 {
            Some(open) if open.to == from && now - open.first <= VALID => {
                let due = now - open.last >= AGAIN;
                if due {
                    open.last = now;
                }
                due.then_some(open.token)
            }
            Some(open) if open.to != from && now - open.first < HELD => None,
            _ => {
                let token = fresh()?;
                self.0 = Some(Challenge {
                    token,
                    to: from,
                    first: now,
                    last: now,
                });
                Some(token)
            }
        }
    }

    /// Whether this answer, from there, moves the link.
    pub(super) fn answered(&mut self, token: [u8; 8], from: SocketAddr, now: f64) -> bool {
        let right = self
            .0
            .is_some_and(|open| open.token == token && open.to == from && now - open.first <= VALID);
        if right {
            self.0 = None;
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1))
    }

    #[test]
    fn only_the_right_answer_from_the_right_place_in_time_moves() {
        let mut roam = Roam::default();
        assert!(!roam.answered([0; 8], place(1), 0.0));
        assert_eq!(roam.challenge(place(1), || Some([1; 8]), 0.0), Some([1; 8]));
        assert!(!roam.answered([2; 8], place(1), 0.1));
        assert!(!roam.answered([1; 8], place(2), 0.1));
        assert!(!roam.answered([1; 8], place(1), 3.1));
        assert!(roam.answered([1; 8], place(1), 0.1));
        assert!(!roam.answered([1; 8], place(1), 0.1));
    }

    #[test]
    fn challenges_are_few_and_the_same_while_one_is_open() {
        let mut roam = Roam::default();
        assert!(roam.challenge(place(1), || Some([1; 8]), 0.0).is_some());
        assert_eq!(roam.challenge(place(1), || Some([2; 8]), 0.05), None);
        assert_eq!(roam.challenge(place(1), || Some([2; 8]), 0.2), Some([1; 8]));
        assert_eq!(roam.challenge(place(2), || Some([3; 8]), 0.3), None);
        assert_eq!(roam.challenge(place(2), || Some([3; 8]), 1.3), Some([3; 8]));
    }
}
