//! One generation of keys with one peer: sealing, opening, and what is to be known of their use.
//!
//! ```text
//! key of a direction = BLAKE2s(key what Noise split off, "zosnet session transport v1" ‖ cipher)
//! nonce              = 0 (4) ‖ counter (8); the counter's first byte is the sender's lane
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::aead::{Aead, NONCE};
use super::wire::{ENTRY_HEADER, HEADER, TAG, TRANSPORT};
use crate::datagram::crypt::{Cipher, KEY, Secret, derive};
use crate::datagram::window::{LANE_SHIFT, Windows};

/// Bytes of entries of a frame that says nothing but that its sender is there: at most an empty padding entry.
pub const KEEP_ALIVE: usize = ENTRY_HEADER + 1;

/// Why a frame can't be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The keys have sealed as much as they may, or are gone: a new handshake is due.
    #[error("the keys are used up")]
    UsedUp,
    /// No room for header and tag, or no such lane.
    #[error("the buffer or the lane doesn't fit")]
    Misuse,
}

/// Why a frame is refused. Nothing changes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short to be one.
    #[error("too short")]
    Short,
    /// Not sealed with these keys, or altered.
    #[error("not authentic")]
    Forged,
    /// Opened before, or too old to tell.
    #[error("seen before, or too old")]
    Replayed,
    /// The keys are gone.
    #[error("the keys are gone")]
    Dead,
}

/// A lane's counter on a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Counter(AtomicU64);

/// See the module. Any thread may seal, with its own lane's number, and open.
pub struct Transport {
    peer: [u8; KEY],
    local: u32,
    remote: u32,
    max_frame: usize,
    cipher: Cipher,
    sealing: Aead,
    opening: Aead,
    counters: Box<[Counter]>,
    windows: Windows,
    /// Frames that one lane may seal.
    limit: u64,
    opened: AtomicU64,
    /// Milliseconds of the first data sent since something was heard; 0: none.
    unheard: AtomicU64,
    /// Milliseconds of the first data heard since something was sent; 0: none.
    unanswered: AtomicU64,
    /// Milliseconds of the last data sent; 0: none.
    sent: AtomicU64,
    dead: AtomicBool,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("local", &self.local)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// What a handshake agreed on.
pub(super) struct Agreed {
    pub(super) peer: [u8; KEY],
    pub(super) local: u32,
    pub(super) remote: u32,
    pub(super) cipher: Cipher,
    /// Lanes of this end, and of the peer.
    pub(super) lanes: [u8; 2],
    pub(super) max_frame: usize,
    /// Frames that the keys may seal.
    pub(super) limit: u64,
}

fn key(root: &Secret, cipher: Cipher) -> Option<Aead> {
    let derived = derive(root, &[b"zosnet session transport v1", &[cipher.bit()]]);
    Aead::new(cipher, &derived)
}

#[inline]
fn nonce(counter: u64) -> [u8; NONCE] {
    let mut bytes = [0; NONCE];
    for (to, from) in bytes.iter_mut().skip(4).zip(counter.to_be_bytes()) {
        *to = from;
    }
    bytes
}

fn milliseconds(now: f64) -> u64 {
    (now * 1000.0) as u64 + 1
}

impl Transport {
    /// Keys out of the roots of both directions: what this end sends under, what the peer does.
    pub(super) fn new(agreed: Agreed, sending: &Secret, receiving: &Secret) -> Option<Self> {
        let [mine, theirs] = agreed.lanes.map(|lanes| usize::from(lanes.max(1)));
        Some(Self {
            peer: agreed.peer,
            local: agreed.local,
            remote: agreed.remote,
            max_frame: agreed.max_frame,
            cipher: agreed.cipher,
            sealing: key(sending, agreed.cipher)?,
            opening: key(receiving, agreed.cipher)?,
            counters: (0..mine).map(|_| Counter::default()).collect(),
            windows: Windows::new(theirs),
            limit: agreed.limit / mine as u64,
            opened: AtomicU64::new(0),
            unheard: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            dead: AtomicBool::new(false),
        })
    }

    /// The X25519 key of the peer.
    #[must_use]
    pub fn peer(&self) -> &[u8; KEY] {
        &self.peer
    }

    /// What frames to this node carry.
    #[inline]
    #[must_use]
    pub fn local_index(&self) -> u32 {
        self.local
    }

    /// What frames to the peer carry.
    #[must_use]
    pub fn remote_index(&self) -> u32 {
        self.remote
    }

    /// The longest frame that the peer takes.
    #[inline]
    #[must_use]
    pub fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// The transport cipher.
    #[must_use]
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Frames sealed and opened so far.
    #[must_use]
    pub fn frames(&self) -> (u64, u64) {
        let sealed = self.counters.iter().map(|counter| counter.0.load(Relaxed)).sum();
        (sealed, self.opened.load(Relaxed))
    }

    /// The counter that the next frame of a lane is sealed under.
    #[must_use]
    pub fn next(&self, lane: u8) -> u64 {
        let sealed = self.counters.get(usize::from(lane));
        u64::from(lane) << LANE_SHIFT | sealed.map_or(0, |counter| counter.0.load(Relaxed))
    }

