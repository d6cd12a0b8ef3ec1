//! The end that asks for a session: attempts, answers, cookies.

use std::sync::Arc;

use super::action::Action;
use super::handshake::Initiating;
use super::keeper::Keeper;
use super::mac;
use super::peer::{Attempt, CONFIRM_WITHIN, Peer, Session};
use super::wire::Response;
use crate::address_of;
use crate::cookies::{COOKIE_LIFETIME, Cookie};
use crate::datagram::crypt::KEY;

/// The first retry of a handshake, in seconds, and the longest pause between retries.
const RETRY: f64 = 0.25;
const LONGEST_RETRY: f64 = 5.0;
/// A handshake without any answer is given up after so long, and another one begun no sooner than after this.
const GIVE_UP: f64 = 20.0;
const AGAIN_AFTER: f64 = 5.0;
/// An initiation this old is replaced, and a response to it isn't followed: the responder forgets what it granted
/// [`CONFIRM_WITHIN`] after it first saw it, and the first frame still has to get there.
const STALE: f64 = CONFIRM_WITHIN - 5.0;
/// Cookies taken for one attempt: who sees it can make up any number.
const COOKIES: u8 = 8;
/// Responses to one initiation that may fail: each costs two Diffie-Hellman operations, and who sees it can make up any
/// number. A guess: one is altered on its way now and then.
const FORGED: u8 = 8;

fn cookie_of(peer: &Peer, now: f64) -> Option<&Cookie> {
    let (cookie, at) = peer.cookie.as_ref()?;
    (now - at < COOKIE_LIFETIME).then_some(cookie)
}

impl Keeper {
    /// Begin a handshake, unless one is under way. Whether one is.
    pub(super) fn begin(&mut self, key: &[u8; KEY], now: f64) -> bool {
        if *key == self.public {
            return false;
        }
        self.sweep(now);
        let limits = self.config.limits;
        match self.peer(key, limits.peers) {
            Some(peer) if peer.attempt.is_some() => return true,
            Some(_) => {}
            None => return false,
        }
        let Some(handshake) = self.initiation(key) else {
            return false;
        };
        let index = handshake.index;
        let Some(peer) = self.peers.get_mut(key) else {
            return false;
        };
        let frame = handshake.frame(cookie_of(peer, now));
        peer.attempt = Some(Box::new(Attempt {
            handshake,
            began: now,
            made: now,
            retry_at: now + RETRY,
            pause: RETRY,
            told: false,
            cookies: 0,
            forged: 0,
        }));
        self.indexes.insert(index, *key);
        self.send(*key, None, frame);
        self.look_at(key, now + RETRY);
        true
    }

    /// A first message to the node, with an index and a key of its own.
    fn initiation(&mut self, key: &[u8; KEY]) -> Option<Initiating> {
        let (ephemeral, index) = (self.secret()?, self.index(self.config.limits.transports)?);
        let made = Initiating::new(
            &self.config.secret,
            key,
            &address_of(key),
            index,
            &self.own,
            ephemeral,
        );
        // A key that no handshake can be begun with: of low order.
        self.totals.bad_handshake += u64::from(made.is_none());
        made
    }

    /// Repeat, or give up, a handshake that wasn't answered.
    pub(super) fn retry(&mut self, key: &[u8; KEY], now: f64) {
        let is_due = |attempt: &Attempt| attempt.retry_at <= now;
        let due = |peer: &Peer| peer.attempt.as_deref().is_some_and(is_due);
        if !self.peers.get(key).is_some_and(due) {
            return;
        }
        let mut jitter = [0; 1];
        let _ = self.fill(&mut jitter);
        self.replace_worn(key, now);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if let Some(attempt) = peer.attempt.take_if(|attempt| now - attempt.began >= GIVE_UP) {
            peer.not_before = now + AGAIN_AFTER;
            self.indexes.remove(&attempt.handshake.index);
            self.totals.failed += 1;
            self.actions.push_back(Action::Failed { peer: *key });
            return;
        }
        let cookie = cookie_of(peer, now).copied();
        let Some(attempt) = peer.attempt.as_mut() else {
            return;
        };
        if !attempt.told && peer.current.is_none() {
            attempt.told = true;
            self.totals.unanswered += 1;
            self.actions.push_back(Action::Unanswered { peer: *key });
        }
        attempt.pause = (attempt.pause * 2.0).min(LONGEST_RETRY);
        attempt.retry_at = now + attempt.pause * (0.9 + 0.2 * f64::from(jitter[0]) / 255.0);
        let frame = attempt.handshake.frame(cookie.as_ref());
        self.send(*key, None, frame);
    }

