//! What the lanes need of one link: tags for relayed packets, and numbers shared with the state machine.
//!
//! ```text
//! 0 type 0x16 | 1 hop limit | 2 epoch | 3 reserved 0 | 4 receiver index (4) | 8 counter (8) | 16 source (16)
//! 32 destination (16) | 48 payload | the last 8 bytes: tag
//! ```
//! The tag covers the header, not the payload: that is sealed end to end, and whoever alters it on the way
//! only loses it. The top byte of the counter is the sender's lane, so that lanes share a key without a lock.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::crypt::{EpochKeys, KEY, SHORT_TAG, equal};
use super::window::{LANE_SHIFT, Windows};
use crate::Address;

/// Type byte of a relayed packet.
pub const RELAYED: u8 = 0x16;
/// Length of the header of a relayed packet.
pub const RELAY_HEADER: usize = 48;
/// What a relayed packet is longer than its payload.
pub const RELAY_OVERHEAD: usize = RELAY_HEADER + SHORT_TAG;
/// Lanes of one node at most.
pub const MAX_LANES: u8 = 16;

const EPOCHS: usize = 3;

/// Why a packet couldn't be wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// No room for header and tag.
    #[error("no room for header and tag")]
    Short,
    /// The link was made for fewer lanes.
    #[error("the link has no such lane")]
    Lane,
    /// The lane's counter, or the cipher, is used up. The key changes long before.
    #[error("the counter is used up")]
    Exhausted,
}

/// Why a datagram isn't a relayed packet of this link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short, another type, or another link's index.
    #[error("not a relayed packet of this link")]
    NotOurs,
    /// Sealed in an epoch of which there is no key (any more, or yet).
    #[error("an epoch without a key")]
    Epoch,
    /// From a lane the peer doesn't have.
    #[error("a lane the peer doesn't have")]
    Lane,
    /// The tag is wrong.
    #[error("the tag is wrong")]
    Forged,
    /// Seen before, or too old to tell.
    #[error("seen before, or too old")]
    Replayed,
}

/// A relayed packet of the neighbour, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// As the neighbour sent it: not yet decremented by this node.
    pub hop_limit: u8,
    /// Source in the overlay.
    pub src: Address,
    /// Destination in the overlay.
    pub dst: Address,
    /// Where the payload lies in the datagram.
    pub payload: Range<usize>,
}

/// Values of the link that don't change with its keys.
pub(super) struct Shared {
    pub(super) local_index: u32,
    pub(super) remote_index: u32,
    pub(super) peer: [u8; KEY],
    pub(super) max_datagram: AtomicU32,
    pub(super) rtt_us: AtomicU32,
    pub(super) sent: AtomicU64,
    pub(super) heard: AtomicU64,
    pub(super) last_sent_ms: AtomicU64,
    pub(super) last_heard_ms: AtomicU64,
    pub(super) forged: AtomicU64,
    pub(super) replayed: AtomicU64,
    /// Newest receiving epoch under which a lane verified a packet.
    pub(super) seen_epoch: AtomicU32,
    counters: Box<[Counter]>,
    windows: Windows,
}

/// A lane's counter on a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Counter(AtomicU64);

impl Shared {
    pub(super) fn new(indexes: [u32; 2], peer: [u8; KEY], lanes: [u8; 2], max_datagram: u32) -> Self {
        let [local_index, remote_index] = indexes;
        let [mine, theirs] = lanes.map(|lanes| lanes.clamp(1, MAX_LANES));
        Self {
            local_index,
            remote_index,
            peer,
            max_datagram: AtomicU32::new(max_datagram),
            rtt_us: AtomicU32::new(0),
            sent: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            last_sent_ms: AtomicU64::new(0),
            last_heard_ms: AtomicU64::new(0),
            forged: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            seen_epoch: AtomicU32::new(u32::MAX),
            counters: (0..mine).map(|_| Counter::default()).collect(),
            windows: Windows::new(theirs.into()),
        }
    }

