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
//! There is no clock in the protocol. A wish that is replayed costs a hash, or an answer that nobody can use.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::handshake::{Asked, Initiating, Own};
use super::mac::{Jar, MacKeys};
use super::peer::{Attempt, Granted, Peer, Session};
use super::transport::Transport;
use super::wire::{self, Handshake, Initiation, Offer, Response};
use crate::Address;
use crate::address_of;
use crate::datagram::bucket::Bucket;
use crate::datagram::crypt::{Cipher, KEY, Secret, hash};
use crate::datagram::noise;
use crate::suite::Fill;

/// The first retry of a handshake, in seconds, and the longest pause between retries.
const RETRY: f64 = 0.25;
const LONGEST_RETRY: f64 = 5.0;
/// A handshake without any answer is given up after so long, and another one begun no sooner than after this.
const GIVE_UP: f64 = 20.0;
const AGAIN_AFTER: f64 = 5.0;
/// The end that began a session replaces its keys after so long; the other one if that didn't happen.
const REKEY: f64 = 120.0;
const REKEY_LATE: f64 = 130.0;
/// Keys are gone after so long, whatever happened.
const LIFETIME: f64 = 180.0;
/// Data flowed within so many seconds: the session is in use.
const IN_USE: f64 = 10.0;
/// Frames came, and nothing was sent back for so long: say that they arrived.
const KEEP_ALIVE: f64 = 2.0;
/// Frames went out, and nothing came back for so long: the peer may have forgotten everything.
const SILENCE: f64 = 5.0;
/// How often sessions in use are looked at.
const TICK: f64 = 0.5;
/// A hint is followed at most so often for a peer; a downgrade is told at most so often.
const HINT_EVERY: f64 = 1.0;
const DOWNGRADE_EVERY: f64 = 60.0;
/// A cookie is good for so long.
const COOKIE_LIFETIME: f64 = 120.0;

/// Bounds of a keeper.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nodes that anything is known of.
    pub peers: usize,
    /// Keys that can be opened with.
    pub transports: usize,
    /// Handshakes a second that are answered without a cookie.
    pub handshakes_per_second: u32,
    /// Frames that one generation of keys may seal: 2^30.
    pub frames: u64,
    /// Pins, of which new ones push out none.
    pub pins: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 1 << 16,
            transports: 1 << 16,
            handshakes_per_second: 500,
            frames: 1 << 30,
            pins: 1 << 15,
        }
    }
}