    /// A new initiation in place of one that is stale, or that strangers made up responses to: who saw the old one
    /// knows nothing of it.
    fn replace_worn(&mut self, key: &[u8; KEY], now: f64) {
        let is_worn = |attempt: &Attempt| {
            let worn = attempt.forged >= FORGED || now - attempt.made >= STALE;
            worn && now - attempt.began < GIVE_UP
        };
        let worn = |peer: &Peer| peer.attempt.as_deref().is_some_and(is_worn);
        if !self.peers.get(key).is_some_and(worn) {
            return;
        }
        let fresh = self.initiation(key);
        let attempt = self.peers.get_mut(key).and_then(|peer| peer.attempt.as_mut());
        let Some(attempt) = attempt else { return };
        // Without a new one the old one goes on, and responses to it are heard again.
        (attempt.cookies, attempt.forged) = (0, 0);
        if let Some(fresh) = fresh {
            self.indexes.insert(fresh.index, *key);
            self.indexes.remove(&attempt.handshake.index);
            (attempt.handshake, attempt.made) = (fresh, now);
        }
    }

    /// The node that was asked grants a session.
    pub(super) fn granted(&mut self, response: &Response<'_>, now: f64) {
        if !self.macs.is_right(response.covered, &response.mac1) {
            self.totals.bad_mac += 1;
            return;
        }
        let Some(key) = self.indexes.get(&response.receiver).copied() else {
            self.totals.unknown += 1;
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let attempt = peer
            .attempt
            .as_mut()
            .filter(|attempt| attempt.handshake.index == response.receiver);
        let Some(attempt) = attempt else {
            self.totals.bad_handshake += 1;
            return;
        };
        if attempt.forged >= FORGED {
            self.totals.forged += 1;
            return;
        }
        if now - attempt.made >= STALE {
            self.totals.bad_handshake += 1;
            return;
        }
        let Some((theirs, remote)) = attempt.handshake.granted(response) else {
            attempt.forged += 1;
            self.totals.bad_handshake += 1;
            return;
        };
        let Some(attempt) = peer.attempt.take() else {
            return;
        };
        let made = attempt
            .handshake
            .finish(&key, theirs, remote, &self.own)
            .map(Arc::new);
        let Some(transport) = made else {
            self.indexes.remove(&response.receiver);
            self.totals.bad_handshake += 1;
            return;
        };
        self.actions.push_back(Action::Receive(Arc::clone(&transport)));
        let fresh = Session {
            transport,
            made: now,
            since: now,
            confirmed: None,
            shown: now,
            ours: true,
        };
        if self.install(&key, fresh) {
            // The first frame is what the other end believes the keys for.
            self.actions.push_back(Action::KeepAlive { peer: key });
        }
    }

    /// The node asks to show that this end receives.
    pub(super) fn cookie(&mut self, receiver: u32, body: &[u8], now: f64) {
        let key = self.indexes.get(&receiver).copied();
        let Some((key, peer)) = key.and_then(|key| Some((key, self.peers.get_mut(&key)?))) else {
            self.totals.unknown += 1;
            return;
        };
        let attempt = peer.attempt.as_mut();
        let Some(attempt) =
            attempt.filter(|attempt| attempt.handshake.index == receiver && attempt.cookies < COOKIES)
        else {
            self.totals.unknown += 1;
            return;
        };
        let Some(cookie) = mac::keys_for(&key).open(body, &attempt.handshake.mac1) else {
            self.totals.bad_mac += 1;
            return;
        };
        let first = peer.cookie.is_none_or(|(known, _)| known != cookie);
        peer.cookie = Some((cookie, now));
        if first {
            attempt.cookies += 1;
            let frame = attempt.handshake.frame(Some(&cookie));
            self.send(key, None, frame);
        }
    }
}
