//! The Noise handshake of a link: XX, or IK where the URL names the key.
//!
//! `snow` is the machine; randomness comes from outside, and a public key of low order, under which the
//! secret would be known to everybody, fails the handshake. `snow` wipes nothing. What it computes with is therefore
//! ours (`primitives`), and its own state, with the chaining key, lies in one place and is overwritten there.

use std::hint::black_box;
use std::sync::Mutex;

use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use zeroize::{Zeroize, Zeroizing};

use super::crypt::{KEY, Secret};
use super::primitives::{Blake2s, Sealing, X25519};

/// More than any message of ours: room for a key of ML-KEM-768 beside it.
const MAX_MESSAGE: usize = 2048;

/// A pattern without static keys, whose first state is public.
const BLANK: &str = "Noise_NN_25519_ChaChaPoly_BLAKE2s";

/// Which Noise pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Neither end knows the other's key.
    Xx = 0,
    /// The initiator knows the responder's key.
    Ik = 1,
}

impl Pattern {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Xx),
            1 => Some(Self::Ik),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Xx => "Noise_XX_25519_ChaChaPoly_BLAKE2s",
            Self::Ik => "Noise_IK_25519_ChaChaPoly_BLAKE2s",
        }
    }
}

/// 32 bytes drawn before, handed out once: one ephemeral key a handshake. Boxed, as what is taken out of an option may
/// leave its bytes behind.
struct Drawn(Option<Box<Secret>>);

impl Random for Drawn {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let drawn = self.0.take().ok_or(snow::Error::Rng)?;
        if dest.len() != drawn.len() {
            return Err(snow::Error::Rng);
        }
        dest.copy_from_slice(&drawn[..]);
        Ok(())
    }
}

/// What `snow` builds a handshake from, and the one key it may draw.
struct Resolver(Mutex<Option<Box<Secret>>>);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        let drawn = self.0.lock().ok()?.take();
        Some(Box::new(Drawn(drawn)))
    }
    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::<X25519>::default())
    }
    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::<Blake2s>::default())
    }
    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(Sealing::of(&DefaultResolver)?))
    }
}

fn builder<'b>(name: &str, drawn: Option<Box<Secret>>) -> Option<Builder<'b>> {
    let params: NoiseParams = name.parse().ok()?;
    Some(Builder::with_resolver(
        params,
        Box::new(Resolver(Mutex::new(drawn))),
    ))
}

/// A handshake under way. Boxed, as every move of the state would leave its chaining key behind.
pub(crate) struct Handshake {
    state: Box<HandshakeState>,
    pub(super) pattern: Pattern,
}

/// What both ends mix in before the first message: the label and the clear header of the initiation.
fn prologue(header: &[u8; 8]) -> Vec<u8> {
    [&b"zosnet link v1"[..], header].concat()
}

impl Handshake {
    /// The dialler's end. `remote` must be there for IK. `header` are the first eight bytes of the initiation.
    pub(super) fn initiator(
        pattern: Pattern,
        secret: &[u8; KEY],
        remote: Option<&[u8; KEY]>,
        header: &[u8; 8],
        ephemeral: Secret,
    ) -> Option<Self> {
        Self::with_prologue(pattern, secret, remote, &prologue(header), ephemeral, true)
    }

    /// The end that is dialled.
    pub(super) fn responder(
        pattern: Pattern,
        secret: &[u8; KEY],
        header: &[u8; 8],
        ephemeral: Secret,
    ) -> Option<Self> {
        Self::with_prologue(pattern, secret, None, &prologue(header), ephemeral, false)
    }

    /// Either end, with these bytes mixed in before the first message.
    pub(crate) fn with_prologue(
        pattern: Pattern,
        secret: &[u8; KEY],
        remote: Option<&[u8; KEY]>,
        prologue: &[u8],
        ephemeral: Secret,
        initiator: bool,
    ) -> Option<Self> {
        let mut builder = builder(pattern.name(), Some(Box::new(ephemeral)))?
            .local_private_key(secret)
            .ok()?
            .prologue(prologue)
            .ok()?;
        if let (Pattern::Ik, Some(remote)) = (pattern, remote) {
            builder = builder.remote_public_key(remote).ok()?;
        }
        let state = if initiator {
            builder.build_initiator()
        } else {
            builder.build_responder()
        };
        Some(Self {
            state: Box::new(state.ok()?),
            pattern,
        })
    }