/// What a keeper is told at its start.
pub struct Config {
    /// The node's X25519 secret.
    pub secret: Zeroizing<[u8; KEY]>,
    /// Its address, which initiations must name.
    pub address: Address,
    /// Its lanes, 1 to 16.
    pub lanes: u8,
    /// Whether it has AES in hardware.
    pub has_aes: bool,
    /// The longest frame that it takes.
    pub max_frame: u16,
    /// Keys of nodes that are held to sessions.
    pub pins: Vec<[u8; KEY]>,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// One lane, no pins.
    #[must_use]
    pub fn new(secret: [u8; KEY], address: Address) -> Self {
        Self {
            secret: Zeroizing::new(secret),
            address,
            lanes: 1,
            has_aes: false,
            max_frame: u16::MAX,
            pins: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Where a handshake message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// A datagram from this end.
    Link(SocketAddr),
    /// A Mycelium data packet with this source address.
    Overlay(Address),
}

impl From {
    /// What a cookie is bound to.
    fn source(&self) -> Vec<u8> {
        match self {
            Self::Link(end) => {
                let port = end.port().to_be_bytes();
                match end.ip() {
                    IpAddr::V4(ip) => [&ip.octets()[..], &port].concat(),
                    IpAddr::V6(ip) => [&ip.octets()[..], &port].concat(),
                }
            }
            Self::Overlay(address) => address.to_vec(),
        }
    }
}

/// What to do. In order.
#[derive(Debug)]
pub enum Action {
    /// Send a handshake message: back to where one came from, or by route to the node of this key.
    Send {
        /// The node.
        peer: [u8; KEY],
        /// Where to; none: by route.
        to: Option<From>,
        /// The message.
        frame: Vec<u8>,
    },
    /// Open with these keys too.
    Receive(Arc<Transport>),
    /// Seal with these keys from now on.
    Use(Arc<Transport>),
    /// Send a frame without any entry to the node of this key.
    KeepAlive {
        /// The node.
        peer: [u8; KEY],
    },
    /// These keys are gone; they are dead already.
    Retire(Arc<Transport>),
    /// The node hasn't answered yet: what waits for a session may go with Mycelium's suite, unless it is pinned.
    Unanswered {
        /// The node.
        peer: [u8; KEY],
    },
    /// The node didn't answer at all.
    Failed {
        /// The node.
        peer: [u8; KEY],
    },
    /// The node has shown that it speaks sessions: it is held to that from now on.
    Pinned {
        /// The node.
        peer: [u8; KEY],
    },
    /// A pinned node spoke Mycelium's suite, and doesn't say that it knows better.
    Downgraded {
        /// The node.
        peer: [u8; KEY],
    },
}

/// A session, as it is now.
#[derive(Debug, Clone)]
pub struct Status {
    /// The node.
    pub peer: [u8; KEY],
    /// The transport cipher, by name; empty while there is none.
    pub cipher: &'static str,
    /// `"established"`, or `"initiating"`.
    pub state: &'static str,
    /// Seconds since its keys were made, or since the first attempt.
    pub age: f64,
    /// Frames sealed under the present keys.
    pub tx_frames: u64,
    /// Frames opened under them.
    pub rx_frames: u64,
    /// The longest frame that the node takes.
    pub max_frame: u32,
}

macro_rules! totals {
    ($($field:ident => $name:literal,)*) => {
        /// What happened since the start.
        #[derive(Debug, Default, Clone, Copy)]
        struct Totals { $($field: u64,)* }

        impl Totals {
            fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field),)*]
            }
        }
    };
}

totals! {
    malformed => "session.malformed",
    wrong_endpoint => "session.wrong_endpoint",
    bad_mac => "session.bad_mac",
    cookies => "session.cookies",
    flooded => "session.flooded",
    bad_handshake => "session.bad_handshake",
    repeated => "session.repeated",
    full => "session.full",
    granted => "session.granted",
    made => "session.made",
    unanswered => "session.unanswered",
    failed => "session.failed",
    hints => "session.hints",
    unknown => "session.unknown",
    expired => "session.expired",
    no_random => "session.no_random",
}

/// See the module. One thread runs it.
pub struct Keeper {
    config: Config,
    public: [u8; KEY],
    own: Own,
    macs: MacKeys,
    jar: Jar,
    load: Bucket,
    replies: Bucket,
    random: Fill,
    peers: HashMap<[u8; KEY], Peer>,
    /// Whose an index is: of keys to open with, and of attempts.
    indexes: HashMap<u32, [u8; KEY]>,
    pins: usize,
    next_tick: Option<f64>,
    actions: VecDeque<Action>,
    totals: Totals,
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
        let mut keeper = Self {
            public,
            own,
            macs: MacKeys::new(&public),
            jar: Jar::default(),
            load: Bucket::new(config.limits.handshakes_per_second),
            replies: Bucket::new(config.limits.handshakes_per_second.saturating_mul(4)),
            random,
            peers: HashMap::new(),
            indexes: HashMap::new(),
            pins: 0,
            next_tick: None,
            actions: VecDeque::new(),
            totals: Totals::default(),
            config,
        };
        for pin in std::mem::take(&mut keeper.config.pins) {
            keeper.pin(&pin);
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
        let known = self.peers.get(peer);
        let has = known.is_some_and(|known| known.current.is_some() || known.not_before > now);
        if !has {
            self.begin(peer, now);
        }
    }

    /// The node has started anew, or seems to: shake hands beside what there is.
    pub fn renew(&mut self, peer: &[u8; KEY], now: f64) {
        if self.peers.get(peer).is_some_and(|known| known.current.is_some()) {
            self.begin(peer, now);
        }
    }

