//! The responder's part of the endpoint: initiations, finishes, and who is refused.

use std::net::SocketAddr;

use super::config::Action;
use super::crypt::{Cipher, KEY};
use super::endpoint::{Endpoint, Slot};
use super::half::{Answer, Half, Stage};
use super::link::{Agreed, Link};
use super::noise::{Handshake, Pattern};
use super::offer::Offer;
use super::wire::{self, Initiation, MIN_INITIATION, Response};

/// Refusals are told as often at most, in seconds.
const TELL_REFUSED: f64 = 1.0;
/// Cookies are sent as often at most, a second.
pub(super) const COOKIES_PER_SECOND: u32 = 5000;

/// What is known of an initiator whose message was read.
struct Begun {
    handshake: Handshake,
    answer: Answer,
    theirs: Offer,
}

impl Endpoint {
    /// Type 0x11.
    pub(super) fn initiation(&mut self, datagram: &[u8], from: SocketAddr, now: f64) {
        let Some(initiation) = Initiation::parse(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        if !self.jar.mac1_is_right(&initiation) {
            self.counters.bad_mac += 1;
            return;
        }
        if let Some((_, half)) = self.halves.of(from, initiation.sender)
            && half.noise == initiation.noise
        {
            let datagram = half.response.clone();
            self.transmit(from, datagram);
            return;
        }
        if self.may_begin(&initiation, from, now) {
            self.begin(&initiation, from, now);
        }
    }

    /// Whether this one is worth a scalar multiplication; else a cookie may be sent.
    fn may_begin(&mut self, initiation: &Initiation<'_>, from: SocketAddr, now: f64) -> bool {
        let limits = self.config.limits;
        let is_calm = self.halves.len() < limits.cookies_from;
        if is_calm && self.begins.take(now) {
            return true;
        }
        if self.jar.mac2_is_right(initiation, from, now) {
            let may = self.proven.take(now);
            self.counters.flooded += u64::from(!may);
            return may;
        }
        if !self.cookies.take(now) || self.send_cookie(initiation, from, now).is_none() {
            self.counters.flooded += 1;
        }
        false
    }

    fn send_cookie(&mut self, initiation: &Initiation<'_>, from: SocketAddr, now: f64) -> Option<()> {
        if self.jar.is_stale(now) {
            let secret = self.draw()?;
            self.jar.renew(secret, now);
        }
        let mut nonce = [0; 24];
        self.fill(&mut nonce)?;
        let reply = self.jar.reply(initiation, from, &nonce)?;
        self.counters.cookies += 1;
        self.transmit(from, reply);
        Some(())
    }

    fn begin(&mut self, initiation: &Initiation<'_>, from: SocketAddr, now: f64) {
        let Some(begun) = self.read_initiation(initiation) else {
            self.counters.bad_handshake += 1;
            return;
        };
        match initiation.pattern {
            Pattern::Xx => self.answer_xx(begun, initiation.sender, from, now),
            Pattern::Ik => self.answer_ik(begun, initiation.sender, from, now),
        };
    }

    fn read_initiation(&mut self, initiation: &Initiation<'_>) -> Option<Begun> {
        let ephemeral = self.draw()?;
        let secret = &self.config.secret;
        let mut handshake =
            Handshake::responder(initiation.pattern, secret, initiation.header, ephemeral.clone())?;
        let theirs = Offer::decode(&handshake.read(initiation.noise)?)?;
        let cipher = Cipher::pick(self.ciphers(), theirs.ciphers)?;
        if theirs.index != initiation.sender {
            return None;
        }
        let index = self.new_index()?;
        let mine = Offer {
            ciphers: cipher.bit(),
            ..self.offer(index)
        };
        let answer = Answer {
            header: *initiation.header,
            noise: initiation.noise.to_vec(),
            ephemeral: Box::new(ephemeral),
            payload: mine.encode(0),
            mine,
            cipher,
        };
        Some(Begun {
            handshake,
            answer,
            theirs,
        })
    }

    /// The response; the handshake is where it waits for the initiator again.
    fn respond(begun: &mut Begun) -> Option<Vec<u8>> {
        let (mine, theirs) = (begun.answer.mine, begun.theirs);
        let mut response = Response::header(begun.handshake.pattern, mine.index, theirs.index);
        begun.handshake.write(&begun.answer.payload, &mut response)?;
        (response.len() <= MIN_INITIATION).then_some(response)
    }

    fn answer_xx(&mut self, mut begun: Begun, sender: u32, from: SocketAddr, now: f64) -> Option<()> {
        let response = Self::respond(&mut begun)?;
        let index = begun.answer.mine.index;
        let noise = begun.answer.noise.clone();
        let stage = Stage::Finish(Box::new((begun.handshake, begun.answer)));
        self.keep(index, from, sender, noise, response, stage, now);
        Some(())
    }

    fn answer_ik(&mut self, mut begun: Begun, sender: u32, from: SocketAddr, now: f64) -> Option<()> {
        let peer = begun.handshake.remote()?;
        if !self.welcomes(peer, from, now) || self.still_has(peer, &begun.theirs) {
            return None;
        }
        let response = Self::respond(&mut begun)?;
        let Begun {
            handshake,
            answer,
            theirs,
        } = begun;
        let (index, noise) = (answer.mine.index, answer.noise.clone());
        let link = self.agree(handshake, peer, &answer, theirs, from, now)?;
        let stage = Stage::Confirm(Box::new(link));
        self.keep(index, from, sender, noise, response, stage, now);
        Some(())
    }

    #[allow(clippy::too_many_arguments)]
    fn keep(
        &mut self,
        index: u32,
        from: SocketAddr,
        sender: u32,
        noise: Vec<u8>,
        response: Vec<u8>,
        stage: Stage,
        now: f64,
    ) {
        if let Some((before, _)) = self.halves.of(from, sender) {
            self.forget_half(before);
        }
        while self.halves.len() >= self.config.limits.half_open.max(1) {
            let Some(oldest) = self.halves.oldest() else { break };
            self.forget_half(oldest);
            self.counters.evicted += 1;
        }
        self.transmit(from, response.clone());
        self.slots.insert(index, Slot::Half);
        self.halves.insert(
            index,
            Half {
                from,
                sender,
                noise,
                response,
                since: now,
                failures: 0,
                stage,
            },
        );
        let due = self.halves.deadline().unwrap_or(now);
        self.soon(due);
    }

    /// Forget a handshake that somebody began.
    pub(super) fn forget_half(&mut self, index: u32) -> Option<Half> {
        self.slots.remove(&index);
        self.halves.remove(index)
    }

    /// The link that a responder's finished handshake gives.
    fn agree(
        &mut self,
        handshake: Handshake,
        peer: [u8; KEY],
        answer: &Answer,
        theirs: Offer,
        from: SocketAddr,
        now: f64,
    ) -> Option<Link> {
        let (receive, send) = handshake.split()?;
        let agreed = Agreed {
            peer,
            mine: answer.mine,
            theirs,
            cipher: answer.cipher,
            send,
            receive,
            dialled: false,
            token: None,
        };
        Link::new(&self.config, agreed, from, now)
    }

    /// Whether a key may link to this node. If not, nobody but this node's own side is told.
    fn welcomes(&mut self, peer: [u8; KEY], from: SocketAddr, now: f64) -> bool {
        if self.is_allowed(&peer) {
            return true;
        }
        self.counters.refused += 1;
        if now - self.refused_at >= TELL_REFUSED {
            self.refused_at = now;
            self.actions.push_back(Action::Refused { peer, remote: from });
        }
        false
    }

    /// The initiator asks for a new link because an old one isn't answered; but the old one is here: a ping
    /// on it is the answer. The initiation may be a replay, so that it may not do more.
    fn still_has(&mut self, peer: [u8; KEY], theirs: &Offer) -> bool {
        let Some(Slot::Link(id)) = theirs.revives.and_then(|index| self.slots.get(&index)) else {
            return false;
        };
        let id = *id;
        let link = self
            .links
            .get_mut(&id)
            .filter(|link| link.peer == peer && link.instance == theirs.instance);
        let Some(link) = link else { return false };
        link.ping_due = true;
        self.touch(id);
        true
    }

    /// Type 0x13.
    pub(super) fn finish(&mut self, datagram: &[u8], from: SocketAddr, now: f64) {
        let Some((index, noise)) = wire::addressed(wire::FINISH, datagram) else {
            self.counters.malformed += 1;
            return;
        };
        let half = self.halves.get_mut(index).filter(|half| half.from == from);
        let Some((sender, Stage::Finish(waiting))) = half.map(|half| (half.sender, &mut half.stage)) else {
            self.counters.unknown += 1;
            return;
        };
        let said = waiting.0.read(noise);
        let Some(theirs) = said
            .and_then(|said| Offer::decode(&said))
            .filter(|offer| offer.index == sender)
        else {
            self.spoiled(index);
            return;
        };
        if self.finished(index, theirs, now).is_none() {
            self.counters.bad_handshake += 1;
        }
    }

    /// A finish that doesn't decrypt changes nothing: the state is computed again.
    fn spoiled(&mut self, index: u32) {
        self.counters.bad_handshake += 1;
        let Some(half) = self.halves.get_mut(index) else {
            return;
        };
        half.failures += 1;
        let mut hopeless = half.is_hopeless();
        if let Stage::Finish(waiting) = &mut half.stage {
            match waiting.1.again(&self.config.secret) {
                Some(handshake) => waiting.0 = handshake,
                None => hopeless = true,
            }
        }
        if hopeless {
            self.forget_half(index);
        }
    }

    fn finished(&mut self, index: u32, theirs: Offer, now: f64) -> Option<()> {
        let half = self.forget_half(index)?;
        let Stage::Finish(waiting) = half.stage else {
            return None;
        };
        let (handshake, answer) = *waiting;
        let peer = handshake.remote()?;
        if !self.welcomes(peer, half.from, now) || self.still_has(peer, &theirs) {
            return Some(());
        }
        let link = self.agree(handshake, peer, &answer, theirs, half.from, now)?;
        self.establish(Box::new(link), None, now);
        Some(())
    }
}
