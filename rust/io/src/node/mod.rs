//! The data plane of one node, as the binding sees it: start, command, listen to, close.

mod config;
mod start;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use zosnet_core::fib::FibError;
use zosnet_core::filter::refusals::Refusal;
use zosnet_core::filter::rules::RulesError;

use crate::events::Event;
use crate::handoff::{LinkId, LinkInfo, SessionInfo};
use crate::keeper::ToKeeper;
use crate::link::Home;
use crate::packets::is_hello;
use crate::shared::{Shared, ToLane, lock};
use crate::sys;

pub use config::{Config, Secret, StartError, Transport};

/// How long closing may take to write what waits, in seconds.
const FLUSH: f64 = 0.5;

/// A running data plane.
pub struct Node {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    tun_name: Option<String>,
    tcp: Vec<SocketAddr>,
    quic: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
}

impl Node {
    /// Readable while events wait.
    pub fn fd(&self) -> RawFd {
        self.shared.events.fd().as_raw_fd()
    }

    /// At most `limit` events, of each link its oldest. Links that were not read for want of this are read again.
    pub fn drain_events(&self, limit: usize) -> Vec<Event> {
        let events = self.shared.events.drain(limit);
        for event in &events {
            match event {
                Event::Control { link, packet, .. }
                    if link.control_taken(packet.len(), &self.shared.backlog) =>
                {
                    let id = link.up.link;
                    match link.home {
                        Home::Lane(lane) | Home::Remote(lane) => self.post(lane, ToLane::ReadAgain(id)),
                        Home::Datagram => self.ask_keeper(ToKeeper::Pause(id, false)),
                    }
                }
                _ => {}
            }
        }
        events
    }

    /// Control items weigh nothing in an inbox, and are never refused; data is counted where it is dropped.
    fn post(&self, lane: usize, item: ToLane) {
        let _ = self.shared.post(lane, item);
    }

    /// Items of this node's own are never refused.
    fn ask_keeper(&self, item: ToKeeper) {
        let _ = self.shared.keeper.post(item);
    }

    /// Connect; `LinkUp` with `token`, or `DialFailed`, follows.
    pub fn dial(&self, token: i64, transport: Transport, remote: SocketAddr, timeout: f64) {
        match (transport, self.shared.remote.get()) {
            (Transport::Tcp, _) => {
                self.post(self.shared.least_loaded(), ToLane::Dial(token, remote, timeout));
            }
            (Transport::Quic, Some(quic)) => quic.dial(token, remote, timeout),
            (Transport::Quic, None) => {}
            (Transport::Udp(key), _) => self.ask_keeper(ToKeeper::Dial(token, remote, key, timeout)),
        }
    }

    /// The node of this key has started anew: its sessions are no more.
    pub fn renew_session(&self, key: [u8; 32]) {
        self.ask_keeper(ToKeeper::Renew(key));
    }

    /// Hold the node of this key to sessions no longer. False when it was not.
    pub fn forget_pin(&self, key: [u8; 32]) -> bool {
        let known = self.shared.peers.known(&key);
        let pinned = known.is_some_and(|peer| peer.pinned.swap(false, Ordering::Relaxed));
        self.ask_keeper(ToKeeper::Unpin(key));
        pinned
    }

    /// Who may link to this node over datagrams; none: anyone.
    pub fn allow_links(&self, keys: Option<Vec<[u8; 32]>>) {
        self.ask_keeper(ToKeeper::Allow(keys));
    }

