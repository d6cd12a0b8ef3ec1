//! All `udp://` links of one node: where datagrams go, and what is done about time.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::config::{Action, Config, Counters, Id, Status};
use super::crypt::KEY;
use crate::suite::Fill;

/// The `udp://` links of one node on one socket. One thread runs it.
pub struct Endpoint {
    config: Config,
    random: Fill,
    counters: Counters,
    actions: VecDeque<Action>,
}

impl Endpoint {
    /// No links yet. `random` must be fit for keys.
    #[must_use]
    pub fn new(config: Config, random: Fill) -> Self {
        Self {
            config,
            random,
            counters: Counters::default(),
            actions: VecDeque::new(),
        }
    }

    /// Replace the list of allowed keys; links with others go down.
    pub fn allow(&mut self, allowed: Option<BTreeSet<[u8; KEY]>>, now: f64) {
        let _ = now;
        self.config.allowed = allowed;
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
        let _ = (token, remote, expected, timeout, now, &mut self.random);
    }

    /// Give up a dial, silently. A link that came of it stays.
    pub fn cancel(&mut self, token: i64) {
        let _ = token;
    }

    /// A datagram of the types 0x11 to 0x15 came in; it is scratch afterwards.
    pub fn receive(&mut self, datagram: &mut [u8], from: SocketAddr, now: f64) {
        let _ = (datagram, from, now);
    }

    /// Send bytes on the link's control stream.
    pub fn push_control(&mut self, link: Id, bytes: &[u8], now: f64) {
        let _ = (link, bytes, now);
    }

    /// Stop delivering control, or go on: the peer is slowed down once a window is full.
    pub fn pause(&mut self, link: Id, paused: bool, now: f64) {
        let _ = (link, paused, now);
    }

    /// End a link: the peer is told why. [`Action::Down`] follows.
    pub fn close(&mut self, link: Id, reason: &str, now: f64) {
        let _ = (link, reason, now);
    }

    /// The socket refused a datagram of this size towards `to` (EMSGSIZE): a probe needn't be waited for.
    pub fn too_big(&mut self, to: SocketAddr, size: usize, now: f64) {
        let _ = (to, size, now);
    }

    /// Do what is due at `now`. Earlier than [`Endpoint::deadline`] does no harm.
    pub fn wake(&mut self, now: f64) {
        let _ = now;
    }

    /// When to call [`Endpoint::wake`] at the latest; `None` without links and handshakes.
    #[must_use]
    pub fn deadline(&self) -> Option<f64> {
        None
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// All links that are up.
    pub fn links(&self) -> impl Iterator<Item = Status> + '_ {
        std::iter::empty()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// This node's public key.
    #[must_use]
    pub fn public(&self) -> [u8; KEY] {
        [0; KEY]
    }
}
