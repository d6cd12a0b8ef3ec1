//! Handshakes that this end began.
//!
//! Where the key is known, IK is asked for first; when it isn't answered, XX is tried beside it, which shows
//! whose key is there. XX with the right key is as good, and goes on. A dial is over when the responder's
//! first control frame came: until then nobody knows whether it takes this node's key.

use std::net::SocketAddr;

use super::config::Id;
use super::cookie::keys_for;
use super::crypt::KEY;
use super::link::Link;
use super::noise::{Handshake, Pattern};
use crate::cookies::{COOKIE_LIFETIME, Cookie, MacKeys, mac2};

/// Retries begin after this and double up to that, in seconds.
const RETRY: f64 = 0.25;
const MAX_RETRY: f64 = 5.0;
/// An unconfirmed handshake is begun anew after so long.
pub(super) const CONFIRM: f64 = 3.0;
/// How long the right key may still answer after a wrong one did.
pub(super) const SECOND_CHANCE: f64 = 1.0;
/// Tries with IK alone.
const IK_ALONE: u32 = 2;

/// One initiation.
pub(super) struct Attempt {
    pub(super) index: u32,
    pub(super) handshake: Handshake,
    /// Without the macs.
    message: Vec<u8>,
    macs: MacKeys,
    mac1: [u8; 16],
    cookie: Option<(Cookie, f64)>,
}

impl Attempt {
    /// `message` is the initiation up to mac1; `responder` its key, if IK.
    pub(super) fn new(
        index: u32,
        handshake: Handshake,
        message: Vec<u8>,
        responder: Option<&[u8; KEY]>,
    ) -> Self {
        let macs = keys_for(responder);
        let mac1 = macs.mac1(&message);
        Self {
            index,
            handshake,
            message,
            macs,
            mac1,
            cookie: None,
        }
    }

    /// The initiation, with mac2 if there is a cookie.
    pub(super) fn datagram(&self, now: f64) -> Vec<u8> {
        let mut out = self.message.clone();
        out.extend_from_slice(&self.mac1);
        let mac2 = match &self.cookie {
            Some((cookie, at)) if now - at < COOKIE_LIFETIME => mac2(cookie, &[&out]),
            _ => [0; 16],
        };
        out.extend_from_slice(&mac2);
        out
    }

    /// Take the cookie of a reply; false if it isn't for this initiation, or one is there already.
    pub(super) fn take_cookie(&mut self, body: &[u8], now: f64) -> bool {
        let Some(cookie) = self.macs.open(body, &self.mac1) else {
            return false;
        };
        let is_new = self.cookie.is_none_or(|(before, _)| before != cookie);
        self.cookie = Some((cookie, now));
        is_new
    }
}

/// A link that the responder hasn't confirmed.
pub(super) struct Unconfirmed {
    pub(super) link: Box<Link>,
    /// XX: goes out with every try.
    pub(super) finish: Option<Vec<u8>>,
    pub(super) since: f64,
}

/// A dial, or a link that is made anew.
pub(super) struct Dial {
    pub(super) token: Option<i64>,
    /// The link that isn't answered any more.
    pub(super) revives: Option<Id>,
    pub(super) remote: SocketAddr,
    pub(super) expected: Option<[u8; KEY]>,
    pub(super) until: f64,
    pub(super) tries: u32,
    pub(super) next: f64,
    /// At most one a pattern.
    pub(super) attempts: Vec<Attempt>,
    pub(super) unconfirmed: Option<Unconfirmed>,
    /// Answered at least once by the right key.
    pub(super) answered: bool,
    /// Whose key answered instead.
    pub(super) wrong: Option<[u8; KEY]>,
}

impl Dial {
    pub(super) fn new(
        token: Option<i64>,
        remote: SocketAddr,
        expected: Option<[u8; KEY]>,
        timeout: f64,
        now: f64,
    ) -> Self {
        Self {
            token,
            revives: None,
            remote,
            expected,
            until: now + timeout,
            tries: 0,
            next: now,
            attempts: Vec::new(),
            unconfirmed: None,
            answered: false,
            wrong: None,
        }
    }

    /// The pattern of the next try.
    pub(super) fn pattern(&self) -> Pattern {
        let only_ik = self.tries < IK_ALONE || self.tries % 2 == 1;
        if self.expected.is_some() && only_ik {
            Pattern::Ik
        } else {
            Pattern::Xx
        }
    }

    /// A try was made; `jitter` is in 0..1.
    pub(super) fn tried(&mut self, jitter: f64, now: f64) {
        let doubled = RETRY * f64::from(1 << (self.tries / 2).min(5));
        self.tries = self.tries.saturating_add(1);
        self.next = now + doubled.min(MAX_RETRY) * (0.9 + 0.2 * jitter);
    }

    /// Begin anew: the handshake that was under way came to nothing.
    pub(super) fn restart(&mut self) {
        self.unconfirmed = None;
        self.attempts.clear();
        self.tries = 0;
    }

    /// All indexes in use.
    pub(super) fn indexes(&self) -> Vec<u32> {
        let unconfirmed = self.unconfirmed.iter().map(|open| open.link.shared.local_index);
        self.attempts
            .iter()
            .map(|attempt| attempt.index)
            .chain(unconfirmed)
            .collect()
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> f64 {
        self.next.min(self.until)
    }

    /// Why it came to nothing, and whether it was refused.
    pub(super) fn failure(&self) -> (String, bool) {
        match (self.wrong, self.expected) {
            (Some(wrong), Some(expected)) => (
                format!("another key is there: {}, not {}", hex(&wrong), hex(&expected)),
                true,
            ),
            _ if self.answered => (
                "it answered, but doesn't take this node's key: perhaps it isn't allowed there".into(),
                true,
            ),
            _ => ("no answer".into(), false),
        }
    }
}

/// A key for people.
pub(super) fn hex(key: &[u8; KEY]) -> String {
    use std::fmt::Write;
    key.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