    /// Sessions of the suite `zosnet`.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let Some(machine) = self.shared.sessions.get() else {
            return Vec::new();
        };
        let machine = lock(machine);
        let mut all: Vec<_> = machine.sessions(sys::now()).map(SessionInfo::from).collect();
        drop(machine);
        let (table, links) = (self.shared.table.get(), self.shared.links.get());
        for info in &mut all {
            let entry = table.lookup(&zosnet_core::address_of(&info.key));
            let link = entry.and_then(|entry| links.get(&entry.primary));
            let neighbour = link.and_then(|state| state.datagram.as_ref()).map(|udp| udp.peer);
            if neighbour == Some(info.key) {
                info.via = "direct";
            }
        }
        all
    }

    /// Close a link. Its `LinkDown` follows.
    pub fn close_link(&self, id: LinkId) {
        let Some(home) = self.shared.links.get().get(&id).map(|state| state.home) else {
            return;
        };
        match (home, self.shared.remote.get()) {
            (Home::Lane(lane), _) => self.post(lane, ToLane::Close(id, "closed by this node")),
            (Home::Remote(_), Some(remote)) => remote.close(id),
            (Home::Remote(_), None) => {}
            (Home::Datagram, _) => self.ask_keeper(ToKeeper::Close(id)),
        }
    }

    /// Send whole control packets through their links. Unknown links are ignored: they have just died.
    pub fn send_control(&self, packets: Vec<(LinkId, Vec<u8>)>) {
        let links = self.shared.links.get();
        for (id, packet) in packets {
            let Some(state) = links.get(&id) else { continue };
            let hello = is_hello(&packet);
            match (state.home, self.shared.remote.get()) {
                (Home::Lane(lane), _) => self.post(lane, ToLane::Control(id, packet, hello)),
                (Home::Remote(_), Some(remote)) => {
                    if hello {
                        state.hello_left(sys::now());
                    }
                    remote.push_control(id, packet);
                }
                (Home::Remote(_), None) => {}
                (Home::Datagram, _) => self.ask_keeper(ToKeeper::Control(id, packet, hello)),
            }
        }
    }

    /// Apply packed records to the table, and show it to the lanes.
    pub fn apply_routes(&self, packed: &[u8]) -> Result<usize, FibError> {
        let mut builder = lock(&self.shared.builder);
        let applied = builder.apply(packed);
        self.shared.table.replace(|_| builder.snapshot());
        drop(builder);
        self.shared.wake_all();
        applied
    }

    /// Replace the rules for what may come in ([`zosnet_core::filter::rules`]); `open`: let everything in.
    pub fn replace_filter(&self, open: bool, packed: &[u8]) -> Result<(), RulesError> {
        self.shared.replace_filter(open, packed)
    }

    /// How often each rule has let in something new, by its number.
    pub fn rule_hits(&self) -> Vec<u64> {
        self.shared.filter.rules().hits()
    }

    /// What was refused, the latest first, at most `limit`.
    pub fn refusals(&self, limit: usize) -> Vec<Refusal> {
        self.shared.filter.refusals(limit)
    }

    /// Prefixes used since the last call: prefix and length, 17 bytes each.
    pub fn used_routes(&self) -> Vec<u8> {
        let used = lock(&self.shared.builder).drain_used();
        used.into_iter()
            .flat_map(|(prefix, length)| prefix.into_iter().chain([length]))
            .collect()
    }

    /// Send a message body; it waits for a route like any packet.
    pub fn send_message(&self, destination: [u8; 16], body: Vec<u8>) {
        self.post(0, ToLane::Message(destination, body));
    }

    /// Send a whole IPv6 packet from this node.
    pub fn inject(&self, packet: Vec<u8>) {
        self.post(0, ToLane::Inject(packet));
    }

    /// From now on answers to probes with this magic come up as events.
    pub fn watch_probe(&self, magic: [u8; 8]) {
        self.shared.probes.replace(|magics| {
            let others = magics.iter().filter(|known| **known != magic);
            Arc::new(others.copied().chain([magic]).collect())
        });
        self.shared.wake_all();
    }

    /// Figures of all links, by number.
    pub fn links(&self) -> Vec<LinkInfo> {
        let links = self.shared.links.get();
        let remote = self
            .shared
            .remote
            .get()
            .map(|remote| remote.links())
            .unwrap_or_default();
        let lanes = links
            .values()
            .filter(|state| !matches!(state.home, Home::Remote(_)))
            .map(|state| state.info());
        let beside = remote.into_iter().map(|mut info| {
            info.busy = links
                .get(&info.up.link)
                .is_some_and(|state| state.busy.load(Ordering::Relaxed));
            info
        });
        let mut all: Vec<_> = lanes.chain(beside).collect();
        all.sort_by_key(|info| info.up.link);
        all
    }

    /// All totals by name, summed over the lanes.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (name, total) in self.shared.counters.iter().flat_map(|counters| counters.totals()) {
            *sums.entry(name).or_insert(0) += total;
        }
        for (name, total) in self
            .shared
            .remote
            .get()
            .map(|remote| remote.counters())
            .unwrap_or_default()
        {
            *sums.entry(name.to_owned()).or_insert(0) += total;
        }
        for (name, total) in lock(&self.shared.keeper_counters).iter() {
            *sums.entry((*name).to_owned()).or_insert(0) += total;
        }
        sums.insert("drop.event".to_owned(), self.shared.events.dropped());
        let flows = self.shared.filter.figures();
        sums.insert("flows".to_owned(), flows.flows);
        sums.insert("flow.evicted".to_owned(), flows.evicted);
        sums.insert("flow.unremembered".to_owned(), flows.unremembered);
        sums
    }

    /// Name of the TUN device.
    pub fn tun_name(&self) -> Option<&str> {
        self.tun_name.as_deref()
    }

    /// Where it listens: TCP, QUIC, UDP.
    pub fn listening(&self) -> [&[SocketAddr]; 3] {
        [&self.tcp, &self.quic, &self.udp]
    }

    /// Write what waits for at most half a second, close all, end the threads. May be called again.
    pub fn close(&self) {
        if self.shared.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let until = sys::now() + FLUSH;
        self.ask_keeper(ToKeeper::Stop);
        for lane in 0..self.shared.inboxes.len() {
            self.post(lane, ToLane::Stop(until));
        }
        if let Some(remote) = self.shared.remote.get() {
            remote.shutdown(FLUSH);
        }
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // A lane that panicked has said so in an event.
            drop(thread.join());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.close();
    }
}
