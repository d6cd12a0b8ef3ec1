//! The AEAD under one key: one cipher, and for AES-256-GCM two libraries.
//!
//! The quickest code for long frames is spread widest: after a rest, when no cache has any of it, one short frame costs it
//! 7 µs, and some 2 µs in a library that is compact (docs/benchmarks.md, "Idle p50"). The bytes are the same.

use std::hint::black_box;

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, KeyInit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::wire::{HEADER, TAG};
use crate::datagram::crypt::{Cipher, KEY};

/// Entries of at most so many bytes are short: an echo request, a segment that only acknowledges. Warm, the two
/// libraries differ by less than 0.1 µs there.
const SHORT: usize = 192;
/// Length of a nonce, bytes.
pub(super) const NONCE: usize = 12;

/// Keys are wiped when it is dropped: of `long` by its library, which overwrites all that it frees.
pub(super) struct Aead {
    long: LessSafeKey,
    short: Option<Aes256Gcm>,
}

impl Aead {
    /// None: the library refuses the key.
    pub(super) fn new(cipher: Cipher, key: &[u8; KEY]) -> Option<Self> {
        let (algorithm, short) = match cipher {
            Cipher::ChaCha20Poly1305 => (&CHACHA20_POLY1305, None),
            Cipher::Aes256Gcm => (&AES_256_GCM, Some(Aes256Gcm::new(key.into()))),
        };
        let long = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Self { long, short })
    }

    /// Expand a key of zeros in the place of the other one: the library of `short` wipes round keys only where a feature
    /// of a crate below says so, and never the key of GHASH.
    fn wipe(&mut self) {
        if let Some(short) = &mut self.short {
            *short = Aes256Gcm::new(&[0; KEY].into());
            // As if somebody looked: else the compiler leaves out writes to memory that is freed next.
            black_box(short);
        }
    }

    /// Seal `entries` in place; the tag.
    #[inline]
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE],
        header: &[u8; HEADER],
        entries: &mut [u8],
    ) -> Option<[u8; TAG]> {
        if let Some(short) = self.short.as_ref().filter(|_| entries.len() <= SHORT) {
            let tag = short.encrypt_in_place_detached(&nonce.into(), header, entries);
            return tag.ok().map(Into::into);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .long
            .seal_in_place_separate_tag(nonce, Aad::from(header), entries);
        tag.ok()?.as_ref().try_into().ok()
    }

    /// Open `sealed`, whose last bytes are the tag, in place; the entries.
    #[inline]
    pub(super) fn open<'a>(
        &self,
        nonce: [u8; NONCE],
        header: &[u8; HEADER],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        if let Some(short) = self.short.as_ref().filter(|_| sealed.len() <= SHORT + TAG) {
            let (entries, tag) = sealed.split_last_chunk_mut::<TAG>()?;
            let tag = &(*tag).into();
            let opened = short.decrypt_in_place_detached(&nonce.into(), header, entries, tag);
            return opened.ok().map(|()| entries);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.long.open_in_place(nonce, Aad::from(header), sealed).ok()
    }
}

impl Drop for Aead {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Aead, SHORT, TAG};
    use crate::datagram::crypt::Cipher;

    /// Whatever the length, each library opens what the other one sealed, and nothing else.
    #[test]
    fn both_libraries_make_the_same_bytes() {
        let header = [3; super::HEADER];
        let aead = Aead::new(Cipher::Aes256Gcm, &[7; 32]).unwrap();
        let mut other = Aead::new(Cipher::Aes256Gcm, &[7; 32]).unwrap();
        other.short = None;
        for length in (0..SHORT + 20).chain([1400, 9000]) {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let seal = |aead: &Aead| {
                let mut bytes = plain.clone();
                let tag = aead.seal([length as u8; 12], &header, &mut bytes).unwrap();
                bytes.extend_from_slice(&tag);
                bytes
            };
            let sealed = seal(&aead);
            assert_eq!(sealed, seal(&other), "{length}");
            for one in [&aead, &other] {
                assert_eq!(
                    one.open([length as u8; 12], &header, &mut sealed.clone())
                        .unwrap(),
                    plain
                );
                for at in [0, length / 2, length + TAG - 1] {
                    let mut wrong = sealed.clone();
                    wrong[at] ^= 0x10;
                    assert!(one.open([length as u8; 12], &header, &mut wrong).is_none());
                }
                assert!(
                    one.open([length as u8 ^ 1; 12], &header, &mut sealed.clone())
                        .is_none()
                );
                assert!(
                    one.open([length as u8; 12], &[4; super::HEADER], &mut sealed.clone())
                        .is_none()
                );
                assert!(one.open([length as u8; 12], &header, &mut [0; TAG - 1]).is_none());
            }
        }
    }

    #[test]
    fn a_wiped_cipher_has_the_key_of_zeros() {
        let sealed = |aead: &Aead| {
            let mut bytes = [9; 16];
            let tag = aead.seal([1; 12], &[3; super::HEADER], &mut bytes);
            (bytes, tag.unwrap())
        };
        let [mut used, plain] = [7, 0].map(|byte| Aead::new(Cipher::Aes256Gcm, &[byte; 32]).unwrap());
        assert_ne!(sealed(&used), sealed(&plain));
        used.wipe();
        assert_eq!(sealed(&used), sealed(&plain));
    }
}
