//! The session of each key, of either suite, as one lane finds it; and the nonces of Mycelium's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use zosnet_core::fib::{Entry, SPEAKS_SESSIONS};
use zosnet_core::session::Transport;
use zosnet_core::suite::{NONCE, Nonces, Session, SuiteError};

use crate::keeper::ToKeeper;
use crate::link::ByNumber;
use crate::peers::{Inbound, Peer};
use crate::shared::Shared;
use crate::sys;

/// Sessions of one generation; two are kept. One costs some 600 bytes, making one some 30 us.
const GENERATION: usize = 8192;
/// Sessions found again by table entry alone, without hashing a key.
const SLOTS: usize = 256;

/// What to seal with for a node.
pub enum Suite {
    /// Its keys of the suite `zosnet`.
    Zosnet(Arc<Peer>, Arc<Transport>),
    /// Mycelium's, which is all that it knows.
    Mycelium(Arc<Session>),
    /// A handshake is under way: wait for it.
    Wait(Arc<Peer>),
}

/// The session of a node as this lane saw it last.
struct Outbound {
    entry: Arc<Entry>,
    peer: Arc<Peer>,
    generation: u32,
    transport: Option<Arc<Transport>>,
}

/// Sessions of one lane.
pub struct Sessions {
    shared: Arc<Shared>,
    nonces: Nonces,
    /// By address of the entry. The entry is held, so that no other can have its address.
    slots: Vec<Option<(Arc<Entry>, Arc<Session>)>>,
    /// The same for the suite `zosnet`.
    outbound: Vec<Option<Outbound>>,
    /// Keys by the index in what comes in, and of which retirement they are.
    inbound: ByNumber<Arc<Inbound>>,
    retired: u64,
    /// The one used last.
    latest: Option<Arc<Inbound>>,
    young: HashMap<[u8; 32], Arc<Session>>,
    /// What was young one generation ago: forgotten, unless used again before the next one.
    old: HashMap<[u8; 32], Arc<Session>>,
}

impl Sessions {
    /// None yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        let nonces = Nonces::new(|bytes| sys::random(bytes).map_err(|_| SuiteError::Random));
        let (young, old) = (HashMap::new(), HashMap::new());
        Self {
            shared,
            nonces,
            slots: vec![const { None }; SLOTS],
            outbound: std::iter::repeat_with(|| None).take(SLOTS).collect(),
            inbound: ByNumber::default(),
            retired: 0,
            latest: None,
            young,
            old,
        }
    }

    /// A nonce never given before.
    pub fn nonce(&mut self) -> Result<[u8; NONCE], SuiteError> {
        self.nonces.take()
    }

    /// What to seal with for the node of `entry`.
    pub fn suite(&mut self, entry: &Arc<Entry>, now: f64) -> Result<Suite, SuiteError> {
        let slot = (Arc::as_ptr(entry) as usize >> 6) % SLOTS;
        let known = self.outbound.get(slot).and_then(Option::as_ref);
        let known = known.filter(|known| Arc::ptr_eq(&known.entry, entry));
        if let Some(Outbound {
            peer,
            generation,
            transport: Some(transport),
            ..
        }) = known
            && peer.generation() == *generation
            && !transport.is_dead()
        {
            return Ok(Suite::Zosnet(Arc::clone(peer), Arc::clone(transport)));
        }
        let speaks = entry.flags & SPEAKS_SESSIONS != 0 && self.shared.suite;
        let peer = match known {
            Some(known) => Arc::clone(&known.peer),
            None if speaks => self.shared.peers.of(&entry.public),
            // Only a pin matters for a node that says that it speaks nothing but Mycelium's suite.
            None => match self.shared.peers.known(&entry.public) {
                Some(peer) => peer,
                None => return self.of(entry).map(Suite::Mycelium),
            },
        };
        let generation = peer.generation();
        let transport = peer.current().filter(|transport| !transport.is_dead());
        if let Some(place) = self.outbound.get_mut(slot) {
            *place = Some(Outbound {
                entry: Arc::clone(entry),
                peer: Arc::clone(&peer),
                generation,
                transport: transport.clone(),
            });
        }
        if let Some(transport) = transport {
            return Ok(Suite::Zosnet(peer, transport));
        }
        let pinned = peer.pinned.load(Relaxed);
        if (speaks || pinned) && peer.ask(now) {
            let _ = self.shared.keeper.post(ToKeeper::Want(entry.public));
        }
        if pinned || (speaks && !peer.unanswered.load(Relaxed)) {
            return Ok(Suite::Wait(peer));
        }
        self.of(entry).map(Suite::Mycelium)
    }

    /// Whether anything is remembered of the node of this key; without a lock when nothing is of any.
    pub fn may_be_pinned(&self, key: &[u8; 32]) -> bool {
        !self.shared.peers.is_empty() && self.shared.peers.known(key).is_some()
    }

    /// Let go of keys that are retired, so that they are wiped. Once a turn.
    pub fn let_go(&mut self) {
        let retired = self.shared.peers.retired();
        if retired == self.retired {
            return;
        }
        self.retired = retired;
        self.inbound.clear();
        self.latest = None;
        for outbound in self.outbound.iter_mut().flatten() {
            outbound.transport.take_if(|transport| transport.is_dead());
        }
    }

    /// The keys for frames under `index`.
    pub fn inbound(&mut self, index: u32) -> Option<Arc<Inbound>> {
        if let Some(latest) = &self.latest
            && latest.transport.local_index() == index
        {
            return Some(Arc::clone(latest));
        }
        let found = match self.inbound.get(&index) {
            Some(found) => Arc::clone(found),
            None => {
                let found = self.shared.peers.inbound(index)?;
                self.inbound.insert(index, Arc::clone(&found));
                found
            }
        };
        self.latest = Some(Arc::clone(&found));
        Some(found)
    }

    /// The session of Mycelium's suite with the node of `entry`.
    pub fn of(&mut self, entry: &Arc<Entry>) -> Result<Arc<Session>, SuiteError> {
        // Entries are at least 64 bytes apart.
        let slot = (Arc::as_ptr(entry) as usize >> 6) % SLOTS;
        let known = self.slots.get(slot).and_then(Option::as_ref);
        if let Some((_, session)) = known.filter(|(held, _)| Arc::ptr_eq(held, entry)) {
            return Ok(Arc::clone(session));
        }
        let session = self.by_key(&entry.public)?;
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some((Arc::clone(entry), Arc::clone(&session)));
        }
        Ok(session)
    }

    fn by_key(&mut self, key: &[u8; 32]) -> Result<Arc<Session>, SuiteError> {
        if let Some(session) = self.young.get(key) {
            return Ok(Arc::clone(session));
        }
        let session = match self.old.remove(key) {
            Some(session) => session,
            None => Arc::new(self.shared.key.session(key)?),
        };
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(*key, Arc::clone(&session));
        Ok(session)
    }
}
