//! Sessions: what their machine wants, done with the table of peers, the lanes and the socket.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};

use zosnet_core::session::{self, Action, EntryKind, From};
use zosnet_core::upper;

use crate::events::Event;
use crate::shared::{Shared, ToLane, lock};

use super::ToKeeper;
use super::paths::Paths;
use super::port::Port;

/// What is due within so many seconds is done together: each idle session is looked at every 1.5 s, and 10,000 of them
/// would wake this thread thousands of times a second. No time of sessions is shorter than 0.1 s.
const TOGETHER: f64 = 0.010;

/// See the module.
pub struct Sessions {
    shared: Arc<Shared>,
    port: Port,
    machine: Arc<Mutex<session::Keeper>>,
    paths: Paths,
}

impl Sessions {
    /// None yet.
    pub fn new(shared: Arc<Shared>, port: Port, machine: session::Keeper) -> Self {
        let machine = Arc::new(Mutex::new(machine));
        // Set once, here.
        drop(shared.sessions.set(Arc::clone(&machine)));
        Self {
            paths: Paths::new(Arc::clone(&shared)),
            shared,
            port,
            machine,
        }
    }

    fn machine(&self) -> MutexGuard<'_, session::Keeper> {
        lock(&self.machine)
    }

    /// The operator named the node of this key.
    pub fn named(&self, key: &[u8; 32]) {
        self.machine().named(key);
    }

    /// When [`Self::wake`] is wanted.
    pub fn deadline(&self) -> Option<f64> {
        let due = [self.machine().deadline(), self.paths.deadline()];
        let first = due.into_iter().flatten().min_by(f64::total_cmp)?;
        Some((first / TOGETHER).ceil() * TOGETHER)
    }

    /// Do what is due.
    pub fn wake(&mut self, now: f64) {
        self.machine().wake(now);
        self.paths.wake(now);
    }

    /// Named totals.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.machine().counters()
    }

    /// Something that a lane, or Python, left for the keeper.
    pub fn take(&mut self, item: ToKeeper, now: f64) {
        match item {
            ToKeeper::Want(key) => self.machine().want(&key, now),
            ToKeeper::Renew(key) => self.machine().renew(&key, now),
            ToKeeper::Heard(index) => self.machine().heard(index, now),
            ToKeeper::Rerouted(key) => self.paths.suspect(&key, now),
            ToKeeper::UsedUp(key) => self.machine().used_up(&key, now),
            ToKeeper::Frame(bytes, from) => self.machine().receive(&bytes, From::Link(from), now),
            ToKeeper::Wrapped(bytes, from) => self.machine().receive(&bytes, From::Overlay(from), now),
            ToKeeper::Strange(index, from) => drop(self.port.send(from, &session::unknown_frame(index))),
            ToKeeper::Entry(index, kind, body, _) => self.entry(index, kind, body, now),
            ToKeeper::Plain(key, speaks) => self.machine().plain(&key, speaks, now),
            ToKeeper::Unpin(key) => {
                self.machine().unpin(&key);
                if let Some(peer) = self.shared.peers.known(&key) {
                    peer.pinned.store(false, Relaxed);
                }
            }
            _ => {}
        }
    }

    /// An entry that isn't for the host.
    fn entry(&mut self, index: u32, kind: EntryKind, body: Vec<u8>, now: f64) {
        let Some(inbound) = self.shared.peers.inbound(index) else {
            return;
        };
        match kind {
            EntryKind::PathProbe => {
                let key = inbound.peer.key;
                let answer = body.get(..4).unwrap_or(&body).to_vec();
                let _ = self
                    .shared
                    .post(0, ToLane::Entry(key, EntryKind::PathProbeAck, answer));
            }
            EntryKind::PathProbeAck => self.paths.answered(&inbound.peer.key, &body, now),
            EntryKind::Close => self.machine().closed(index, now),
            _ => {}
        }
    }

    /// Carry out what the machine wants.
    pub fn act(&mut self, now: f64) {
        loop {
            let action = self.machine().poll();
            let Some(action) = action else { return };
            match action {
                Action::Send { peer, to, frame } => self.send(peer, to, frame),
                Action::Receive(transport) => self.shared.peers.receive(transport),
                Action::Use(transport) => {
                    let peer = self.shared.peers.of(transport.peer());
                    peer.unanswered.store(false, Relaxed);
                    peer.set_current(Some(transport));
                    self.paths.suspect(&peer.key, now);
                    self.retry(peer.key);
                }
                Action::Retire(transport) => {
                    self.shared.peers.retire(&transport);
                    // Lanes let go of the keys, so that they are wiped.
                    self.shared.wake_all();
                }
                Action::Unanswered { peer } | Action::Failed { peer } => {
                    self.shared.peers.of(&peer).unanswered.store(true, Relaxed);
                    self.retry(peer);
                }
                Action::Pinned { peer } => {
                    self.shared.peers.of(&peer).pinned.store(true, Relaxed);
                    self.shared.events.push_one(Event::Pinned(peer, now));
                }
                Action::KeepAlive { peer } => {
                    let _ = self
                        .shared
                        .post(0, ToLane::Entry(peer, EntryKind::Padding, Vec::new()));
                }
                Action::Downgraded { peer } => self.shared.events.push_one(Event::Downgraded(peer, now)),
            }
        }
    }

    /// Packets that waited for a session with this node may go, one way or the other.
    fn retry(&self, key: [u8; 32]) {
        for lane in 0..self.shared.inboxes.len() {
            let _ = self.shared.post(lane, ToLane::Retry(key));
        }
    }

    fn send(&self, peer: [u8; 32], to: Option<From>, frame: Vec<u8>) {
        match to {
            Some(From::Link(remote)) => drop(self.port.send(remote, &frame)),
            // What came through relays is answered by route, as is what begins here.
            Some(From::Overlay(address)) => self.by_route(upper(&address), frame),
            None => self.by_route(self.shared.peers.of(&peer).prefix, frame),
        }
    }

    fn by_route(&self, prefix: u64, frame: Vec<u8>) {
        let _ = self.shared.post(0, ToLane::Frame(prefix, frame));
    }
}
