//! The initiator's part of the endpoint: tries, responses, and what comes of them.

use std::net::SocketAddr;

use super::config::{Action, Id};
use super::crypt::{Cipher, KEY};
use super::dial::{Attempt, CONFIRM, Dial, SECOND_CHANCE, Unconfirmed, hex};
use super::endpoint::{Endpoint, Slot};
use super::link::{Agreed, Link};
use super::live;
use super::noise::{Handshake, Pattern};
use super::offer::Offer;
use super::wire::{self, MACS, MIN_INITIATION, Response};

impl Endpoint {
    /// Begin a dial.
    pub(super) fn begin_dial(&mut self, dial: Dial, now: f64) -> u64 {
        let key = self.next_dial;
        self.next_dial += 1;
        self.dials.insert(key, dial);
        self.step_dial(key, now);
        key
    }

    /// Dial the peer of a link that isn't answered any more.
    pub(super) fn revive(&mut self, id: Id, now: f64) {
        let Some(link) = self.links.get(&id).filter(|link| link.revival.is_none()) else {
            return;
        };
        let mut dial = Dial::new(link.token, link.remote, Some(link.peer), live::DEAD, now);
        dial.revives = Some(id);
        let key = self.begin_dial(dial, now);
        if let Some(link) = self.links.get_mut(&id) {
            link.revival = Some(key);
        }
    }

    /// Forget a dial and its indexes.
    pub(super) fn forget_dial(&mut self, key: u64) -> Option<Dial> {
        let dial = self.dials.remove(&key)?;
        for index in dial.indexes() {
            self.slots.remove(&index);
        }
        Some(dial)
    }

    /// A dial is over, without a link.
    fn fail(&mut self, key: u64, reason: String, refused: bool) {
        let Some(dial) = self.forget_dial(key) else { return };
        if let Some(link) = dial.revives.and_then(|id| self.links.get_mut(&id)) {
            link.revival = None;
        } else if let Some(token) = dial.token {
            self.actions.push_back(Action::DialFailed {
                token,
                reason,
                refused,
            });
        }
    }

    /// Do what is due for a dial.
    pub(super) fn step_dial(&mut self, key: u64, now: f64) {
        let Some(dial) = self.dials.get(&key) else { return };
        if now >= dial.until {
            let (reason, refused) = dial.failure();
            self.fail(key, reason, refused);
            return;
        }
        if now < dial.next {
            self.soon(dial.due());
            return;
        }
        let is_stuck = dial
            .unconfirmed
            .as_ref()
            .is_some_and(|open| now - open.since >= CONFIRM);
        if is_stuck {
            self.restart_dial(key);
        }
        self.try_dial(key, now);
    }

    fn restart_dial(&mut self, key: u64) {
        if let Some(dial) = self.dials.get_mut(&key) {
            let indexes = dial.indexes();
            dial.restart();
            indexes.iter().for_each(|index| {
                self.slots.remove(index);
            });
        }
    }

    fn try_dial(&mut self, key: u64, now: f64) {
        let mut byte = [0];
        let jitter = self.fill(&mut byte).map_or(0.5, |()| f64::from(byte[0]) / 255.0);
        let is_open = self
            .dials
            .get(&key)
            .is_some_and(|dial| dial.unconfirmed.is_some());
        if is_open {
            self.greet(key, now);
        } else {
            self.send_attempt(key, now);
        }
        if let Some(dial) = self.dials.get_mut(&key) {
            dial.tried(jitter, now);
            let due = dial.due();
            self.soon(due);
        }
    }

    fn send_attempt(&mut self, key: u64, now: f64) -> Option<()> {
        let dial = self.dials.get(&key)?;
        let (pattern, remote) = (dial.pattern(), dial.remote);
        let is_new = dial
            .attempts
            .iter()
            .all(|attempt| attempt.handshake.pattern != pattern);
        if is_new {
            let attempt = self.new_attempt(key, pattern)?;
            self.slots.insert(attempt.index, Slot::Dial(key));
            self.dials.get_mut(&key)?.attempts.push(attempt);
        }
        let attempts = &self.dials.get(&key)?.attempts;
        let datagram = attempts
            .iter()
            .find(|attempt| attempt.handshake.pattern == pattern)?
            .datagram(now);
        self.transmit(remote, datagram);
        Some(())
    }

    fn new_attempt(&mut self, key: u64, pattern: Pattern) -> Option<Attempt> {
        let index = self.new_index()?;
        let ephemeral = self.draw()?;
        let dial = self.dials.get(&key)?;
        let header = wire::initiation_header(pattern, index);
        let expected = dial.expected.filter(|_| pattern == Pattern::Ik);
        let secret = &self.config.secret;
        let mut handshake = Handshake::initiator(pattern, secret, expected.as_ref(), &header, ephemeral)?;
        let mut offer = self.offer(index);
        match pattern {
            // In the clear: nothing that tells who this is.
            Pattern::Xx => offer.instance = [0; 8],
            Pattern::Ik => offer.revives = self.revived_index(dial),
        }
        let around = match pattern {
            Pattern::Xx => KEY,
            Pattern::Ik => KEY + KEY + 32,
        };
        let payload = offer.encode(MIN_INITIATION - MACS - header.len() - around);
        let mut message = header.to_vec();
        handshake.write(&payload, &mut message)?;
        Some(Attempt::new(index, handshake, message, expected.as_ref()))
    }

