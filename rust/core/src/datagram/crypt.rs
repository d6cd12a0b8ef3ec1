//! Ciphers and keys of a link: what the handshake gives becomes a chain of epoch keys for each direction.
//!
//! ```text
//! root(0)   = what the Noise handshake splits off for a direction
//! root(n+1) = BLAKE2s(key root(n), "zosnet link ratchet v1")
//! control   = BLAKE2s(key root(n), "zosnet link control v1" ‖ cipher)
//! relay     = BLAKE2s(key root(n), "zosnet link relay v1" ‖ cipher)
//! ```
//! Nonces are four zero bytes and the counter in the header. Counters go on across epochs, so a replay window
//! needs no epoch.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use blake2::digest::{FixedOutput, Mac, consts::U16, consts::U32};
use blake2::{Blake2s256, Blake2sMac, Digest};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Length of keys, secret and public.
pub const KEY: usize = 32;
/// Length of the tag of a control frame.
pub const TAG: usize = 16;
/// Length of the tag of a relayed packet.
pub const SHORT_TAG: usize = 8;

/// A secret of 32 bytes, wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; KEY]>;

/// Fails to compile if secrets weren't wiped when they go: roots, static and ephemeral keys, what cookies are made of.
const _: () = {
    const fn is_wiped<T: ZeroizeOnDrop>() {}
    is_wiped::<Secret>();
};

/// The transport cipher of a link. The responder picks; AES where both ends have it in hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// ChaCha20-Poly1305: every node speaks it.
    ChaCha20Poly1305,
    /// AES-256-GCM.
    Aes256Gcm,
}

impl Cipher {
    /// Its bit in the handshake's set of ciphers, which is also its name in key derivation.
    #[must_use]
    pub const fn bit(self) -> u8 {
        match self {
            Self::ChaCha20Poly1305 => 1,
            Self::Aes256Gcm => 2,
        }
    }

    /// What both ends can do best.
    pub(crate) const fn pick(mine: u8, theirs: u8) -> Option<Self> {
        let both = mine & theirs;
        if both & Self::Aes256Gcm.bit() != 0 {
            Some(Self::Aes256Gcm)
        } else if both & Self::ChaCha20Poly1305.bit() != 0 {
            Some(Self::ChaCha20Poly1305)
        } else {
            None
        }
    }
}

/// BLAKE2s-256 over the parts, without a key.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; KEY] {
    let mut hasher = Blake2s256::new();
    parts.iter().for_each(|part| Digest::update(&mut hasher, part));
    hasher.finalize().into()
}

/// BLAKE2s-256 with a key over the parts.
pub(crate) fn derive(key: &[u8; KEY], parts: &[&[u8]]) -> Secret {
    let mut mac = <Blake2sMac<U32> as Mac>::new(key.into());
    parts.iter().for_each(|part| Mac::update(&mut mac, part));
    Zeroizing::new(mac.finalize_fixed().into())
}

/// BLAKE2s-128 with a key over the parts. A key of 16 bytes is filled up with zeros.
pub(crate) fn short_mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut padded = Zeroizing::new([0; KEY]);
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = <Blake2sMac<U16> as blake2::digest::KeyInit>::new_from_slice(&*padded)
        .unwrap_or_else(|_| unreachable!("32 bytes are a key of BLAKE2s"));
    parts.iter().for_each(|part| Mac::update(&mut mac, part));
    mac.finalize_fixed().into()
}

/// Equality without a hint in the time it takes.
pub(crate) fn equal(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().skip(4).zip(counter.to_be_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// One expanded key of an AEAD.
pub(crate) struct Sealer(LessSafeKey);

impl Sealer {
    pub(crate) fn new(cipher: Cipher, key: &[u8; KEY]) -> Option<Self> {
        let algorithm = match cipher {
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Cipher::Aes256Gcm => &AES_256_GCM,
        };
        Some(Self(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?)))
    }

    /// Seal `body` in place and give its tag.
    pub(crate) fn seal(&self, counter: u64, aad: &[u8], body: &mut [u8]) -> Option<[u8; TAG]> {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(counter), Aad::from(aad), body)
            .ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Open ciphertext and tag in place.
    pub(crate) fn open<'a>(&self, counter: u64, aad: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.0.open_in_place(nonce(counter), Aad::from(aad), sealed).ok()
    }

    /// The tag of a relayed packet over its header.
    #[inline]
    pub(super) fn short_tag(&self, counter: u64, header: &[u8]) -> Option<[u8; SHORT_TAG]> {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(counter), Aad::from(header), &mut [])
            .ok()?;
        tag.as_ref().first_chunk().copied()
    }
}

/// Keys of one direction in one epoch.
#[derive(Clone)]
pub(super) struct EpochKeys {
    pub(super) epoch: u8,
    pub(super) control: Arc<Sealer>,
    pub(super) relay: Arc<Sealer>,
}

/// Where the keys of a direction come from, epoch after epoch. A step forgets where it came from.
pub(super) struct Chain {
    root: Secret,
    epoch: u8,
    cipher: Cipher,
}

impl Chain {
    pub(super) fn new(root: Secret, cipher: Cipher) -> Self {
        Self {
            root,
            epoch: 0,
            cipher,
        }
    }

    /// The keys of the epoch at hand; the chain steps to the next one.
    pub(super) fn step(&mut self) -> Option<EpochKeys> {
        let cipher = [self.cipher.bit()];
        let control = derive(&self.root, &[b"zosnet link control v1", &cipher]);
        let relay = derive(&self.root, &[b"zosnet link relay v1", &cipher]);
        let keys = EpochKeys {
            epoch: self.epoch,
            control: Arc::new(Sealer::new(self.cipher, &control)?),
            relay: Arc::new(Sealer::new(self.cipher, &relay)?),
        };
        self.root = derive(&self.root, &[b"zosnet link ratchet v1"]);
        self.epoch = self.epoch.wrapping_add(1);
        Some(keys)
    }
}
