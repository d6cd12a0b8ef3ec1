//! mac1 and cookies of sessions.

use super::wire::{self, Handshake};
use crate::cookies::{Jar, Labels, MacKeys};
use crate::datagram::crypt::KEY;

const LABELS: Labels = Labels {
    mac1: b"zosnet session mac1 v1",
    cookie: b"zosnet session cookie v1",
};

/// Keys for messages to the node of this public key.
pub(super) fn keys_for(receiver: &[u8; KEY]) -> MacKeys {
    MacKeys::new(&LABELS, receiver)
}

/// Which of `count` buckets `origin` shares: nobody else can tell.
pub(super) fn slot(jar: &Jar, origin: &[u8], count: usize) -> usize {
    let Some([first, second, ..]) = jar.mark(&[b"origin", origin]) else {
        return 0;
    };
    usize::from(u16::from_be_bytes([first, second])) % count.max(1)
}

/// Tells messages of the handshake that may be meant for a node from garbage, before anybody is woken for them.
pub struct Gate(MacKeys);

impl Gate {
    /// For the node of this public key.
    #[must_use]
    pub fn new(public: &[u8; KEY]) -> Self {
        Self(keys_for(public))
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