    /// How the peer calls the link that isn't answered.
    fn revived_index(&self, dial: &Dial) -> Option<u32> {
        let link = self.links.get(&dial.revives?)?;
        Some(link.shared.remote_index)
    }

    /// Show the responder that this end is there: it answers with its first control frame.
    fn greet(&mut self, key: u64, now: f64) {
        let Some(open) = self
            .dials
            .get_mut(&key)
            .and_then(|dial| dial.unconfirmed.as_mut())
        else {
            return;
        };
        let remote = open.link.remote;
        let finish = open.finish.clone();
        if let Some(finish) = finish {
            self.transmit(remote, finish);
        }
        if let Some(open) = self
            .dials
            .get_mut(&key)
            .and_then(|dial| dial.unconfirmed.as_mut())
        {
            open.link.ping_due = true;
            open.link.flush(&mut self.actions, now);
        }
    }

    /// Type 0x12.
    pub(super) fn response(&mut self, datagram: &[u8], from: SocketAddr, now: f64) {
        let Some(response) = Response::parse(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        let Some(Slot::Dial(key)) = self.slots.get(&response.receiver).copied() else {
            self.counters.unknown += 1;
            return;
        };
        if self.take_response(key, &response, from, now).is_none() {
            self.counters.bad_handshake += 1;
        }
    }

    fn take_response(&mut self, key: u64, response: &Response<'_>, from: SocketAddr, now: f64) -> Option<()> {
        let dial = self.dials.get_mut(&key)?;
        if dial.unconfirmed.is_some() || dial.remote != from {
            return None;
        }
        let at = dial.attempts.iter().position(|attempt| {
            attempt.index == response.receiver && attempt.handshake.pattern == response.pattern
        })?;
        let said = dial.attempts.get_mut(at)?.handshake.read(response.noise)?;
        // The responder proved its key: this handshake ends here, in one way or the other.
        let attempt = dial.attempts.swap_remove(at);
        self.slots.remove(&attempt.index);
        let peer = attempt.handshake.remote()?;
        let theirs = Offer::decode(&said)?;
        if self.is_wrong(key, peer, now) {
            return Some(());
        }
        let cipher = Cipher::pick(self.ciphers(), theirs.ciphers)?;
        if theirs.index != response.sender || theirs.ciphers != cipher.bit() {
            return None;
        }
        self.conclude(key, attempt, peer, theirs, cipher, now)
    }

    /// Whether the key that answered isn't the one to link with.
    fn is_wrong(&mut self, key: u64, peer: [u8; KEY], now: f64) -> bool {
        let Some(dial) = self.dials.get_mut(&key) else {
            return true;
        };
        if dial.expected.is_some_and(|expected| expected != peer) {
            // Anyone on the way may answer with a key of its own; the right one may still do so, too.
            dial.wrong = Some(peer);
            dial.until = dial.until.min(now + SECOND_CHANCE);
            dial.next = now;
            let due = dial.due();
            self.soon(due);
            return true;
        }
        if peer == self.public {
            self.fail(key, "this node itself is there".into(), true);
            return true;
        }
        if !self.is_allowed(&peer) {
            self.counters.refused += 1;
            self.fail(key, format!("its key isn't allowed here: {}", hex(&peer)), true);
            return true;
        }
        if let Some(dial) = self.dials.get_mut(&key) {
            dial.answered = true;
        }
        false
    }

    fn conclude(
        &mut self,
        key: u64,
        attempt: Attempt,
        peer: [u8; KEY],
        theirs: Offer,
        cipher: Cipher,
        now: f64,
    ) -> Option<()> {
        let mut handshake = attempt.handshake;
        let mut mine = self.offer(attempt.index);
        let dial = self.dials.get(&key)?;
        mine.revives = self.revived_index(dial);
        let (remote, token) = (dial.remote, dial.token);
        let finish = match handshake.pattern {
            Pattern::Ik => None,
            Pattern::Xx => {
                let mut finish = wire::address(wire::FINISH, theirs.index);
                handshake.write(&mine.encode(0), &mut finish)?;
                Some(finish)
            }
        };
        let (send, receive) = handshake.split()?;
        let agreed = Agreed {
            peer,
            mine,
            theirs,
            cipher,
            send,
            receive,
            dialled: true,
            token,
        };
        let link = Box::new(Link::new(&self.config, agreed, remote, now)?);
        self.slots.insert(attempt.index, Slot::Dial(key));
        let dial = self.dials.get_mut(&key)?;
        dial.tries = 0;
        dial.unconfirmed = Some(Unconfirmed {
            link,
            finish,
            since: now,
        });
        self.try_dial(key, now);
        Some(())
    }

    /// Type 0x14.
    pub(super) fn cookie(&mut self, datagram: &[u8], from: SocketAddr, now: f64) {
        let parsed = wire::addressed(wire::COOKIE, datagram);
        let Some((index, body)) = parsed.filter(|_| datagram.len() == super::cookie::REPLY) else {
            self.counters.malformed += 1;
            return;
        };
        let Some(Slot::Dial(key)) = self.slots.get(&index).copied() else {
            self.counters.unknown += 1;
            return;
        };
        let dial = self.dials.get_mut(&key).filter(|dial| dial.remote == from);
        let attempt = dial.and_then(|dial| dial.attempts.iter_mut().find(|attempt| attempt.index == index));
        let Some(attempt) = attempt else {
            self.counters.unknown += 1;
            return;
        };
        if attempt.take_cookie(body, now) {
            let datagram = attempt.datagram(now);
            self.transmit(from, datagram);
        }
    }
}
