//! What says that a node has no keys any more: a hint, a new router id, a packet of Mycelium's suite, keys that are
//! used up. Then this end shakes hands anew, beside what there is.

use super::keeper::Keeper;
use super::peer::Peer;
use crate::datagram::crypt::KEY;

/// Anybody can say that a node has forgotten its keys: that is followed at most so often for a node.
const NUDGE_EVERY: f64 = 1.0;

/// Whether the word of somebody who may be anybody would make this end shake hands now or later, beyond what it
/// does anyway.
fn heeds(peer: &Peer) -> bool {
    peer.attempt.is_none() && peer.nudge_at.is_infinite()
}

impl Keeper {
    /// The node has started anew, or seems to: shake hands beside what there is.
    pub fn renew(&mut self, peer: &[u8; KEY], now: f64) {
        if self.peers.get(peer).is_some_and(|known| known.current.is_some()) {
            self.nudge(peer, now);
        }
    }

    /// The keys in use with the node can seal no more.
    pub fn used_up(&mut self, peer: &[u8; KEY], now: f64) {
        self.nudge(peer, now);
    }

    /// Somebody says that a frame of ours came under an index that isn't in use.
    pub(super) fn hint(&mut self, index: u32, now: f64) {
        let Some(key) = self.remotes.get(&index).copied() else {
            self.totals.unknown += 1;
            return;
        };
        self.totals.hints += 1;
        self.nudge_by_anybody(&key, now);
    }

    /// Like [`Self::nudge`], said by a hint or a packet that may be a replay. Whoever can make those for many nodes would
    /// have this end shake hands with all of them, every second: a handshake is dear, and a hint costs him 8 bytes.
    pub(super) fn nudge_by_anybody(&mut self, key: &[u8; KEY], now: f64) {
        if !self.peers.get(key).is_some_and(heeds) {
            return;
        }
        if self.nudges.take(now) {
            self.nudge(key, now);
        } else {
            // Not put off: what comes next under old keys brings another one, and five seconds of silence tell as well.
            self.totals.unheeded += 1;
        }
    }

    /// Something says that the node has no keys any more. It may be a lie: ask, not too often, and keep what there is.
    pub(super) fn nudge(&mut self, key: &[u8; KEY], now: f64) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        // Compared as it was computed: a rounding error would have the keeper spin.
        if now >= peer.nudged + NUDGE_EVERY {
            (peer.nudged, peer.nudge_at) = (now, f64::INFINITY);
            self.begin(key, now);
        } else {
            let at = peer.nudged + NUDGE_EVERY;
            peer.nudge_at = at;
            self.look_at(key, at);
        }
    }
}
