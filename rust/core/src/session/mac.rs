//! mac1 and cookies, as sections 5.3 and 5.4 of WireGuard's paper have them, with labels of our own.
//!
//! mac1 shows that a sender knows whom it talks to, for the price of a hash. When many ask, only a mac2 under the
//! cookie that was sent to the source gets further; a cookie is computed from the source, so nothing is kept.

use super::wire::{self, Handshake};
use crate::datagram::crypt::{Cipher, KEY, Sealer, Secret, derive, equal, hash, short_mac};

/// Length of both.
pub(super) const MAC: usize = 16;
/// A secret makes cookies for so many seconds, and they are taken for as long again.
const SECRET_LIFETIME: f64 = 120.0;
const NONCE: usize = 24;

/// A cookie.
pub(super) type Cookie = [u8; MAC];

/// Keys made from the public key of the node that a message is for.
pub(super) struct MacKeys {
    mac1: [u8; KEY],
    cookie: [u8; KEY],
}

impl MacKeys {
    pub(super) fn new(receiver: &[u8; KEY]) -> Self {
        Self {
            mac1: hash(&[b"zosnet session mac1 v1", receiver]),
            cookie: hash(&[b"zosnet session cookie v1", receiver]),
        }
    }

    /// Over everything in front of it.
    pub(super) fn mac1(&self, covered: &[u8]) -> [u8; MAC] {
        short_mac(&self.mac1, &[covered])
    }

    pub(super) fn is_right(&self, covered: &[u8], mac1: &[u8; MAC]) -> bool {
        equal(&self.mac1(covered), mac1)
    }

    fn sealer(&self, nonce: &[u8; NONCE]) -> Option<Sealer> {
        Sealer::new(Cipher::ChaCha20Poly1305, &derive(&self.cookie, &[nonce]))
    }

    /// The cookie in the answer to an initiation that had `mac1`.
    pub(super) fn open(&self, body: &[u8], mac1: &[u8; MAC]) -> Option<Cookie> {
        let (nonce, sealed) = body.split_first_chunk::<NONCE>()?;
        let mut sealed: [u8; MAC + 16] = sealed.try_into().ok()?;
        let cookie = self.sealer(nonce)?.open(0, mac1, &mut sealed)?;
        (*cookie).try_into().ok()
    }
}

/// Tells messages of the handshake that may be meant for a node from garbage, before anybody is woken for them.
pub struct Gate(MacKeys);

impl Gate {
    /// For the node of this public key.
    #[must_use]
    pub fn new(public: &[u8; KEY]) -> Self {
        Self(MacKeys::new(public))
    }

    /// Whether a message is whole, and made by somebody who knows whom it is for. Costs a hash.
    #[must_use]
    pub fn passes(&self, message: &[u8]) -> bool {
        match wire::decode(message) {
            Some(Handshake::Initiation(initiation)) => self.0.is_right(initiation.covered, &initiation.mac1),
            Some(Handshake::Response(response)) => self.0.is_right(response.covered, &response.mac1),
            Some(Handshake::Cookie { .. } | Handshake::Unknown { .. }) => true,
            None => false,
        }
    }
}

/// mac2: that the sender received the cookie.
pub(super) fn mac2(cookie: &Cookie, covered: &[u8], mac1: &[u8; MAC]) -> [u8; MAC] {
    short_mac(cookie, &[covered, mac1])
}

/// The secrets behind this node's cookies.
#[derive(Default)]
pub(super) struct Jar {
    secrets: [Option<Secret>; 2],
    since: f64,
}

impl Jar {
    /// Whether a new secret is due before cookies can be made.
    pub(super) fn is_stale(&self, now: f64) -> bool {
        self.secrets[0].is_none() || now - self.since >= SECRET_LIFETIME
    }

    pub(super) fn renew(&mut self, secret: Secret, now: f64) {
        self.secrets[1] = self.secrets[0].take();
        self.secrets[0] = Some(secret);
        self.since = now;
    }

    pub(super) fn is_right(&self, covered: &[u8], macs: [&[u8; MAC]; 2], source: &[u8], now: f64) -> bool {
        let ages = [0.0, SECRET_LIFETIME];
        let [mac1, sent] = macs;
        if *sent == [0; MAC] {
            return false;
        }
        self.secrets.iter().zip(ages).any(|(secret, age)| {
            let Some(secret) = secret else { return false };
            let wanted = mac2(&short_mac(&secret[..], &[source]), covered, mac1);
            now - self.since + age < 2.0 * SECRET_LIFETIME && equal(&wanted, sent)
        })
    }

    /// Which of `count` buckets `origin` shares: nobody else can tell.
    pub(super) fn slot(&self, origin: &[u8], count: usize) -> usize {
        let Some(secret) = &self.secrets[0] else { return 0 };
        let [first, second, ..] = short_mac(&secret[..], &[b"origin", origin]);
        usize::from(u16::from_be_bytes([first, second])) % count.max(1)
    }

    /// Nonce and sealed cookie for `source`.
    pub(super) fn reply(
        &self,
        keys: &MacKeys,
        mac1: &[u8; MAC],
        source: &[u8],
        nonce: [u8; NONCE],
    ) -> Option<Vec<u8>> {
        let mut sealed = short_mac(&self.secrets[0].as_ref()?[..], &[source]);
        let tag = keys.sealer(&nonce)?.seal(0, mac1, &mut sealed)?;
        Some([&nonce[..], &sealed, &tag].concat())
    }
}
