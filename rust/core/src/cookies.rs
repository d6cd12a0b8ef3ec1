//! mac1 and cookies, as sections 5.3 and 5.4 of WireGuard's paper have them, for links and for sessions: each has labels
//! of its own, so that nothing made for one means anything to the other.
//!
//! mac1 shows that a sender knows whom it talks to, for the price of a hash. When many ask, only a mac2 under the cookie
//! that was sent to the source gets further; a cookie is computed from the source, so nothing is kept.

use crate::datagram::crypt::{Cipher, KEY, Sealer, Secret, derive, equal, hash, short_mac};

/// Length of mac1, mac2 and a cookie.
pub(crate) const MAC: usize = 16;
/// Length of the nonce of a cookie reply.
pub(crate) const NONCE: usize = 24;
/// Length of nonce and sealed cookie.
pub(crate) const SEALED_COOKIE: usize = NONCE + MAC + 16;
/// A secret makes cookies for so many seconds, and they are taken for as long again.
const SECRET_LIFETIME: f64 = 120.0;
/// How long who asks may use a cookie.
pub(crate) const COOKIE_LIFETIME: f64 = 120.0;

/// A cookie.
pub(crate) type Cookie = [u8; MAC];

/// What keys are made for.
pub(crate) struct Labels {
    pub(crate) mac1: &'static [u8],
    pub(crate) cookie: &'static [u8],
}

/// Keys made from the public key of the node that a message is for.
pub(crate) struct MacKeys {
    mac1: [u8; KEY],
    cookie: [u8; KEY],
}

impl MacKeys {
    pub(crate) fn new(labels: &Labels, receiver: &[u8; KEY]) -> Self {
        Self {
            mac1: hash(&[labels.mac1, receiver]),
            cookie: hash(&[labels.cookie, receiver]),
        }
    }

    /// Over everything in front of it.
    pub(crate) fn mac1(&self, covered: &[u8]) -> [u8; MAC] {
        short_mac(&self.mac1, &[covered])
    }

    pub(crate) fn is_right(&self, covered: &[u8], mac1: &[u8; MAC]) -> bool {
        equal(&self.mac1(covered), mac1)
    }

    fn sealer(&self, nonce: &[u8; NONCE]) -> Option<Sealer> {
        Sealer::new(Cipher::ChaCha20Poly1305, &derive(&self.cookie, &[nonce]))
    }

    /// The cookie in the answer to an initiation that had `mac1`.
    pub(crate) fn open(&self, body: &[u8], mac1: &[u8; MAC]) -> Option<Cookie> {
        let (nonce, sealed) = body.split_first_chunk::<NONCE>()?;
        let mut sealed: [u8; MAC + 16] = sealed.try_into().ok()?;
        let cookie = self.sealer(nonce)?.open(0, mac1, &mut sealed)?;
        (*cookie).try_into().ok()
    }
}

/// mac2 over everything in front of it, mac1 included: that the sender received the cookie.
pub(crate) fn mac2(cookie: &Cookie, covered: &[&[u8]]) -> [u8; MAC] {
    short_mac(cookie, covered)
}

/// The secrets behind a node's cookies.
#[derive(Default)]
pub(crate) struct Jar {
    secrets: [Option<Secret>; 2],
    since: f64,
}

impl Jar {
    /// Whether a new secret is due: call [`Jar::renew`] before [`Jar::reply`].
    pub(crate) fn is_stale(&self, now: f64) -> bool {
        self.secrets[0].is_none() || now - self.since >= SECRET_LIFETIME
    }

    pub(crate) fn renew(&mut self, secret: Secret, now: f64) {
        self.secrets[1] = self.secrets[0].take();
        self.secrets[0] = Some(secret);
        self.since = now;
    }

    /// Whether `sent` is the mac2 over `covered` of somebody who receives at `source`.
    pub(crate) fn is_right(&self, covered: &[&[u8]], sent: &[u8; MAC], source: &[&[u8]], now: f64) -> bool {
        if *sent == [0; MAC] {
            return false;
        }
        let ages = [0.0, SECRET_LIFETIME];
        self.secrets.iter().zip(ages).any(|(secret, age)| {
            let Some(secret) = secret else { return false };
            let wanted = mac2(&short_mac(&secret[..], source), covered);
            now - self.since + age < 2.0 * SECRET_LIFETIME && equal(&wanted, sent)
        })
    }

    /// A mark of `parts` that nobody else can make or foresee; none before the first secret.
    pub(crate) fn mark(&self, parts: &[&[u8]]) -> Option<[u8; MAC]> {
        Some(short_mac(&self.secrets[0].as_ref()?[..], parts))
    }

    /// Nonce and sealed cookie for `source`.
    pub(crate) fn reply(
        &self,
        keys: &MacKeys,
        mac1: &[u8; MAC],
        source: &[&[u8]],
        nonce: &[u8; NONCE],
    ) -> Option<Vec<u8>> {
        let mut sealed = self.mark(source)?;
        let tag = keys.sealer(nonce)?.seal(0, mac1, &mut sealed)?;
        Some([&nonce[..], &sealed, &tag].concat())
    }
}
