//! All `udp://` links of one node: where datagrams go, and what is done about time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::bucket::Bucket;
use super::config::{Action, Config, Counters, Id, Status};
use super::cookie::Jar;
use super::crypt::{Cipher, KEY, Secret};
use super::dial::Dial;
use super::established::Closing;
use super::half::Halves;
use super::handshake::COOKIES_PER_SECOND;
use super::link::Link;
use super::noise;
use super::offer::Offer;
use super::wire;
use crate::suite::Fill;

/// Indexes tried before giving up; the first is free but once in millions.
const INDEX_TRIES: usize = 8;

/// What an index belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Link(Id),
    Dial(u64),
    Half,
    Closing,
}

/// The `udp://` links of one node on one socket. One thread runs it.
pub struct Endpoint {
    pub(super) config: Config,
    pub(super) public: [u8; KEY],
    pub(super) random: Fill,
    instance: [u8; 8],
    pub(super) counters: Counters,
    pub(super) actions: VecDeque<Action>,
    pub(super) jar: Jar,
    pub(super) begins: Bucket,
    pub(super) proven: Bucket,
    pub(super) cookies: Bucket,
    pub(super) refused_at: f64,
    pub(super) halves: Halves,
    pub(super) dials: BTreeMap<u64, Dial>,
    pub(super) next_dial: u64,
    pub(super) links: BTreeMap<Id, Box<Link>>,
    pub(super) next_link: u64,
    pub(super) closing: BTreeMap<u32, Closing>,
    pub(super) slots: BTreeMap<u32, Slot>,
    /// Links that something happened to since the last [`Endpoint::poll`].
    pub(super) dirty: BTreeSet<Id>,
    /// Nothing is due before this.
    pub(super) next: f64,
    pub(super) now: f64,
}

impl Endpoint {
    /// No links yet. `random` must be fit for keys. Each start of a node needs a new endpoint: peers tell a
    /// restart from a second link by what is drawn here.
    #[must_use]
    pub fn new(config: Config, mut random: Fill) -> Self {
        let public = noise::public(&config.secret).unwrap_or([0; KEY]);
        let mut instance = [0; 8];
        let mut counters = Counters::default();
        if random(&mut instance).is_err() {
            counters.no_random += 1;
        }
        let rate = config.limits.handshakes_per_second;
        Self {
            jar: Jar::new(&public),
            public,
            random,
            instance,
            counters,
            actions: VecDeque::new(),
            begins: Bucket::new(rate),
            proven: Bucket::new(rate.saturating_mul(4)),
            cookies: Bucket::new(COOKIES_PER_SECOND),
            refused_at: f64::NEG_INFINITY,
            halves: Halves::default(),
            dials: BTreeMap::new(),
            next_dial: 0,
            links: BTreeMap::new(),
            next_link: 1,
            closing: BTreeMap::new(),
            slots: BTreeMap::new(),
            dirty: BTreeSet::new(),
            next: f64::INFINITY,
            now: 0.0,
            config,
        }
    }

    /// This node's public key.
    #[must_use]
    pub fn public(&self) -> [u8; KEY] {
        self.public
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// All links that are up.
    pub fn links(&self) -> impl Iterator<Item = Status> + '_ {
        self.links.values().map(|link| link.status())
    }

