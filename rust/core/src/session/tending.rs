//! What time does to sessions: retries, new keys, keep-alives, ends. Each node is looked at when it is due.

use super::action::Action;
use super::keeper::Keeper;
use super::peer::{Peer, Session};
use super::transport::Transport;
use crate::datagram::crypt::KEY;

/// The end that began a session replaces its keys after so long; the other one if that didn't happen.
const REKEY: f64 = 120.0;
const REKEY_LATE: f64 = 130.0;
/// Data flowed within so many seconds: the session is in use.
const IN_USE: f64 = 10.0;
/// Data came, and nothing was sent back for so long: say that it arrived.
const KEEP_ALIVE: f64 = 2.0;
/// Data went out, and nothing came back for so long: the peer may have forgotten everything.
const SILENCE: f64 = 5.0;
/// The end that began a session says so again after so long, until it hears something.
const CONFIRM_AGAIN: f64 = 1.0;
/// How often a session in use is looked at, and one that isn't: before a keep-alive would be late.
const TICK: f64 = 0.5;
const IDLE_TICK: f64 = 1.5;

fn quiet(transport: &Transport, now: f64) -> bool {
    transport.quiet(now).is_none_or(|quiet| quiet >= IN_USE)
}

/// When a session is to be looked at again.
fn next_look(session: &Session, now: f64) -> f64 {
    let transport = &session.transport;
    let waits = transport.silence(now).is_some() || transport.owed(now).is_some();
    let pause = if waits || !session.is_confirmed() || !quiet(transport, now) {
        TICK
    } else {
        IDLE_TICK
    };
    (now + pause).min(session.ends())
}

impl Peer {
    /// When there is something to do for it, as far as that is known.
    fn due_next(&self, now: f64) -> Option<f64> {
        let session = self.current.as_ref().map(|session| next_look(session, now));
        let attempt = self.attempt.as_ref().map(|attempt| attempt.retry_at);
        let nudge = self.nudge_at.is_finite().then_some(self.nudge_at);
        [session, attempt, nudge, self.first_end()]
            .into_iter()
            .flatten()
            .min_by(f64::total_cmp)
    }
}

impl Keeper {
    /// Look at a node no later than `at`.
    pub(super) fn look_at(&mut self, key: &[u8; KEY], at: f64) {
        let at = at.max(0.0).to_bits();
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        match peer.due {
            Some(before) if before <= at => return,
            Some(before) => self.due.remove(&(before, *key)),
            None => true,
        };
        peer.due = Some(at);
        self.due.insert((at, *key));
    }

    /// Do what is due.
    pub fn wake(&mut self, now: f64) {
        let mut due = Vec::new();
        while let Some(first) = self.due.first().filter(|(at, _)| f64::from_bits(*at) <= now) {
            due.push(first.1);
            self.due.pop_first();
        }
        for key in due {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.due = None;
                self.tend(&key, now);
            }
        }
    }

    /// What is due for one node.
    fn tend(&mut self, key: &[u8; KEY], now: f64) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let gone = peer.expired(now);
        let nudge = peer.nudge_at <= now;
        for transport in &gone {
            self.retire(transport);
        }
        self.totals.expired += gone.len() as u64;
        if nudge {
            self.nudge(key, now);
        }
        self.retry(key, now);
        self.watch(key, now);
        let next = self.peers.get(key).and_then(|peer| peer.due_next(now));
        if let Some(next) = next {
            self.look_at(key, next);
        }
    }

    /// Look at a session in use: whether it is old, worn, owes an answer, or gets none.
    fn watch(&mut self, key: &[u8; KEY], now: f64) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(session) = peer.current.as_mut() else {
            return;
        };
        let (transport, age) = (&session.transport, now - session.made);
        let in_use = !quiet(transport, now);
        let old = age >= if session.ours { REKEY } else { REKEY_LATE };
        let silent = transport.silence(now).is_some_and(|silence| silence >= SILENCE);
        let owes = transport.owed(now).is_some_and(|owed| owed >= KEEP_ALIVE);
        let unsure = !session.is_confirmed() && now - session.shown >= CONFIRM_AGAIN;
        let renew = ((in_use && (old || silent)) || transport.is_worn()) && peer.not_before <= now;
        if unsure {
            session.shown = now;
        }
        if owes || unsure {
            self.actions.push_back(Action::KeepAlive { peer: *key });
        }
        if renew {
            self.begin(key, now);
        }
    }
}
