//! mac1, and cookies against floods: sections 5.3 and 5.4 of WireGuard's paper, with labels of our own.
//!
//! mac1 shows that a sender knows whom it talks to (or, in XX, that it speaks this protocol) before anything
//! dearer than a hash is done. When many handshakes are half open, only a mac2 under the cookie that was sent
//! to the source gets further; the cookie is computed from the source, so nothing is kept.

use std::net::{IpAddr, SocketAddr};

use super::crypt::{Cipher, KEY, Sealer, Secret, derive, equal, hash, short_mac};
use super::noise::Pattern;
use super::wire::{self, Initiation};

/// A secret makes cookies for so long, and they are taken for as long again.
const SECRET_LIFETIME: f64 = 120.0;
/// How long a dialler may use a cookie.
pub(super) const COOKIE_LIFETIME: f64 = 120.0;
const NONCE: usize = 24;
/// Length of a cookie reply.
pub(super) const REPLY: usize = 8 + NONCE + 32;

/// A cookie.
pub(super) type Cookie = [u8; 16];

/// Keys made from a responder's public key; from zeros where the dialler doesn't know it.
pub(super) struct MacKeys {
    mac1: [u8; KEY],
    cookie: [u8; KEY],
}

impl MacKeys {
    pub(super) fn new(responder: &[u8; KEY]) -> Self {
        Self {
            mac1: hash(&[b"zosnet link mac1 v1", responder]),
            cookie: hash(&[b"zosnet link cookie v1", responder]),
        }
    }

    pub(super) fn mac1(&self, covered: &[u8]) -> [u8; 16] {
        short_mac(&self.mac1, &[covered])
    }

    fn sealer(&self, nonce: &[u8; NONCE]) -> Option<Sealer> {
        Sealer::new(Cipher::ChaCha20Poly1305, &derive(&self.cookie, &[nonce]))
    }

    /// The cookie in a reply to an initiation that had `mac1`.
    pub(super) fn open(&self, body: &[u8], mac1: &[u8; 16]) -> Option<Cookie> {
        let (nonce, sealed) = body.split_first_chunk::<NONCE>()?;
        let mut sealed: [u8; 32] = sealed.try_into().ok()?;
        let cookie = self.sealer(nonce)?.open(0, mac1, &mut sealed)?;
        (*cookie).try_into().ok()
    }
}

/// mac2: that the sender received the cookie.
pub(super) fn mac2(cookie: &Cookie, covered: &[u8]) -> [u8; 16] {
    short_mac(cookie, &[covered])
}

/// The responder's side.
pub(super) struct Jar {
    known: MacKeys,
    unknown: MacKeys,
    secrets: [Option<Secret>; 2],
    since: f64,
}

impl Jar {
    pub(super) fn new(public: &[u8; KEY]) -> Self {
        Self {
            known: MacKeys::new(public),
            unknown: MacKeys::new(&[0; KEY]),
            secrets: [None, None],
            since: f64::NEG_INFINITY,
        }
    }

    fn keys(&self, pattern: Pattern) -> &MacKeys {
        match pattern {
            Pattern::Ik => &self.known,
            Pattern::Xx => &self.unknown,
        }
    }

    pub(super) fn mac1_is_right(&self, initiation: &Initiation<'_>) -> bool {
        let right = self.keys(initiation.pattern).mac1(initiation.before_mac1);
        equal(&right, initiation.mac1)
    }

    pub(super) fn mac2_is_right(&self, initiation: &Initiation<'_>, from: SocketAddr, now: f64) -> bool {
        let ages = [0.0, SECRET_LIFETIME];
        self.secrets.iter().zip(ages).any(|(secret, age)| {
            let Some(secret) = secret else { return false };
            let cookie = cookie(secret, from);
            now - self.since + age < 2.0 * SECRET_LIFETIME
                && equal(&mac2(&cookie, initiation.before_mac2), initiation.mac2)
        })
    }

    /// Whether a new secret is due: call [`Jar::renew`] before [`Jar::reply`].
    pub(super) fn is_stale(&self, now: f64) -> bool {
        now - self.since >= SECRET_LIFETIME
    }

    pub(super) fn renew(&mut self, secret: Secret, now: f64) {
        self.secrets[1] = self.secrets[0].take();
        self.secrets[0] = Some(secret);
        self.since = now;
    }

    pub(super) fn reply(
        &self,
        initiation: &Initiation<'_>,
        from: SocketAddr,
        nonce: &[u8; NONCE],
    ) -> Option<Vec<u8>> {
        let mut sealed = cookie(self.secrets[0].as_ref()?, from);
        let sealer = self.keys(initiation.pattern).sealer(nonce)?;
        let tag = sealer.seal(0, initiation.mac1, &mut sealed)?;
        let mut out = wire::address(wire::COOKIE, initiation.sender);
        out.extend_from_slice(nonce);
        out.extend_from_slice(&sealed);
        out.extend_from_slice(&tag);
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

fn cookie(secret: &[u8; KEY], from: SocketAddr) -> Cookie {
    let port = from.port().to_be_bytes();
    match from.ip() {
        IpAddr::V4(ip) => short_mac(secret, &[&ip.octets(), &port]),
        IpAddr::V6(ip) => short_mac(secret, &[&ip.octets(), &port]),
    }
}
