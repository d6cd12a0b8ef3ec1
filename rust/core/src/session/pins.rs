//! Who is held to sessions: what shows that a node speaks them, and whose pins find room.

use super::action::Action;
use super::keeper::{Keeper, for_strangers};
use super::peer::Peer;
use crate::datagram::crypt::KEY;

/// A downgrade is told at most so often.
const DOWNGRADE_EVERY: f64 = 60.0;

impl Keeper {
    /// An authentic packet of Mycelium's suite came from the node. `speaks`: it says that it speaks sessions. It may
    /// be a replay.
    pub fn plain(&mut self, peer: &[u8; KEY], speaks: bool, now: f64) {
        if speaks && self.peers.get(peer).is_none_or(|known| !known.unpinned) {
            self.pin(peer);
        }
        let Some(known) = self.peers.get_mut(peer).filter(|known| known.pinned || speaks) else {
            return;
        };
        if !speaks && now - known.downgraded >= DOWNGRADE_EVERY {
            known.downgraded = now;
            self.actions.push_back(Action::Downgraded { peer: *peer });
        }
        if known.not_before <= now {
            self.nudge_by_anybody(peer, now);
        }
    }

    /// The operator named the node: room for its pin is kept, also if it is the one that calls.
    pub fn named(&mut self, peer: &[u8; KEY]) {
        let Some(known) = self.peer(peer, self.config.limits.peers) else {
            return;
        };
        known.named = true;
        if known.current.is_some() && !known.unpinned {
            self.pin(peer);
        }
    }

    /// Hold the node to sessions, if there is room: three quarters of it for who only called, even if this end began
    /// the session then. Nothing that is held makes room.
    pub(super) fn pin(&mut self, peer: &[u8; KEY]) {
        let most = self.config.limits.pins;
        let own = |known: &Peer| known.wanted || known.named;
        let own = self.peers.get(peer).is_some_and(own);
        self.pin_within(peer, if own { most } else { for_strangers(most) });
    }

    pub(super) fn pin_within(&mut self, peer: &[u8; KEY], most: usize) {
        if self.pins >= most {
            return;
        }
        let most = self.config.limits.peers;
        let Some(known) = self.peer(peer, most).filter(|known| !known.pinned) else {
            return;
        };
        (known.pinned, known.unpinned) = (true, false);
        self.pins += 1;
        self.actions.push_back(Action::Pinned { peer: *peer });
    }

    /// Hold the node to sessions no longer. Only a handshake shows then that it speaks them: its old packets may be
    /// replayed.
    pub fn unpin(&mut self, peer: &[u8; KEY]) {
        if let Some(known) = self.peers.get_mut(peer).filter(|known| known.pinned) {
            (known.pinned, known.unpinned) = (false, true);
            self.pins -= 1;
        }
    }
}
