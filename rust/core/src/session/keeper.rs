//! The handshakes of one node with everybody: when they begin, what is believed, when keys end.
//!
//! ```text
//!            want, renew, rekey, silence                response
//!   nothing ────────────────────────────> asking ─────────────────────> in use ──15 s──> lingering ──> gone
//!                                            │ 20 s: Failed               ^   180 s: gone
//!            initiation                      │        first frame         │
//!   nothing ───────────> granted ────────────┼────────────────────────────┘
//!                           └ 20 s: gone
//! ```
//! There is no clock in the protocol. A wish that is replayed gets an answer that nobody can use; when many come
//! that lead nowhere, only one that shows that its sender is there now gets further.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::action::{Action, Status};
use super::config::{Config, From};
use super::handshake::Own;
use super::mac;
use super::peer::{Peer, Session};
use super::totals::Totals;
use super::transport::Transport;
use super::wire::{self, Handshake, Offer};
use crate::cookies::{Jar, MacKeys};
use crate::datagram::bucket::Bucket;
use crate::datagram::crypt::{Cipher, KEY, Secret};
use crate::datagram::noise;
use crate::suite::Fill;

/// Idle nodes are looked for at most so often while the table is full.
const SWEEP_EVERY: f64 = 1.0;
/// A cookie costs a fortieth of a handshake, and whoever gets none waits in vain.
const COOKIES_PER_HANDSHAKE: u32 = 20;
/// Sources behind a cookie share so many buckets, each of which fills at so many handshakes a second.
const ORIGINS: usize = 1024;
const PER_ORIGIN: u32 = 20;

/// See the module. One thread runs it.
pub struct Keeper {
    pub(super) config: Config,
    pub(super) public: [u8; KEY],
    pub(super) own: Own,
    pub(super) macs: MacKeys,
    pub(super) jar: Jar,
    /// Handshakes of anybody, of who has shown that it receives, and of some of those; and cookies.
    pub(super) load: Bucket,
    pub(super) proven: Bucket,
    pub(super) origins: Box<[Bucket]>,
    pub(super) replies: Bucket,
    /// Handshakes that this end begins because of what anybody can send.
    pub(super) nudges: Bucket,
    pub(super) random: Fill,
    pub(super) peers: HashMap<[u8; KEY], Peer>,
    /// Whose an index is: of keys to open with, and of attempts.
    pub(super) indexes: HashMap<u32, [u8; KEY]>,
    /// Whose an index is that frames are sent under.
    pub(super) remotes: HashMap<u32, [u8; KEY]>,
    /// When each node is looked at, in bits of the time: for times that aren't negative they sort alike.
    pub(super) due: BTreeSet<(u64, [u8; KEY])>,
    pub(super) pins: usize,
    swept: f64,
    pub(super) actions: VecDeque<Action>,
    pub(super) totals: Totals,
}

/// What strangers may fill of a table.
pub(super) const fn for_strangers(limit: usize) -> usize {
    limit - limit / 4
}

impl Keeper {
    /// No sessions yet. `random` must be fit for keys.
    #[must_use]
    pub fn new(config: Config, random: Fill) -> Self {
        let public = noise::public(&config.secret).unwrap_or_default();
        let aes = if config.has_aes {
            Cipher::Aes256Gcm.bit()
        } else {
            0
        };
        let own = Own {
            offer: Offer {
                ciphers: Cipher::ChaCha20Poly1305.bit() | aes,
                lanes: config.lanes.clamp(1, wire::MAX_LANES),
                max_frame: config.max_frame,
            },
            limit: config.limits.frames,
        };
        let rate = config.limits.handshakes_per_second;
        let mut keeper = Self {
            public,
            own,
            macs: mac::keys_for(&public),
            jar: Jar::default(),
            load: Bucket::new(rate),
            proven: Bucket::new(rate.saturating_mul(4)),
            origins: vec![Bucket::new(PER_ORIGIN); ORIGINS].into(),
            replies: Bucket::new(rate.saturating_mul(COOKIES_PER_HANDSHAKE)),
            nudges: Bucket::new(rate),
            random,
            peers: HashMap::new(),
            indexes: HashMap::new(),
            remotes: HashMap::new(),
            due: BTreeSet::new(),
            pins: 0,
            swept: f64::NEG_INFINITY,
            actions: VecDeque::new(),
            totals: Totals::default(),
            config,
        };
        for pin in std::mem::take(&mut keeper.config.pins) {
            keeper.pin_within(&pin, keeper.config.limits.pins);
        }
        keeper.actions.clear();
        keeper
    }

    /// This node's public key.
    #[must_use]
    pub fn public(&self) -> [u8; KEY] {
        self.public
    }

    /// A packet wants a session with the node of this key.
    pub fn want(&mut self, peer: &[u8; KEY], now: f64) {
        let has = self.peers.get(peer).is_some_and(|known| {
            let alive = |session: &Session| !session.transport.is_dead();
            known.current.as_ref().is_some_and(alive) || known.not_before > now
        });
        let begun = has || self.begin(peer, now);
        if let Some(known) = self.peers.get_mut(peer) {
            known.wanted = true;
        }
        if !begun {
            // What waits for it must not wait for good.
            self.actions.push_back(Action::Failed { peer: *peer });
        }
    }