    /// Relayed packets wrapped by all lanes since the link is up.
    pub(super) fn wrapped(&self) -> u64 {
        self.counters.iter().map(|counter| counter.0.load(Relaxed)).sum()
    }
}

/// The part of a link that lanes use: `Send + Sync`, without a lock but the replay window of a peer's lane.
///
/// The state machine hands out a new one when keys change ([`Action::Keys`](super::Action::Keys)); both work
/// on the same counters, windows and totals, so lanes may change over one after the other.
pub struct LinkKeys {
    shared: Arc<Shared>,
    sending: EpochKeys,
    receiving: [Option<EpochKeys>; EPOCHS],
}

impl LinkKeys {
    pub(super) fn new(
        shared: Arc<Shared>,
        sending: EpochKeys,
        receiving: [Option<EpochKeys>; EPOCHS],
    ) -> Self {
        Self {
            shared,
            sending,
            receiving,
        }
    }

    /// The index that the peer expects in what it receives.
    #[inline]
    #[must_use]
    pub fn remote_index(&self) -> u32 {
        self.shared.remote_index
    }

    /// The index that this node expects: dispatch [`RELAYED`] datagrams by it.
    #[inline]
    #[must_use]
    pub fn local_index(&self) -> u32 {
        self.shared.local_index
    }

    /// The peer's public key.
    #[must_use]
    pub fn peer(&self) -> &[u8; KEY] {
        &self.shared.peer
    }

    /// The largest UDP payload known to arrive. A relayed packet's own payload may be [`RELAY_OVERHEAD`] shorter.
    #[inline]
    #[must_use]
    pub fn max_datagram(&self) -> u32 {
        self.shared.max_datagram.load(Relaxed)
    }

    /// The smoothed round trip in seconds, 0 before it was measured.
    #[inline]
    #[must_use]
    pub fn rtt(&self) -> f64 {
        f64::from(self.shared.rtt_us.load(Relaxed)) * 1e-6
    }

