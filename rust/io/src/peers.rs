//! The sessions of this node as all threads see them: which keys to seal with for a node, which to open with.
//!
//! The keeper writes; lanes read through caches of their own, and look again when a generation has moved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use zosnet_core::session::Transport;
use zosnet_core::{address_of, upper};

use crate::shared::lock;

/// Nodes remembered; beyond that those without a session are forgotten. Some 200 bytes each.
const PEERS: usize = 1 << 16;
/// A lane asks the keeper again for a session with one node after so many milliseconds.
const WANT_AGAIN: u64 = 200;

/// What all threads know of the sessions with one node.
#[derive(Debug)]
pub struct Peer {
    /// Its X25519 key.
    pub key: [u8; 32],
    /// The address that belongs to the key.
    pub address: [u8; 16],
    /// Its /64.
    pub prefix: u64,
    /// Nothing of Mycelium's suite is taken from it, or sent to it.
    pub pinned: AtomicBool,
    /// It didn't answer: what waits goes with Mycelium's suite, unless it is pinned.
    pub unanswered: AtomicBool,
    /// The longest frame that the way to it is known to take through relays.
    pub path_frame: AtomicU32,
    /// The link that packets for it took last.
    link: AtomicU32,
    current: Mutex<Option<Arc<Transport>>>,
    generation: AtomicU32,
    wanted_ms: AtomicU64,
}

impl Peer {
    fn new(key: [u8; 32]) -> Self {
        let address = address_of(&key);
        Self {
            key,
            address,
            prefix: upper(&address),
            pinned: AtomicBool::new(false),
            unanswered: AtomicBool::new(false),
            path_frame: AtomicU32::new(FRAME_RELAYED as u32),
            link: AtomicU32::new(0),
            current: Mutex::new(None),
            generation: AtomicU32::new(0),
            wanted_ms: AtomicU64::new(0),
        }
    }

    /// Packets for it take this link now. Whether the last one took another.
    pub fn takes(&self, link: u32) -> bool {
        self.link.load(Ordering::Relaxed) != link && self.link.swap(link, Ordering::Relaxed) != link
    }

    /// Moves with each change of [`Self::current`].
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// What to seal with, if there is a session.
    pub fn current(&self) -> Option<Arc<Transport>> {
        lock(&self.current).clone()
    }

    /// Seal with this from now on.
    pub fn set_current(&self, transport: Option<Arc<Transport>>) {
        *lock(&self.current) = transport;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether the keeper should be asked for a session now.
    pub fn ask(&self, now: f64) -> bool {
        let now = (now * 1000.0) as u64;
        let last = self.wanted_ms.load(Ordering::Relaxed);
        let due = now >= last + WANT_AGAIN || now < last;
        due && self
            .wanted_ms
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// The longest frame while relays are on the way: a stock one with a QUIC link drops that link at more.
pub const FRAME_RELAYED: usize = 1394;

/// Keys that open what comes in under one index.
#[derive(Debug)]
pub struct Inbound {
    /// The keys.
    pub transport: Arc<Transport>,
    /// Whose they are.
    pub peer: Arc<Peer>,
    /// A frame has been opened with them.
    pub heard: AtomicBool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Peers {
    by_key: RwLock<HashMap<[u8; 32], Arc<Peer>>>,
    by_index: RwLock<HashMap<u32, Arc<Inbound>>>,
    /// A node was remembered.
    any: AtomicBool,
    /// Moves when keys to open with are taken away.
    retired: AtomicU64,
}

impl Peers {
    /// The node with this key, made if need be. Refused only when it would be one too many.
    pub fn of(&self, key: &[u8; 32]) -> Arc<Peer> {
        if let Some(peer) = self.known(key) {
            return peer;
        }
        let mut peers = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS {
            peers.retain(|_, peer| {
                Arc::strong_count(peer) > 1
                    || peer.pinned.load(Ordering::Relaxed)
                    || lock(&peer.current).is_some()
            });
        }
        self.any.store(true, Ordering::Relaxed);
        let peer = peers.entry(*key).or_insert_with(|| Arc::new(Peer::new(*key)));
        Arc::clone(peer)
    }

    /// Whether no node is remembered.
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    /// The node with this key, if it is known.
    pub fn known(&self, key: &[u8; 32]) -> Option<Arc<Peer>> {
        let peers = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(key).map(Arc::clone)
    }

    /// The keys for frames under `index`.
    pub fn inbound(&self, index: u32) -> Option<Arc<Inbound>> {
        let inbound = self.by_index.read().unwrap_or_else(PoisonError::into_inner);
        inbound.get(&index).map(Arc::clone)
    }

    /// Open with these too from now on.
    pub fn receive(&self, transport: Arc<Transport>) {
        let peer = self.of(transport.peer());
        let inbound = Inbound {
            peer,
            heard: AtomicBool::new(false),
            transport,
        };
        let mut all = self.by_index.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(inbound.transport.local_index(), Arc::new(inbound));
    }

    /// Neither seal nor open with these any more.
    pub fn retire(&self, transport: &Arc<Transport>) {
        let mut all = self.by_index.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&transport.local_index());
        drop(all);
        self.retired.fetch_add(1, Ordering::Release);
        if let Some(peer) = self.known(transport.peer())
            && peer
                .current()
                .is_some_and(|current| Arc::ptr_eq(&current, transport))
        {
            peer.set_current(None);
        }
    }

    /// Moves with each retirement: caches by index are old then.
    pub fn retired(&self) -> u64 {
        self.retired.load(Ordering::Acquire)
    }
}
