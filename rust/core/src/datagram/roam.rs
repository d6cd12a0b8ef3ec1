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