    /// A frame with so many bytes of entries is on its way. A keep-alive asks for no answer, and is no use.
    #[inline]
    pub fn note_sent(&self, entries: usize, now: f64) {
        if entries <= KEEP_ALIVE {
            self.unanswered.store(0, Relaxed);
            return;
        }
        let now = milliseconds(now);
        if self.sent.load(Relaxed) != now {
            self.sent.store(now, Relaxed);
            self.unanswered.store(0, Relaxed);
            if self.unheard.load(Relaxed) == 0 {
                self.unheard.store(now, Relaxed);
            }
        }
    }

    /// A frame with so many bytes of entries was opened.
    #[inline]
    pub fn note_heard(&self, entries: usize, now: f64) {
        if self.unheard.load(Relaxed) != 0 {
            self.unheard.store(0, Relaxed);
        }
        if entries > KEEP_ALIVE && self.unanswered.load(Relaxed) == 0 {
            self.unanswered.store(milliseconds(now), Relaxed);
        }
    }

    /// Seconds since the first frame that nothing has come back for.
    #[must_use]
    pub fn silence(&self, now: f64) -> Option<f64> {
        since(&self.unheard, now)
    }

    /// Seconds since the first frame that nothing was sent back for.
    #[must_use]
    pub fn owed(&self, now: f64) -> Option<f64> {
        since(&self.unanswered, now)
    }

    /// Seconds since a frame was sent.
    #[must_use]
    pub fn quiet(&self, now: f64) -> Option<f64> {
        since(&self.sent, now)
    }

    /// Whether a lane has sealed so much that new keys are due, well before the end.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        let due = self.limit - self.limit / 4;
        self.counters.iter().any(|counter| counter.0.load(Relaxed) >= due)
    }

    /// Neither seal nor open from now on.
    pub fn kill(&self) {
        self.dead.store(true, Relaxed);
    }

    /// Whether it was killed.
    #[inline]
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Seal in place: `buf` is [`HEADER`] spare bytes, the entries, [`TAG`] spare bytes.
    ///
    /// # Errors
    /// [`SealError`]; `buf` must not be sent then.
    #[inline]
    pub fn seal(&self, lane: u8, buf: &mut [u8]) -> Result<(), SealError> {
        let (header, rest) = buf.split_first_chunk_mut::<HEADER>().ok_or(SealError::Misuse)?;
        let (entries, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(SealError::Misuse)?;
        let counter = self.counters.get(usize::from(lane)).ok_or(SealError::Misuse)?;
        let count = counter.0.fetch_add(1, Relaxed);
        if count >= self.limit || self.is_dead() {
            return Err(SealError::UsedUp);
        }
        let counter = u64::from(lane) << LANE_SHIFT | count;
        header[..4].copy_from_slice(&[TRANSPORT, 0, 0, 0]);
        header[4..8].copy_from_slice(&self.remote.to_be_bytes());
        header[8..].copy_from_slice(&counter.to_be_bytes());
        let sealed = self.sealing.seal(nonce(counter), header, entries);
        *tag = sealed.ok_or(SealError::UsedUp)?;
        Ok(())
    }

    /// A frame of the peer was given back by others that are authentic. False: it came already, or is too old.
    #[must_use]
    pub fn recover(&self, counter: u64) -> bool {
        !self.is_dead() && self.windows.accept(counter)
    }

    /// Open a whole frame in place; its entries. The replay window moves only for what is authentic.
    ///
    /// # Errors
    /// [`OpenError`]; the frame is worthless then.
    #[inline]
    pub fn open<'a>(&self, frame: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        if self.is_dead() {
            return Err(OpenError::Dead);
        }
        let (header, sealed) = frame.split_first_chunk_mut::<HEADER>().ok_or(OpenError::Short)?;
        let counter = counter_in(header);
        if !self.windows.has_lane_of(counter) {
            return Err(OpenError::Forged);
        }
        let entries = self
            .opening
            .open(nonce(counter), header, sealed)
            .ok_or(OpenError::Forged)?;
        if !self.windows.accept(counter) {
            return Err(OpenError::Replayed);
        }
        self.opened.fetch_add(1, Relaxed);
        Ok(entries)
    }

    /// Open a frame that this end sealed: an error of a relay quotes it.
    ///
    /// # Errors
    /// [`OpenError`]: it is not one.
    pub fn reopen<'a>(&self, frame: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        let (header, sealed) = frame.split_first_chunk_mut::<HEADER>().ok_or(OpenError::Short)?;
        self.sealing
            .open(nonce(counter_in(header)), header, sealed)
            .ok_or(OpenError::Forged)
    }
}

/// The counter of a frame, its lane in the first byte.
#[inline]
#[must_use]
pub fn counter_of(frame: &[u8]) -> Option<u64> {
    frame.first_chunk().map(counter_in)
}

#[inline]
fn counter_in(header: &[u8; HEADER]) -> u64 {
    let mut counter = [0; 8];
    counter.copy_from_slice(&header[8..]);
    u64::from_be_bytes(counter)
}

fn since(at: &AtomicU64, now: f64) -> Option<f64> {
    let at = at.load(Relaxed);
    (at != 0).then(|| (now - (at - 1) as f64 / 1000.0).max(0.0))
}
