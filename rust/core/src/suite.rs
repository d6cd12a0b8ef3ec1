//! The session suite of the Mycelium network (reference, section 5.2): AES-256-GCM under the raw X25519
//! secret of two static keys, a random nonce a packet, no associated data.
//!
//! ```text
//! payload = ciphertext (as long as the plaintext) ‖ tag (16) ‖ nonce (12)
//! ```
//! There is no forward secrecy and no replay protection in it; the network knows nothing else.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};

/// Length of the GCM tag.
pub const TAG: usize = 16;
/// Length of the nonce, which travels last.
pub const NONCE: usize = 12;
/// What sealing adds after the plaintext.
pub const OVERHEAD: usize = TAG + NONCE;
/// Length of X25519 keys.
pub const KEY: usize = 32;

/// Nonces fetched from the random source at once: one call to it for 341 packets.
const NONCE_BATCH: usize = 341;

/// What can go wrong with keys and packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SuiteError {
    /// The 32 bytes aren't a usable X25519 secret.
    #[error("not a usable X25519 secret")]
    Secret,
    /// The peer's key is of low order: the secret would be known to everybody.
    #[error("a public key of low order")]
    LowOrder,
    /// The buffer has no room for tag and nonce, or the payload is shorter than them.
    #[error("too short for tag and nonce")]
    Short,
    /// Not sealed under this session's key, or altered on the way.
    #[error("the payload is not authentic")]
    Forged,
    /// The cipher refused to seal; only for more than 64 GiB in one packet.
    #[error("the cipher refused to seal")]
    Seal,
    /// The random source failed: nothing may be sealed without a fresh nonce.
    #[error("no random bytes")]
    Random,
}

/// The static X25519 key of this node.
pub struct StaticKey {
    private: PrivateKey,
    public: [u8; KEY],
}

impl StaticKey {
    /// Use the raw secret of a key file. It needn't be clamped. The caller wipes its own copy.
    ///
    /// # Errors
    /// [`SuiteError::Secret`] when the cryptographic library refuses it.
    pub fn from_secret(secret: &[u8; KEY]) -> Result<Self, SuiteError> {
        let private = PrivateKey::from_private_key(&X25519, secret).map_err(|_| SuiteError::Secret)?;
        let computed = private.compute_public_key().map_err(|_| SuiteError::Secret)?;
        let public = computed.as_ref().try_into().map_err(|_| SuiteError::Secret)?;
        Ok(Self { private, public })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; KEY] {
        self.public
    }

    /// The session with the node of key `peer`. The same for both directions and for the life of both keys,
    /// and costs one scalar multiplication, so keep it.
    ///
    /// # Errors
    /// [`SuiteError::LowOrder`] for a key that would make the secret all zero (the reference takes it).
    pub fn session(&self, peer: &[u8; KEY]) -> Result<Session, SuiteError> {
        agree(
            &self.private,
            UnparsedPublicKey::new(&X25519, peer),
            SuiteError::LowOrder,
            |secret| {
                if secret.iter().fold(0, |all, byte| all | byte) == 0 {
                    return Err(SuiteError::LowOrder);
                }
                let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| SuiteError::LowOrder)?;
                Ok(Session {
                    key: LessSafeKey::new(key),
                })
            },
        )
    }
}

impl std::fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// What two nodes share: an expanded AES-256-GCM key. Any thread may seal and open with it.
pub struct Session {
    key: LessSafeKey,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// Seal in place. `buf` is the plaintext (inner header included) and [`OVERHEAD`] spare bytes, into which
    /// tag and nonce are written. `nonce` must never have been used under this key: take it from [`Nonces`].
    ///
    /// # Errors
    /// [`SuiteError::Short`] without the spare bytes.
    #[inline]
    pub fn seal(&self, nonce: [u8; NONCE], buf: &mut [u8]) -> Result<(), SuiteError> {
        let end = buf.len().checked_sub(OVERHEAD).ok_or(SuiteError::Short)?;
        let (plaintext, spare) = buf.split_at_mut(end);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), plaintext)
            .map_err(|_| SuiteError::Seal)?;
        let (tag_at, nonce_at) = spare.split_at_mut(TAG);
        tag_at.copy_from_slice(tag.as_ref());
        nonce_at.copy_from_slice(&nonce);
        Ok(())
    }

    /// Open in place: `payload` is ciphertext, tag and nonce; the plaintext comes back.
    ///
    /// # Errors
    /// [`SuiteError::Short`] or [`SuiteError::Forged`]; the payload is worthless afterwards.
    #[inline]
    pub fn open<'a>(&self, payload: &'a mut [u8]) -> Result<&'a mut [u8], SuiteError> {
        if payload.len() < OVERHEAD {
            return Err(SuiteError::Short);
        }
        let (sealed, nonce) = payload.split_last_chunk_mut::<NONCE>().ok_or(SuiteError::Short)?;
        self.key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), sealed)
            .map_err(|_| SuiteError::Forged)
    }
}

/// Fills a buffer with random bytes fit for nonces, or says that it can't.
pub type Fill = Box<dyn FnMut(&mut [u8]) -> Result<(), SuiteError> + Send>;

/// Random 96-bit nonces from a buffer, so that a packet costs no call to the operating system. One per
/// thread: handing out the same buffer twice would repeat nonces.
pub struct Nonces {
    fill: Fill,
    buffer: Box<[[u8; NONCE]; NONCE_BATCH]>,
    used: usize,
}

impl Nonces {
    /// Nonces out of `fill`, which isn't called before the first one is needed.
    #[must_use]
    pub fn new(fill: impl FnMut(&mut [u8]) -> Result<(), SuiteError> + Send + 'static) -> Self {
        Self {
            fill: Box::new(fill),
            buffer: Box::new([[0; NONCE]; NONCE_BATCH]),
            used: NONCE_BATCH,
        }
    }

    /// The next nonce.
    ///
    /// # Errors
    /// [`SuiteError::Random`], or whatever the source returned. No nonce is ever made up.
    #[inline]
    pub fn take(&mut self) -> Result<[u8; NONCE], SuiteError> {
        if self.used >= NONCE_BATCH {
            (self.fill)(self.buffer.as_flattened_mut())?;
            self.used = 0;
        }
        let nonce = self.buffer.get(self.used).ok_or(SuiteError::Random)?;
        self.used += 1;
        Ok(*nonce)
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}