    /// Handshakes that others began and haven't finished.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.halves.len()
    }

    /// Replace the list of allowed keys; links with others are closed.
    pub fn allow(&mut self, allowed: Option<BTreeSet<[u8; KEY]>>, now: f64) {
        self.config.allowed = allowed;
        let gone: Vec<Id> = self
            .links
            .values()
            .filter(|link| !self.is_allowed(&link.peer))
            .map(|link| link.id)
            .collect();
        for id in gone {
            self.close(id, "not allowed any more", now);
        }
    }

    /// Link to `remote` within `timeout` seconds: [`Action::Up`] or [`Action::DialFailed`] with `token` follows.
    /// With `expected`, no other key will do.
    pub fn dial(
        &mut self,
        token: i64,
        remote: SocketAddr,
        expected: Option<[u8; KEY]>,
        timeout: f64,
        now: f64,
    ) {
        let reason = if self.dials.len() >= self.config.limits.dials {
            "too many links are being dialled"
        } else if expected == Some(self.public) {
            "this is the node's own key"
        } else if expected.is_some_and(|key| !self.is_allowed(&key)) {
            "its key isn't allowed here"
        } else {
            let dial = Dial::new(Some(token), canonical(remote), expected, timeout, now);
            self.begin_dial(dial, now);
            return;
        };
        self.actions.push_back(Action::DialFailed {
            token,
            reason: reason.into(),
            refused: true,
        });
    }

    /// Give up a dial, silently. A link that came of it stays.
    pub fn cancel(&mut self, token: i64) {
        let is_it = |dial: &Dial| dial.token == Some(token) && dial.revives.is_none();
        let keys: Vec<u64> = self
            .dials
            .iter()
            .filter(|(_, dial)| is_it(dial))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.forget_dial(key);
        }
    }

    /// A datagram of the types 0x11 to 0x15 came in; it is scratch afterwards.
    pub fn receive(&mut self, datagram: &mut [u8], from: SocketAddr, now: f64) {
        self.now = now;
        let from = canonical(from);
        match datagram.first() {
            Some(&wire::INITIATION) => self.initiation(datagram, from, now),
            Some(&wire::RESPONSE) => self.response(datagram, from, now),
            Some(&wire::FINISH) => self.finish(datagram, from, now),
            Some(&wire::COOKIE) => self.cookie(datagram, from, now),
            Some(&wire::CONTROL) => self.control(datagram, from, now),
            _ => self.counters.malformed += 1,
        }
    }

    /// Send bytes on the link's control stream.
    pub fn push_control(&mut self, link: Id, bytes: &[u8], now: f64) {
        self.now = now;
        let Some(found) = self.links.get_mut(&link) else {
            return;
        };
        if found.outgoing.push(bytes) {
            self.touch(link);
        } else {
            self.close(link, "too far behind with control", now);
        }
    }

    /// Stop delivering control, or go on: the peer is slowed down once a window is full.
    pub fn pause(&mut self, link: Id, paused: bool) {
        let Some(found) = self.links.get_mut(&link) else {
            return;
        };
        found.ack_due |= found.incoming.pause(paused);
        found.deliver(&mut self.actions);
        self.touch(link);
    }

    /// End a link: the peer is told why. [`Action::Down`] follows.
    pub fn close(&mut self, link: Id, reason: &str, now: f64) {
        self.now = now;
        self.end(link, reason, now);
    }

    /// The socket refused a datagram of this size towards `to` (EMSGSIZE): a probe needn't be waited for.
    pub fn too_big(&mut self, to: SocketAddr, size: usize, now: f64) {
        self.now = now;
        let (to, size) = (canonical(to), u32::try_from(size).unwrap_or(u32::MAX));
        for link in self.links.values_mut().filter(|link| link.remote == to) {
            let found = link.mtu.too_big(size, now);
            link.found(found, &mut self.actions, &mut self.counters);
            self.dirty.insert(link.id);
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        if self.actions.is_empty() {
            self.flush();
        }
        self.actions.pop_front()
    }

    pub(super) fn transmit(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        self.actions.push_back(Action::Transmit {
            to,
            datagram,
            dont_fragment: false,
        });
    }

    pub(super) fn is_allowed(&self, key: &[u8; KEY]) -> bool {
        *key != self.public
            && self
                .config
                .allowed
                .as_ref()
                .is_none_or(|allowed| allowed.contains(key))
    }

    pub(super) fn ciphers(&self) -> u8 {
        let aes = if self.config.has_aes {
            Cipher::Aes256Gcm.bit()
        } else {
            0
        };
        Cipher::ChaCha20Poly1305.bit() | aes
    }

    /// What this end says in a handshake under `index`.
    pub(super) fn offer(&self, index: u32) -> Offer {
        Offer {
            ciphers: self.ciphers(),
            lanes: self.config.lanes.clamp(1, super::MAX_LANES),
            max_datagram: u16::MAX,
            index,
            instance: self.instance,
            revives: None,
        }
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        let filled = (self.random)(bytes).ok();
        self.counters.no_random += u64::from(filled.is_none());
        filled
    }

    pub(super) fn draw(&mut self) -> Option<Secret> {
        let mut secret = Zeroizing::new([0; KEY]);
        self.fill(&mut *secret)?;
        Some(secret)
    }

    /// An index that isn't in use.
    pub(super) fn new_index(&mut self) -> Option<u32> {
        for _ in 0..INDEX_TRIES {
            let mut bytes = [0; 4];
            self.fill(&mut bytes)?;
            let index = u32::from_be_bytes(bytes);
            if index != 0 && !self.slots.contains_key(&index) {
                return Some(index);
            }
        }
        None
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("links", &self.links.len())
            .field("dials", &self.dials.len())
            .field("half_open", &self.halves.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// IPv4 in its own form, however the socket shows it.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::from((v4, v6.port())),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}
