//! Handshakes that others began: bounded, short-lived, and forgotten oldest first.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::crypt::{Cipher, KEY, Secret};
use super::link::Link;
use super::noise::{Handshake, Pattern};
use super::offer::Offer;

/// How long the initiator may take.
const LIFETIME: f64 = 10.0;
/// Finishes that don't decrypt, before the handshake is given up.
const MAX_FAILURES: u32 = 8;

/// What a responder needs to come to the same state again, after a finish that spoiled it.
pub(super) struct Answer {
    pub(super) header: [u8; 8],
    pub(super) noise: Vec<u8>,
    /// Boxed, as every move of an array would leave a copy behind.
    pub(super) ephemeral: Box<Secret>,
    pub(super) payload: Vec<u8>,
    pub(super) mine: Offer,
    pub(super) cipher: Cipher,
}

impl Answer {
    /// The state after the response.
    pub(super) fn again(&self, secret: &[u8; KEY]) -> Option<Handshake> {
        let ephemeral = (*self.ephemeral).clone();
        let mut handshake = Handshake::responder(Pattern::Xx, secret, &self.header, ephemeral)?;
        handshake.read(&self.noise)?;
        handshake.write(&self.payload, &mut Vec::new())?;
        Some(handshake)
    }
}

/// What is waited for.
pub(super) enum Stage {
    /// XX: the finish, which says who it is.
    Finish(Box<(Handshake, Answer)>),
    /// IK: the first control frame, which says that the initiator is there now.
    Confirm(Box<Link>),
}

/// A handshake that somebody began.
pub(super) struct Half {
    pub(super) from: SocketAddr,
    /// The initiator's index.
    pub(super) sender: u32,
    /// Its first message: the same again gets the same response.
    pub(super) noise: Vec<u8>,
    pub(super) response: Vec<u8>,
    pub(super) since: f64,
    pub(super) failures: u32,
    pub(super) stage: Stage,
}

impl Half {
    pub(super) fn is_hopeless(&self) -> bool {
        self.failures >= MAX_FAILURES
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Halves {
    /// By this node's index.
    by_index: BTreeMap<u32, Half>,
    by_source: BTreeMap<(SocketAddr, u32), u32>,
    /// In order of age; some are gone already.
    ages: VecDeque<(f64, u32)>,
}

impl Halves {
    pub(super) fn len(&self) -> usize {
        self.by_index.len()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Half> {
        self.by_index.get_mut(&index)
    }

    /// The one that this initiator began.
    pub(super) fn of(&self, from: SocketAddr, sender: u32) -> Option<(u32, &Half)> {
        let index = *self.by_source.get(&(from, sender))?;
        Some((index, self.by_index.get(&index)?))
    }

    pub(super) fn insert(&mut self, index: u32, half: Half) {
        self.by_source.insert((half.from, half.sender), index);
        self.ages.push_back((half.since, index));
        self.by_index.insert(index, half);
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Half> {
        let half = self.by_index.remove(&index)?;
        if self.by_source.get(&(half.from, half.sender)) == Some(&index) {
            self.by_source.remove(&(half.from, half.sender));
        }
        Some(half)
    }

    /// The index of the oldest.
    pub(super) fn oldest(&mut self) -> Option<u32> {
        while let Some((since, index)) = self.ages.front().copied() {
            if self.by_index.get(&index).is_some_and(|half| half.since == since) {
                return Some(index);
            }
            self.ages.pop_front();
        }
        None
    }

    /// When the oldest is given up.
    pub(super) fn deadline(&mut self) -> Option<f64> {
        let oldest = self.oldest()?;
        Some(self.by_index.get(&oldest)?.since + LIFETIME)
    }
}
