//! The Noise_IK handshake of two nodes: what is sent, what is believed, and the keys that come of it.

use super::mac;
use super::transport::{Agreed, Transport};
use super::wire::{self, Initiation, Offer, Response};
use crate::Address;
use crate::cookies::{self, Cookie, MAC};
use crate::datagram::crypt::{Cipher, KEY, Secret};
use crate::datagram::noise::{Handshake, Pattern};

/// What both ends mix in first; the clear header of the initiation follows.
const PROLOGUE: &[u8] = b"zosnet session v1";

/// What this node says of itself, and what it holds its keys to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    pub(super) offer: Offer,
    /// Frames that one generation of keys may seal.
    pub(super) limit: u64,
}

fn prologue(header: &[u8]) -> Vec<u8> {
    [PROLOGUE, header].concat()
}

/// A handshake that this end began.
pub(super) struct Initiating {
    noise: Handshake,
    pub(super) index: u32,
    /// The message without its mac2.
    message: Vec<u8>,
    pub(super) mac1: [u8; MAC],
}

impl Initiating {
    /// Ask the node of `peer`, whose address is `endpoint`.
    pub(super) fn new(
        secret: &[u8; KEY],
        peer: &[u8; KEY],
        endpoint: &Address,
        index: u32,
        own: &Own,
        ephemeral: Secret,
    ) -> Option<Self> {
        let header = wire::initiation_header(index, endpoint);
        let mut noise = Handshake::with_prologue(
            Pattern::Ik,
            secret,
            Some(peer),
            &prologue(&header),
            ephemeral,
            true,
        )?;
        let mut message = header.to_vec();
        noise.write(&own.offer.encode(), &mut message)?;
        let mac1 = mac::keys_for(peer).mac1(&message);
        Some(Self {
            noise,
            index,
            message,
            mac1,
        })
    }

    /// The whole message, with the cookie of the peer if it gave one.
    pub(super) fn frame(&self, cookie: Option<&Cookie>) -> Vec<u8> {
        let mac2 = cookie.map_or([0; MAC], |cookie| {
            cookies::mac2(cookie, &[&self.message, &self.mac1])
        });
        [&self.message[..], &self.mac1, &mac2].concat()
    }

    /// What the peer granted, and the index that it wants to be addressed by: not the one in the clear header, which
    /// anybody who knows this node's public key may have changed. A response that fails leaves the handshake as it was.
    pub(super) fn granted(&mut self, response: &Response<'_>) -> Option<(Offer, u32)> {
        Offer::decode_granted(&self.noise.read(response.noise)?)
    }

    /// The keys, once it was granted.
    pub(super) fn finish(self, peer: &[u8; KEY], theirs: Offer, remote: u32, own: &Own) -> Option<Transport> {
        // The peer's answer has the one cipher that it picked.
        let cipher = Cipher::pick(own.offer.ciphers, theirs.ciphers)
            .filter(|cipher| theirs.ciphers == cipher.bit())?;
        let agreed = agreed(*peer, [self.index, remote], cipher, theirs, own);
        let (there, back) = self.noise.split()?;
        Transport::new(agreed, &there, &back)
    }
}

fn agreed(peer: [u8; KEY], indexes: [u32; 2], cipher: Cipher, theirs: Offer, own: &Own) -> Agreed {
    let [local, remote] = indexes;
    Agreed {
        peer,
        local,
        remote,
        cipher,
        lanes: [own.offer.lanes, theirs.lanes],
        max_frame: usize::from(theirs.max_frame),
        limit: own.limit,
    }
}

/// Somebody's wish, read and found to be of that key.
pub(super) struct Asked {
    noise: Handshake,
    pub(super) peer: [u8; KEY],
    theirs: Offer,
    remote: u32,
}

impl Asked {
    /// Read an initiation.
    pub(super) fn read(secret: &[u8; KEY], initiation: &Initiation<'_>, ephemeral: Secret) -> Option<Self> {
        let mut noise = Handshake::with_prologue(
            Pattern::Ik,
            secret,
            None,
            &prologue(initiation.header),
            ephemeral,
            false,
        )?;
        let payload = noise.read(initiation.noise)?;
        let peer = noise.remote()?;
        Some(Self {
            noise,
            peer,
            theirs: Offer::decode(&payload)?,
            remote: initiation.sender,
        })
    }

    /// Grant it: the response, and the keys. They are believed once a frame came under them.
    pub(super) fn grant(mut self, index: u32, own: &Own) -> Option<(Vec<u8>, Transport)> {
        let cipher = Cipher::pick(own.offer.ciphers, self.theirs.ciphers)?;
        let mut response = wire::response_header(index, self.remote).to_vec();
        let offer = Offer {
            ciphers: cipher.bit(),
            ..own.offer
        };
        self.noise.write(&offer.encode_granted(index), &mut response)?;
        let mac1 = mac::keys_for(&self.peer).mac1(&response);
        response.extend_from_slice(&mac1);
        let agreed = agreed(self.peer, [index, self.remote], cipher, self.theirs, own);
        let (there, back) = self.noise.split()?;
        Some((response, Transport::new(agreed, &back, &there)?))
    }
}