    /// Append the next message with `payload` to `out`.
    pub(crate) fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut message = [0; MAX_MESSAGE];
        let length = self.state.write_message(payload, &mut message).ok()?;
        out.extend_from_slice(message.get(..length)?);
        Some(())
    }

    /// The payload of the peer's next message. A message that fails leaves the state as it was.
    pub(crate) fn read(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if message.len() > MAX_MESSAGE {
            return None;
        }
        let mut payload = vec![0; message.len()];
        let length = self.state.read_message(message, &mut payload).ok()?;
        payload.truncate(length);
        Some(payload)
    }

    /// The peer's static key, once it is known.
    pub(crate) fn remote(&self) -> Option<[u8; KEY]> {
        self.state.get_remote_static()?.try_into().ok()
    }

    /// What the finished handshake gives: the roots from initiator to responder, and back.
    pub(crate) fn split(mut self) -> Option<(Secret, Secret)> {
        if !self.state.is_handshake_finished() {
            return None;
        }
        let (mut there, mut back) = self.state.dangerously_get_raw_split();
        let roots = (Zeroizing::new(there), Zeroizing::new(back));
        there.zeroize();
        back.zeroize();
        Some(roots)
    }

    /// Put the state of a handshake without any keys in the place of this one.
    fn wipe(&mut self) {
        let blank = builder(BLANK, None).and_then(|builder| builder.build_initiator().ok());
        if let Some(blank) = blank {
            *self.state = blank;
        }
        // As if somebody looked: else the compiler leaves out writes to memory that is freed next.
        black_box(&mut self.state);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The public key of `secret`.
pub(crate) fn public(secret: &[u8; KEY]) -> Option<[u8; KEY]> {
    let mut dh = X25519::default();
    dh.set(secret);
    dh.pubkey().try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEADER: [u8; 8] = [0x11, 1, 0, 0, 0, 0, 0, 1];

    fn secret(byte: u8) -> Secret {
        Zeroizing::new([byte; 32])
    }

    #[test]
    fn keys_of_low_order_end_a_handshake() {
        let mut one = [0; 32];
        one[0] = 1;
        for low in [[0; 32], one] {
            let ik = Handshake::initiator(Pattern::Ik, &secret(1), Some(&low), &HEADER, secret(2));
            assert!(ik.unwrap().write(&[], &mut Vec::new()).is_none());
            let mut xx = Handshake::responder(Pattern::Xx, &secret(1), &HEADER, secret(2)).unwrap();
            assert!(xx.read(&low).is_some());
            assert!(xx.write(&[], &mut Vec::new()).is_none());
        }
    }

    #[test]
    fn another_header_or_pattern_is_another_handshake() {
        let key = public(&secret(1)).unwrap();
        let mut message = Vec::new();
        let ik = Handshake::initiator(Pattern::Ik, &secret(3), Some(&key), &HEADER, secret(2));
        ik.unwrap().write(&[], &mut message).unwrap();
        let mut other = HEADER;
        other[7] = 2;
        let read = |header: &[u8; 8]| {
            let mut responder = Handshake::responder(Pattern::Ik, &secret(1), header, secret(4)).unwrap();
            responder.read(&message)
        };
        assert_eq!(read(&HEADER), Some(Vec::new()));
        assert_eq!(read(&other), None);
    }

    /// The keys of a finished handshake follow from its state. What lies there once it is wiped is a handshake that
    /// hasn't begun, with the hash that any other such one has.
    #[test]
    fn a_wiped_handshake_has_no_keys() {
        let key = public(&secret(1)).unwrap();
        let mut one = Handshake::initiator(Pattern::Ik, &secret(3), Some(&key), &HEADER, secret(2)).unwrap();
        let mut other = Handshake::responder(Pattern::Ik, &secret(1), &HEADER, secret(4)).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        one.write(&[], &mut first).unwrap();
        other.read(&first).unwrap();
        other.write(&[], &mut second).unwrap();
        one.read(&second).unwrap();
        assert!(one.state.is_handshake_finished());
        let blank = builder(BLANK, None).unwrap().build_initiator().unwrap();
        for mut finished in [one, other] {
            finished.wipe();
            assert_eq!(finished.state.get_handshake_hash(), blank.get_handshake_hash());
            assert_eq!(finished.remote(), None);
            assert!(!finished.state.is_handshake_finished());
        }
    }

    #[test]
    fn randomness_is_used_once() {
        let mut drawn = Drawn(Some(Box::new(secret(9))));
        let mut bytes = [0; 32];
        assert!(drawn.try_fill_bytes(&mut bytes).is_ok() && bytes == [9; 32]);
        assert!(drawn.try_fill_bytes(&mut bytes).is_err());
    }
}
