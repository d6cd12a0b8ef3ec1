//! The end that is asked: who gets how far, and what is granted.

use std::sync::Arc;

use super::action::Action;
use super::config::From;
use super::handshake::Asked;
use super::keeper::{Keeper, for_strangers};
use super::mac;
use super::peer::Granted;
use super::wire::{self, Initiation};
use crate::datagram::crypt::hash;

impl Keeper {
    /// Somebody asks for a session.
    pub(super) fn asked(&mut self, initiation: &Initiation<'_>, from: From, now: f64) {
        if initiation.endpoint != self.config.address {
            self.totals.wrong_endpoint += 1;
            return;
        }
        if !self.macs.is_right(initiation.covered, &initiation.mac1) {
            self.totals.bad_mac += 1;
            return;
        }
        let Some(proven) = self.may_ask(initiation, from, now) else {
            return;
        };
        let Some(ephemeral) = self.secret() else { return };
        let Some(asked) =
            Asked::read(&self.config.secret, initiation, ephemeral).filter(|it| it.peer != self.public)
        else {
            self.totals.bad_handshake += 1;
            return;
        };
        let wish = wish_of(initiation);
        if let Some(peer) = self.peers.get(&asked.peer) {
            if peer.saw(&wish) {
                self.totals.repeated += 1;
                if let Some(frame) = peer.answer_to(&wish) {
                    self.send(asked.peer, Some(from), frame);
                }
                return;
            }
            // What was recorded long ago mustn't push out what was granted now.
            if !proven && peer.is_doubtful() {
                return self.challenge(initiation, from, now);
            }
        }
        self.grant(asked, wish, from, now);
    }

    fn grant(&mut self, asked: Asked, wish: [u8; 16], from: From, now: f64) {
        let (key, limits) = (asked.peer, self.config.limits);
        self.sweep(now);
        let Some(index) = self.index(for_strangers(limits.transports)) else {
            return;
        };
        if self.peer(&key, for_strangers(limits.peers)).is_none() {
            return;
        }
        let Some((response, transport)) = asked.grant(index, &self.own) else {
            self.totals.bad_handshake += 1;
            return;
        };
        let transport = Arc::new(transport);
        let granted = Granted {
            transport: Arc::clone(&transport),
            since: now,
            origin: from.origin(),
            wish,
            response: response.clone(),
        };
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if let Some(evicted) = peer.grant(granted) {
            self.retire(&evicted);
        }
        self.totals.granted += 1;
        self.indexes.insert(index, key);
        self.actions.push_back(Action::Receive(transport));
        self.send(key, Some(from), response);
        self.look_at(&key, now);
    }

    /// Whether an initiation gets further, and if so whether its sender has shown that it receives.
    fn may_ask(&mut self, initiation: &Initiation<'_>, from: From, now: f64) -> Option<bool> {
        let covered: [&[u8]; 2] = [initiation.covered, &initiation.mac1];
        let source = from.source();
        let proven = self.jar.is_right(&covered, &initiation.mac2, &[&source], now);
        let slot = mac::slot(&self.jar, &from.origin(), self.origins.len());
        let mut origin = self.origins.get_mut(slot).filter(|_| proven);
        if origin.as_mut().is_some_and(|origin| origin.take(now)) && self.proven.take(now) {
            return Some(true);
        }
        if self.load.take(now) {
            return Some(proven);
        }
        self.challenge(initiation, from, now);
        None
    }

    /// Ask the sender to show that it receives.
    fn challenge(&mut self, initiation: &Initiation<'_>, from: From, now: f64) {
        if !self.replies.take(now) {
            self.totals.flooded += 1;
            return;
        }
        if self.jar.is_stale(now)
            && let Some(secret) = self.secret()
        {
            self.jar.renew(secret, now);
        }
        let mut nonce = [0; 24];
        if self.fill(&mut nonce).is_none() {
            return;
        }
        let source = from.source();
        if let Some(body) = self.jar.reply(&self.macs, &initiation.mac1, &[&source], &nonce) {
            self.totals.cookies += 1;
            let mut frame = vec![wire::COOKIE, wire::VERSION, 0, 0];
            frame.extend_from_slice(&initiation.sender.to_be_bytes());
            frame.extend_from_slice(&body);
            self.send([0; 32], Some(from), frame);
        }
    }
}

/// What tells one initiation from another: its Noise message, in short.
fn wish_of(initiation: &Initiation<'_>) -> [u8; 16] {
    let digest = hash(&[initiation.noise]);
    digest.first_chunk().copied().unwrap_or_default()
}