    /// The keys in use with the node can seal no more.
    pub fn used_up(&mut self, peer: &[u8; KEY], now: f64) {
        self.begin(peer, now);
    }

    /// The first frame was opened under this index: who asked for these keys has them.
    pub fn heard(&mut self, index: u32, now: f64) {
        let Some(key) = self.indexes.get(&index).copied() else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let at = peer
            .granted
            .iter()
            .position(|granted| granted.transport.local_index() == index);
        let Some(granted) = at.and_then(|at| peer.granted.remove(at)) else {
            return;
        };
        let fresh = Session {
            transport: granted.transport,
            since: now,
            ours: false,
        };
        self.install(&key, fresh);
    }

    /// The node forgets the keys that this index stands for.
    pub fn closed(&mut self, index: u32, now: f64) {
        let Some(key) = self.indexes.get(&index).copied() else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if let Some(session) = peer
            .current
            .take_if(|session| session.transport.local_index() == index)
        {
            self.retire(&session.transport);
        }
        let _ = now;
    }

    /// An authentic packet of Mycelium's suite came from the node. `speaks`: it says that it speaks sessions.
    pub fn plain(&mut self, peer: &[u8; KEY], speaks: bool, now: f64) {
        if speaks {
            self.pin(peer);
        }
        let Some(known) = self.peers.get_mut(peer).filter(|known| known.pinned) else {
            return;
        };
        if !speaks && now - known.downgraded >= DOWNGRADE_EVERY {
            known.downgraded = now;
            self.actions.push_back(Action::Downgraded { peer: *peer });
        }
        if known.not_before <= now {
            self.begin(peer, now);
        }
    }

    /// Hold the node to sessions.
    pub fn pin(&mut self, peer: &[u8; KEY]) {
        if self.pins >= self.config.limits.pins {
            return;
        }
        let Some(known) = self.peer(peer).filter(|known| !known.pinned) else {
            return;
        };
        known.pinned = true;
        self.pins += 1;
        self.actions.push_back(Action::Pinned { peer: *peer });
    }