    /// Datagrams sent and heard so far, of control and of lanes.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.shared.sent.load(Relaxed), self.shared.heard.load(Relaxed))
    }

    /// Relayed packets refused so far: forged, and replayed.
    #[must_use]
    pub fn refused(&self) -> (u64, u64) {
        (
            self.shared.forged.load(Relaxed),
            self.shared.replayed.load(Relaxed),
        )
    }

    /// A lane sent so many datagrams over the link, of whatever type. Once a batch is enough. `now_ms` is on
    /// the clock of the state machine. True after a pause: wake the state machine at once, so that it starts to
    /// watch whether anything comes back.
    #[inline]
    pub fn sent(&self, datagrams: u64, now_ms: u64) -> bool {
        self.shared.sent.fetch_add(datagrams, Relaxed);
        let before = self.shared.last_sent_ms.load(Relaxed);
        if before != now_ms {
            self.shared.last_sent_ms.store(now_ms, Relaxed);
        }
        now_ms.saturating_sub(before) >= super::PING_MS
    }

    /// So many more were sent, or received, over another link with the same ends: one path, of which both measure the loss.
    #[inline]
    pub fn count(&self, sent: u64, received: u64) {
        self.shared.sent.fetch_add(sent, Relaxed);
        self.shared.heard.fetch_add(received, Relaxed);
    }

    /// A lane received so many authentic datagrams of this peer. Once a batch is enough.
    #[inline]
    pub fn heard(&self, datagrams: u64, now_ms: u64) {
        self.shared.heard.fetch_add(datagrams, Relaxed);
        if self.shared.last_heard_ms.load(Relaxed) != now_ms {
            self.shared.last_heard_ms.store(now_ms, Relaxed);
        }
    }

    /// Put header and tag around a payload: `buf` is [`RELAY_HEADER`] spare bytes, the payload, and 8 spare bytes.
    ///
    /// # Errors
    /// [`WrapError`]; `buf` must not be sent then.
    #[inline]
    pub fn wrap(
        &self,
        lane: u8,
        hop_limit: u8,
        src: &Address,
        dst: &Address,
        buf: &mut [u8],
    ) -> Result<(), WrapError> {
        let (header, rest) = buf
            .split_first_chunk_mut::<RELAY_HEADER>()
            .ok_or(WrapError::Short)?;
        let (_, tag) = rest.split_last_chunk_mut::<SHORT_TAG>().ok_or(WrapError::Short)?;
        let counter = self
            .shared
            .counters
            .get(usize::from(lane))
            .ok_or(WrapError::Lane)?;
        let count = counter.0.fetch_add(1, Relaxed);
        if count >> LANE_SHIFT != 0 {
            return Err(WrapError::Exhausted);
        }
        let counter = u64::from(lane) << LANE_SHIFT | count;
        header[..4].copy_from_slice(&[RELAYED, hop_limit, self.sending.epoch, 0]);
        header[4..8].copy_from_slice(&self.shared.remote_index.to_be_bytes());
        header[8..16].copy_from_slice(&counter.to_be_bytes());
        header[16..32].copy_from_slice(src);
        header[32..48].copy_from_slice(dst);
        *tag = self
            .sending
            .relay
            .short_tag(counter, header)
            .ok_or(WrapError::Exhausted)?;
        Ok(())
    }

    /// Verify a relayed packet. Any thread may; a packet is verified at most once.
    ///
    /// # Errors
    /// [`OpenError`]; nothing but a counter changed then.
    #[inline]
    pub fn unwrap(&self, datagram: &[u8]) -> Result<Relayed, OpenError> {
        let (header, rest) = datagram
            .split_first_chunk::<RELAY_HEADER>()
            .ok_or(OpenError::NotOurs)?;
        let (payload, tag) = rest.split_last_chunk::<SHORT_TAG>().ok_or(OpenError::NotOurs)?;
        let (fixed, addresses) = header.split_at(16);
        let [RELAYED, hop_limit, epoch, _, i0, i1, i2, i3, counter @ ..] = fixed else {
            return Err(OpenError::NotOurs);
        };
        if u32::from_be_bytes([*i0, *i1, *i2, *i3]) != self.shared.local_index {
            return Err(OpenError::NotOurs);
        }
        let counter = u64::from_be_bytes(counter.try_into().map_err(|_| OpenError::NotOurs)?);
        if !self.shared.windows.has_lane_of(counter) {
            return Err(OpenError::Lane);
        }
        let keys = self
            .receiving
            .iter()
            .flatten()
            .find(|keys| keys.epoch == *epoch)
            .ok_or(OpenError::Epoch)?;
        let wanted = keys.relay.short_tag(counter, header).ok_or(OpenError::Forged)?;
        if !equal(&wanted, tag) {
            self.shared.forged.fetch_add(1, Relaxed);
            return Err(OpenError::Forged);
        }
        if !self.shared.windows.accept(counter) {
            self.shared.replayed.fetch_add(1, Relaxed);
            return Err(OpenError::Replayed);
        }
        self.note_epoch(*epoch);
        let mut src = [0; 16];
        let mut dst = [0; 16];
        src.copy_from_slice(&addresses[..16]);
        dst.copy_from_slice(&addresses[16..]);
        Ok(Relayed {
            hop_limit: *hop_limit,
            src,
            dst,
            payload: RELAY_HEADER..RELAY_HEADER + payload.len(),
        })
    }

    /// Tell the state machine when the peer has begun an epoch: the last of the keys is the next one's.
    #[inline]
    fn note_epoch(&self, epoch: u8) {
        if let Some(next) = &self.receiving[EPOCHS - 1]
            && next.epoch == epoch
        {
            self.shared.seen_epoch.store(u32::from(epoch), Relaxed);
        }
    }
}

impl std::fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkKeys")
            .field("local_index", &self.local_index())
            .field("remote_index", &self.remote_index())
            .finish_non_exhaustive()
    }
}