    /// The first frame was opened under this index: the peer has these keys.
    pub fn heard(&mut self, index: u32, now: f64) {
        let Some(key) = self.indexes.get(&index).copied() else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let Some(granted) = peer.confirm(index) else {
            let current = peer.current.as_mut();
            if let Some(session) = current.filter(|session| session.transport.local_index() == index) {
                session.confirmed.get_or_insert(now);
            }
            return;
        };
        let fresh = Session {
            transport: granted.transport,
            made: granted.since,
            since: now,
            confirmed: Some(now),
            shown: now,
            ours: false,
        };
        if !self.install(&key, fresh) {
            return;
        }
        // It is there, with new keys: nothing more to ask.
        let attempt = self.peers.get_mut(&key).and_then(|peer| peer.attempt.take());
        if let Some(attempt) = attempt {
            self.indexes.remove(&attempt.handshake.index);
        }
        // So that it knows that it can stop to confirm.
        self.actions.push_back(Action::KeepAlive { peer: key });
    }

    /// The node forgets the keys that this index stands for.
    pub fn closed(&mut self, index: u32, _now: f64) {
        let Some(key) = self.indexes.get(&index).copied() else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let closed = |session: &mut Session| session.transport.local_index() == index;
        if let Some(session) = peer.current.take_if(closed) {
            self.retire(&session.transport);
        }
    }

    /// A handshake message came in.
    pub fn receive(&mut self, message: &[u8], from: From, now: f64) {
        match wire::decode(message) {
            Some(Handshake::Initiation(initiation)) => self.asked(&initiation, from, now),
            Some(Handshake::Response(response)) => self.granted(&response, now),
            Some(Handshake::Cookie { receiver, body }) => self.cookie(receiver, body, now),
            Some(Handshake::Unknown { index }) => self.hint(index, now),
            None => self.totals.malformed += 1,
        }
    }

    /// When [`Self::wake`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<f64> {
        self.due.first().map(|(at, _)| f64::from_bits(*at))
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Named totals.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.totals.named()
    }

    /// How full the tables are: nodes, indexes, pins.
    #[must_use]
    pub fn sizes(&self) -> [usize; 3] {
        [self.peers.len(), self.indexes.len(), self.pins]
    }

    /// All sessions, and attempts at one.
    pub fn sessions(&self, now: f64) -> impl Iterator<Item = Status> + '_ {
        self.peers.iter().filter_map(move |(key, peer)| {
            let session = peer
                .current
                .as_ref()
                .map(|session| Status::of(&session.transport, now - session.made));
            let attempt = || Some(Status::initiating(key, now - peer.attempt.as_ref()?.began));
            session.or_else(attempt)
        })
    }

    // --- what asking and answering share

    pub(super) fn secret(&mut self) -> Option<Secret> {
        let mut secret = Zeroizing::new([0; KEY]);
        self.fill(&mut secret[..])?;
        Some(secret)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        let filled = (self.random)(bytes).ok();
        self.totals.no_random += u64::from(filled.is_none());
        filled
    }

    /// An index that isn't in use, if there is room for one more.
    pub(super) fn index(&mut self, most: usize) -> Option<u32> {
        if self.indexes.len() >= most {
            self.totals.full += 1;
            return None;
        }
        for _ in 0..8 {
            let mut bytes = [0; 4];
            self.fill(&mut bytes)?;
            let index = u32::from_be_bytes(bytes);
            if index != 0 && !self.indexes.contains_key(&index) {
                return Some(index);
            }
        }
        None
    }

    /// What is known of the node; made if there are fewer than `most`.
    pub(super) fn peer(&mut self, key: &[u8; KEY], most: usize) -> Option<&mut Peer> {
        if !self.peers.contains_key(key) && self.peers.len() >= most {
            self.totals.full += 1;
            return None;
        }
        Some(self.peers.entry(*key).or_insert_with(Peer::new))
    }

    /// Make room in the table of nodes, where it is full.
    pub(super) fn sweep(&mut self, now: f64) {
        if self.peers.len() >= for_strangers(self.config.limits.peers) && now - self.swept >= SWEEP_EVERY {
            self.swept = now;
            self.peers.retain(|_, peer| !peer.is_idle(now));
        }
    }

    /// A session with the node is complete. Whether it is the one to seal with.
    pub(super) fn install(&mut self, key: &[u8; KEY], fresh: Session) -> bool {
        let (transport, now) = (Arc::clone(&fresh.transport), fresh.since);
        let public = self.public;
        let Some(peer) = self.peers.get_mut(key) else {
            return false;
        };
        peer.not_before = f64::NEG_INFINITY;
        let replaced = peer.current.as_ref().map(|old| Arc::clone(&old.transport));
        let (used, evicted) = peer.install(fresh, &public);
        if let Some(evicted) = evicted {
            self.retire(&evicted);
        }
        self.totals.made += 1;
        self.pin(key);
        if used {
            if let Some(replaced) = replaced {
                self.forget_remote(&replaced);
            }
            self.remotes.entry(transport.remote_index()).or_insert(*key);
            self.actions.push_back(Action::Use(transport));
        }
        self.look_at(key, now);
        used
    }

    fn forget_remote(&mut self, transport: &Transport) {
        let index = transport.remote_index();
        if self.remotes.get(&index) == Some(transport.peer()) {
            self.remotes.remove(&index);
        }
    }

    pub(super) fn retire(&mut self, transport: &Arc<Transport>) {
        transport.kill();
        self.indexes.remove(&transport.local_index());
        self.forget_remote(transport);
        self.actions.push_back(Action::Retire(Arc::clone(transport)));
    }

    pub(super) fn send(&mut self, peer: [u8; KEY], to: Option<From>, frame: Vec<u8>) {
        self.actions.push_back(Action::Send { peer, to, frame });
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for transport in self.peers.values().flat_map(Peer::all) {
            transport.kill();
        }
    }
}
