//! What the Noise library computes with. It wipes nothing itself, so all that it is handed here does so when dropped.

use std::hint::black_box;

use blake2::{Blake2s256, Digest};
use curve25519_dalek::MontgomeryPoint;
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroize;

use super::crypt::{KEY, Secret};

/// X25519 that refuses keys of low order.
#[derive(Default)]
pub(super) struct X25519 {
    secret: Secret,
    public: [u8; KEY],
}

impl X25519 {
    fn complete(&mut self) {
        self.public = MontgomeryPoint::mul_base_clamped(*self.secret).to_bytes();
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }
    fn pub_len(&self) -> usize {
        KEY
    }
    fn priv_len(&self) -> usize {
        KEY
    }
    fn set(&mut self, privkey: &[u8]) {
        for (to, from) in self.secret.iter_mut().zip(privkey) {
            *to = *from;
        }
        self.complete();
    }
    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        rng.try_fill_bytes(&mut *self.secret)?;
        self.complete();
        Ok(())
    }
    fn pubkey(&self) -> &[u8] {
        &self.public
    }
    fn privkey(&self) -> &[u8] {
        &*self.secret
    }
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let pubkey = *pubkey.first_chunk().ok_or(snow::Error::Dh)?;
        let mut shared = MontgomeryPoint(pubkey).mul_clamped(*self.secret).to_bytes();
        // Of small order, so that anybody knows what is shared; read to the end, whatever it is.
        let is_known = shared.iter().fold(0, |bits, byte| bits | byte) == 0;
        for (to, from) in out.iter_mut().zip(shared) {
            *to = from;
        }
        shared.zeroize();
        if is_known { Err(snow::Error::Dh) } else { Ok(()) }
    }
}

/// The library's ChaCha20-Poly1305.
pub(super) struct Sealing(Box<dyn Cipher>);

impl Sealing {
    pub(super) fn of(resolver: &DefaultResolver) -> Option<Self> {
        let choice = snow::params::CipherChoice::ChaChaPoly;
        Some(Self(resolver.resolve_cipher(&choice)?))
    }

    /// It keeps nothing but its key, and overwrites that in place.
    fn wipe(&mut self) {
        self.0.set(&[0; KEY]);
        // As if somebody looked: else the compiler leaves out writes to memory that is freed next.
        black_box(&mut self.0);
    }
}

impl Cipher for Sealing {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn set(&mut self, key: &[u8; KEY]) {
        self.0.set(key);
    }
    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        self.0.encrypt(nonce, authtext, plaintext, out)
    }
    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        self.0.decrypt(nonce, authtext, ciphertext, out)
    }
}

impl Drop for Sealing {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// BLAKE2s, which also goes through the chaining key.
#[derive(Default)]
pub(super) struct Blake2s(Blake2s256);

impl Blake2s {
    /// A reset leaves what waits for a whole block where it is, so all of it is replaced.
    fn wipe(&mut self) {
        self.0 = Blake2s256::default();
        black_box(&mut self.0);
    }
}

impl Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }
    fn block_len(&self) -> usize {
        64
    }
    fn hash_len(&self) -> usize {
        32
    }
    fn reset(&mut self) {
        Digest::reset(&mut self.0);
    }
    fn input(&mut self, data: &[u8]) {
        Digest::update(&mut self.0, data);
    }
    fn result(&mut self, out: &mut [u8]) {
        for (to, from) in out.iter_mut().zip(self.0.finalize_reset()) {
            *to = from;
        }
    }
}

impl Drop for Blake2s {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_wiped_cipher_has_the_key_of_zeros() {
        let sealed = |cipher: &Sealing| {
            let mut out = [0; 20];
            assert_eq!(cipher.encrypt(5, b"header", b"text", &mut out), 20);
            out
        };
        let [mut used, mut plain] = [(); 2].map(|()| Sealing::of(&DefaultResolver).unwrap());
        plain.set(&[0; KEY]);
        used.set(&[7; KEY]);
        assert_ne!(sealed(&used), sealed(&plain));
        used.wipe();
        assert_eq!(sealed(&used), sealed(&plain));
    }

    #[test]
    fn a_wiped_hash_has_nothing_of_what_it_was_fed() {
        let mut hash = Blake2s::default();
        hash.input(&[7; 100]);
        hash.wipe();
        let mut out = [0; 32];
        hash.result(&mut out);
        assert_eq!(out, super::super::crypt::hash(&[]));
    }
}