    /// Hold the node to sessions no longer.
    pub fn unpin(&mut self, peer: &[u8; KEY]) {
        if let Some(known) = self.peers.get_mut(peer).filter(|known| known.pinned) {
            known.pinned = false;
            self.pins -= 1;
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
        self.next_tick
    }

    /// Do what is due.
    pub fn wake(&mut self, now: f64) {
        if self.next_tick.is_none_or(|at| at > now) {
            return;
        }
        self.next_tick = None;
        let keys: Vec<_> = self.peers.keys().copied().collect();
        let mut next = f64::INFINITY;
        for key in keys {
            next = next.min(self.tend(&key, now));
        }
        if next.is_finite() {
            self.wake_at(next);
        }
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

    /// All sessions, and attempts at one.
    pub fn sessions(&self, now: f64) -> impl Iterator<Item = Status> + '_ {
        self.peers.iter().filter_map(move |(key, peer)| {
            if let Some(session) = &peer.current {
                let (tx_frames, rx_frames) = session.transport.frames();
                return Some(Status {
                    peer: *key,
                    cipher: match session.transport.cipher() {
                        Cipher::Aes256Gcm => "aes-256-gcm",
                        Cipher::ChaCha20Poly1305 => "chacha20-poly1305",
                    },
                    state: "established",
                    age: now - session.since,
                    tx_frames,
                    rx_frames,
                    max_frame: session.transport.max_frame() as u32,
                });
            }
            let attempt = peer.attempt.as_ref()?;
            Some(Status {
                peer: *key,
                cipher: "",
                state: "initiating",
                age: now - attempt.began,
                tx_frames: 0,
                rx_frames: 0,
                max_frame: 0,
            })
        })
    }

    // --- inside

    fn wake_at(&mut self, at: f64) {
        self.next_tick = Some(self.next_tick.map_or(at, |before| before.min(at)));
    }

    fn secret(&mut self) -> Option<Secret> {
        let mut secret = Zeroizing::new([0; KEY]);
        if (self.random)(&mut secret[..]).is_err() {
            self.totals.no_random += 1;
            return None;
        }
        Some(secret)
    }

    /// An index that isn't in use.
    fn index(&mut self) -> Option<u32> {
        for _ in 0..8 {
            let mut bytes = [0; 4];
            if (self.random)(&mut bytes).is_err() {
                self.totals.no_random += 1;
                return None;
            }
            let index = u32::from_be_bytes(bytes);
            if index != 0 && !self.indexes.contains_key(&index) {
                return Some(index);
            }
        }
        None
    }

    /// What is known of the node; made if there is room.
    fn peer(&mut self, key: &[u8; KEY]) -> Option<&mut Peer> {
        if !self.peers.contains_key(key) {
            if self.peers.len() >= self.config.limits.peers {
                self.peers.retain(|_, peer| !peer.is_idle());
            }
            if self.peers.len() >= self.config.limits.peers {
                self.totals.full += 1;
                return None;
            }
        }
        Some(self.peers.entry(*key).or_insert_with(Peer::new))
    }

    /// Begin a handshake, unless one is under way.
    fn begin(&mut self, key: &[u8; KEY], now: f64) {
        if *key == self.public || self.peer(key).is_none_or(|peer| peer.attempt.is_some()) {
            return;
        }
        let (Some(ephemeral), Some(index)) = (self.secret(), self.index()) else {
            return;
        };
        let secret = self.config.secret.clone();
        let handshake = Initiating::new(&secret, key, &address_of(key), index, &self.own, ephemeral);
        let Some(handshake) = handshake else {
            // A key that no handshake can be begun with: of low order.
            self.totals.bad_handshake += 1;
            return;
        };
        self.indexes.insert(index, *key);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let cookie = peer.cookie.filter(|(_, at)| now - at < COOKIE_LIFETIME);
        let frame = handshake.frame(cookie.as_ref().map(|(cookie, _)| cookie));
        peer.attempt = Some(Attempt {
            handshake,
            began: now,
            retry_at: now + RETRY,
            pause: RETRY,
            told: false,
        });
        self.actions.push_back(Action::Send {
            peer: *key,
            to: None,
            frame,
        });
        self.wake_at(now + RETRY);
    }

    /// Somebody asks for a session.
    fn asked(&mut self, initiation: &Initiation<'_>, from: From, now: f64) {
        if initiation.endpoint != self.config.address {
            self.totals.wrong_endpoint += 1;
            return;
        }
        if !self.macs.is_right(initiation.covered, &initiation.mac1) {
            self.totals.bad_mac += 1;
            return;
        }
        if !self.may_ask(initiation, from, now) {
            return;
        }
        let (Some(ephemeral), Some(index)) = (self.secret(), self.index()) else {
            return;
        };
        let secret = self.config.secret.clone();
        let Some(asked) = Asked::read(&secret, initiation, ephemeral).filter(|it| it.peer != self.public)
        else {
            self.totals.bad_handshake += 1;
            return;
        };
        let key = asked.peer;
        if self.indexes.len() >= self.config.limits.transports {
            self.totals.full += 1;
            return;
        }
        let wish = wish_of(initiation);
        let Some(peer) = self.peer(&key) else { return };
        if peer.saw(wish) {
            let again = peer.granted.iter().find(|granted| granted.wish == wish);
            let frame = again.map(|granted| granted.response.clone());
            self.totals.repeated += 1;
            return match frame {
                Some(frame) => self.send(key, Some(from), frame),
                None => {}
            };
        }
        let Some((response, transport)) = asked.grant(index, &self.own) else {
            self.totals.bad_handshake += 1;
            return;
        };
        let transport = Arc::new(transport);
        let granted = Granted {
            transport: Arc::clone(&transport),
            since: now,
            wish,
            response: response.clone(),
        };
        let evicted = self.peers.get_mut(&key).and_then(|peer| peer.grant(granted));
        if let Some(evicted) = evicted {
            self.retire(&evicted);
        }
        self.totals.granted += 1;
        self.indexes.insert(index, key);
        self.actions.push_back(Action::Receive(transport));
        self.send(key, Some(from), response);
        self.wake_at(now + TICK);
    }

    /// Whether an initiation gets further: a flood must show that it receives.
    fn may_ask(&mut self, initiation: &Initiation<'_>, from: From, now: f64) -> bool {
        let source = from.source();
        let macs = [&initiation.mac1, &initiation.mac2];
        if self.load.take(now) || self.jar.is_right(initiation.covered, macs, &source, now) {
            return true;
        }
        if !self.replies.take(now) {
            self.totals.flooded += 1;
            return false;
        }
        if self.jar.is_stale(now)
            && let Some(secret) = self.secret()
        {
            self.jar.renew(secret, now);
        }
        let mut nonce = [0; 24];
        if (self.random)(&mut nonce).is_err() {
            self.totals.no_random += 1;
            return false;
        }
        if let Some(body) = self.jar.reply(&self.macs, &initiation.mac1, &source, nonce) {
            self.totals.cookies += 1;
            let mut frame = vec![wire::COOKIE, wire::VERSION, 0, 0];
            frame.extend_from_slice(&initiation.sender.to_be_bytes());
            frame.extend_from_slice(&body);
            self.send([0; KEY], Some(from), frame);
        }
        false
    }

    /// The node that was asked grants a session.
    fn granted(&mut self, response: &Response<'_>, now: f64) {
        if !self.macs.is_right(response.covered, &response.mac1) {
            self.totals.bad_mac += 1;
            return;
        }
        let Some(key) = self.indexes.get(&response.receiver).copied() else {
            self.totals.unknown += 1;
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let attempt = peer
            .attempt
            .as_mut()
            .filter(|attempt| attempt.handshake.index == response.receiver);
        let Some(theirs) = attempt.and_then(|attempt| attempt.handshake.granted(response)) else {
            self.totals.bad_handshake += 1;
            return;
        };
        let Some(attempt) = peer.attempt.take() else { return };
        let made = attempt
            .handshake
            .finish(&key, theirs, response.sender, &self.own)
            .map(Arc::new);
        let Some(transport) = made else {
            self.indexes.remove(&response.receiver);
            self.totals.bad_handshake += 1;
            return;
        };
        self.actions.push_back(Action::Receive(Arc::clone(&transport)));
        let fresh = Session {
            transport,
            since: now,
            ours: true,
        };
        if self.install(&key, fresh) {
            // The first frame is what the other end believes the keys for.
            self.actions.push_back(Action::KeepAlive { peer: key });
        }
    }

    /// A session with the node is complete. Whether it is the one to seal with.
    fn install(&mut self, key: &[u8; KEY], fresh: Session) -> bool {
        let (transport, now) = (Arc::clone(&fresh.transport), fresh.since);
        let public = self.public;
        let Some(peer) = self.peers.get_mut(key) else {
            return false;
        };
        peer.not_before = f64::NEG_INFINITY;
        let used = peer.install(fresh, &public);
        self.totals.made += 1;
        self.pin(key);
        if used {
            self.actions.push_back(Action::Use(transport));
        }
        self.wake_at(now + TICK);
        used
    }

    /// The node asks to show that this end receives.
    fn cookie(&mut self, receiver: u32, body: &[u8], now: f64) {
        let Some(key) = self.indexes.get(&receiver).copied() else {
            self.totals.unknown += 1;
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(attempt) = peer
            .attempt
            .as_mut()
            .filter(|attempt| attempt.handshake.index == receiver)
        else {
            self.totals.unknown += 1;
            return;
        };
        let Some(cookie) = MacKeys::new(&key).open(body, &attempt.handshake.mac1) else {
            self.totals.bad_mac += 1;
            return;
        };
        let first = peer.cookie.is_none_or(|(known, _)| known != cookie);
        peer.cookie = Some((cookie, now));
        if first {
            let frame = attempt.handshake.frame(Some(&cookie));
            self.send(key, None, frame);
        }
    }

    /// Somebody says that a frame of ours came under an index that isn't in use. It may be a lie: ask anew, keep what
    /// there is.
    fn hint(&mut self, index: u32, now: f64) {
        let key = self.peers.iter().find_map(|(key, peer)| {
            let current = peer.current.as_ref()?;
            (current.transport.remote_index() == index).then_some(*key)
        });
        let Some(key) = key else {
            self.totals.unknown += 1;
            return;
        };
        self.totals.hints += 1;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if now - peer.hinted >= HINT_EVERY {
            peer.hinted = now;
            self.begin(&key, now);
        }
    }

    /// What is due for one node; when to look again.
    fn tend(&mut self, key: &[u8; KEY], now: f64) -> f64 {
        let Some(peer) = self.peers.get_mut(key) else {
            return f64::INFINITY;
        };
        let mut gone = peer.expired(now);
        let over = peer
            .current
            .take_if(|session| now - session.since >= LIFETIME || session.transport.is_dead());
        gone.extend(over.map(|session| session.transport));
        for transport in &gone {
            self.retire(transport);
        }
        self.totals.expired += gone.len() as u64;
        self.retry(key, now);
        self.watch(key, now);
        let Some(peer) = self.peers.get(key) else {
            return f64::INFINITY;
        };
        let mut next = f64::INFINITY;
        if peer.current.is_some() || !peer.previous.is_empty() || !peer.granted.is_empty() {
            next = now + TICK;
        }
        peer.attempt
            .as_ref()
            .map_or(next, |attempt| next.min(attempt.retry_at))
    }

    /// Repeat, or give up, a handshake that wasn't answered.
    fn retry(&mut self, key: &[u8; KEY], now: f64) {
        let mut jitter = [0; 1];
        let _ = (self.random)(&mut jitter);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(attempt) = peer.attempt.as_mut().filter(|attempt| attempt.retry_at <= now) else {
            return;
        };
        if now - attempt.began >= GIVE_UP {
            let index = attempt.handshake.index;
            peer.attempt = None;
            peer.not_before = now + AGAIN_AFTER;
            self.indexes.remove(&index);
            self.totals.failed += 1;
            self.actions.push_back(Action::Failed { peer: *key });
            return;
        }
        if !attempt.told && peer.current.is_none() {
            attempt.told = true;
            self.totals.unanswered += 1;
            self.actions.push_back(Action::Unanswered { peer: *key });
        }
        attempt.pause = (attempt.pause * 2.0).min(LONGEST_RETRY);
        attempt.retry_at = now + attempt.pause * (0.9 + 0.2 * f64::from(jitter[0]) / 255.0);
        let cookie = peer.cookie.filter(|(_, at)| now - at < COOKIE_LIFETIME);
        let frame = attempt.handshake.frame(cookie.as_ref().map(|(cookie, _)| cookie));
        self.send(*key, None, frame);
    }

    /// Look at a session in use: whether it is old, worn, owes an answer, or gets none.
    fn watch(&mut self, key: &[u8; KEY], now: f64) {
        let Some(session) = self.peers.get(key).and_then(|peer| peer.current.as_ref()) else {
            return;
        };
        let (transport, age) = (&session.transport, now - session.since);
        let in_use = transport.quiet(now).is_some_and(|quiet| quiet < IN_USE);
        let old = age >= if session.ours { REKEY } else { REKEY_LATE };
        let silent = transport.silence(now).is_some_and(|silence| silence >= SILENCE);
        let owes = transport.owed(now).is_some_and(|owed| owed >= KEEP_ALIVE);
        let renew = (in_use && (old || silent)) || transport.is_worn();
        if owes {
            self.actions.push_back(Action::KeepAlive { peer: *key });
        }
        if renew {
            self.begin(key, now);
        }
    }

    fn retire(&mut self, transport: &Arc<Transport>) {
        transport.kill();
        self.indexes.remove(&transport.local_index());
        self.actions.push_back(Action::Retire(Arc::clone(transport)));
    }

    fn send(&mut self, peer: [u8; KEY], to: Option<From>, frame: Vec<u8>) {
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

/// What tells one initiation from another: its Noise message, in short.
fn wish_of(initiation: &Initiation<'_>) -> [u8; 16] {
    let digest = hash(&[initiation.noise]);
    digest.first_chunk().copied().unwrap_or_default()
}
