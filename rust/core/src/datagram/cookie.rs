//! mac1 and cookies of links. In XX the dialler doesn't know whom it talks to: its mac1 only shows that it speaks this
//! protocol.

use std::net::{IpAddr, SocketAddr};

use super::crypt::{KEY, Secret};
use super::noise::Pattern;
use super::wire::{self, Initiation};
use crate::cookies::{self, Labels, MacKeys, NONCE, SEALED_COOKIE};

const LABELS: Labels = Labels {
    mac1: b"zosnet link mac1 v1",
    cookie: b"zosnet link cookie v1",
};
/// Length of a cookie reply.
pub(super) const REPLY: usize = 8 + SEALED_COOKIE;

/// Keys for messages to the node of this public key; without one, for whoever answers.
pub(super) fn keys_for(responder: Option<&[u8; KEY]>) -> MacKeys {
    MacKeys::new(&LABELS, responder.unwrap_or(&[0; KEY]))
}

/// The responder's side.
pub(super) struct Jar {
    known: MacKeys,
    unknown: MacKeys,
    secrets: cookies::Jar,
}

impl Jar {
    pub(super) fn new(public: &[u8; KEY]) -> Self {
        Self {
            known: keys_for(Some(public)),
            unknown: keys_for(None),
            secrets: cookies::Jar::default(),
        }
    }

    fn keys(&self, pattern: Pattern) -> &MacKeys {
        match pattern {
            Pattern::Ik => &self.known,
            Pattern::Xx => &self.unknown,
        }
    }

    pub(super) fn mac1_is_right(&self, initiation: &Initiation<'_>) -> bool {
        self.keys(initiation.pattern)
            .is_right(initiation.before_mac1, initiation.mac1)
    }

    pub(super) fn mac2_is_right(&self, initiation: &Initiation<'_>, from: SocketAddr, now: f64) -> bool {
        with_source(from, |source| {
            self.secrets
                .is_right(&[initiation.before_mac2], initiation.mac2, source, now)
        })
    }

    /// Whether a new secret is due: call [`Jar::renew`] before [`Jar::reply`].
    pub(super) fn is_stale(&self, now: f64) -> bool {
        self.secrets.is_stale(now)
    }

    pub(super) fn renew(&mut self, secret: Secret, now: f64) {
        self.secrets.renew(secret, now);
    }

    pub(super) fn reply(
        &self,
        initiation: &Initiation<'_>,
        from: SocketAddr,
        nonce: &[u8; NONCE],
    ) -> Option<Vec<u8>> {
        let keys = self.keys(initiation.pattern);
        let sealed = with_source(from, |source| {
            self.secrets.reply(keys, initiation.mac1, source, nonce)
        })?;
        let mut out = wire::address(wire::COOKIE, initiation.sender);
        out.extend_from_slice(&sealed);
        Some(out)
    }
}

/// Tells initiations that may be meant for a node from garbage, before anybody is woken for them.
pub struct Gate(Jar);

impl Gate {
    /// For the node of this public key.
    #[must_use]
    pub fn new(public: &[u8; KEY]) -> Self {
        Self(Jar::new(public))
    }

    /// Whether a datagram is an initiation that is whole and knows whom it is for, or something else. Costs a hash.
    #[must_use]
    pub fn passes(&self, datagram: &[u8]) -> bool {
        datagram.first() != Some(&wire::INITIATION)
            || Initiation::parse(datagram).is_some_and(|initiation| self.0.mac1_is_right(&initiation))
    }
}

/// What a cookie is bound to.
fn with_source<R>(from: SocketAddr, take: impl FnOnce(&[&[u8]]) -> R) -> R {
    let port = from.port().to_be_bytes();
    match from.ip() {
        IpAddr::V4(ip) => take(&[&ip.octets(), &port]),
        IpAddr::V6(ip) => take(&[&ip.octets(), &port]),
    }
}
