//! The data plane of one node, as the binding sees it: start, command, listen to, close.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use zosnet_core::fib::FibError;
use zosnet_core::filter::refusals::Refusal;
use zosnet_core::filter::rules::RulesError;
use zosnet_core::suite::{Fill, StaticKey, SuiteError};
use zosnet_core::{datagram, session};

use crate::events::Event;
use crate::handoff::{LinkId, LinkInfo, RemoteConfig, SessionInfo};
use crate::keeper::{Keeper, ToKeeper};
use crate::lane::Lane;
use crate::link::Home;
use crate::packets::is_hello;
use crate::shared::{Hub, Shared, ToLane, lock};
use crate::tun::{self, TunConfig};
use crate::{quic, sys, tcp, udp};

/// How long closing may take to write what waits, in seconds.
const FLUSH: f64 = 0.5;

/// A secret key that is overwritten when it goes, so that neither a core file nor a reused page has it. Boxed, as
/// every move of an array would leave a copy behind.
pub struct Secret(Box<[u8; 32]>);

impl Secret {
    /// A copy of these bytes; None unless they are 32.
    pub fn copied(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self(Box::new([0; 32]));
        if bytes.len() != secret.0.len() {
            return None;
        }
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    fn wipe(&mut self) {
        self.0.fill(0);
        // As if somebody looked: else the compiler leaves out writes to memory that is freed next.
        std::hint::black_box(&mut self.0);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// How to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A TCP connection.
    Tcp,
    /// A QUIC connection.
    Quic,
    /// A datagram link, to the node of this key if one is given.
    Udp(Option<[u8; 32]>),
}

/// What a data plane is to be.
pub struct Config {
    /// The node's X25519 secret.
    pub secret: Secret,
    /// The node's address.
    pub address: [u8; 16],
    /// Name of the TUN device; none: only forward and carry messages.
    pub tun_name: Option<String>,
    /// MTU of the TUN device.
    pub tun_mtu: u32,
    /// Where to listen for TCP links.
    pub tcp_listen: Vec<SocketAddr>,
    /// Where to listen for QUIC links.
    pub quic_listen: Vec<SocketAddr>,
    /// Where to take datagram links; none: no datagram links.
    pub udp_listen: Option<SocketAddr>,
    /// The longest IP packet that datagram links try.
    pub max_packet: u16,
    /// Whether to speak the session suite `zosnet`.
    pub session_suite: bool,
    /// Keys of nodes that are held to it.
    pub pins: Vec<[u8; 32]>,
    /// Lanes; at least one.
    pub lanes: usize,
    /// `SO_MARK` of all sockets, 0 for none.
    pub firewall_mark: u32,
    /// The node's router id as text.
    pub router_id_text: String,
    /// Expendable events that may wait for Python.
    pub events_limit: usize,
}

/// Why the data plane can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secret isn't a usable key.
    #[error("the secret is not a usable X25519 key")]
    Secret,
    /// The TUN device: no driver (ENOENT), no permission (EPERM), name taken (EBUSY).
    #[error("TUN device: {0}")]
    Tun(#[source] io::Error),
    /// A TCP address can't be listened on: mostly EADDRINUSE.
    #[error("TCP listener: {0}")]
    Tcp(#[source] io::Error),
    /// A QUIC address can't be listened on.
    #[error("QUIC listener: {0}")]
    Quic(#[source] io::Error),
    /// The UDP port can't be had.
    #[error("UDP port: {0}")]
    Udp(#[source] io::Error),
    /// No descriptors or threads left.
    #[error("{0}")]
    System(#[from] io::Error),
}

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
    /// Open everything, then start the threads. On an error nothing is left behind.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let lanes = config.lanes.max(1);
        let key = StaticKey::from_secret(&config.secret.0).map_err(|_| StartError::Secret)?;
        let mark = config.firewall_mark;
        let shared = Arc::new(Shared::new(
            key,
            config.address,
            mark,
            lanes,
            config.events_limit,
            config.session_suite,
        )?);
        let listeners = tcp::listen(&config.tcp_listen, mark).map_err(StartError::Tcp)?;
        let tcp = listeners
            .iter()
            .map(|listener| listener.local_addr())
            .collect::<io::Result<_>>()?;
        let sockets = match config.udp_listen {
            Some(address) => udp::socket::open(address, lanes, mark).map_err(StartError::Udp)?,
            None => Vec::new(),
        };
        let udp = sockets
            .first()
            .map(UdpSocket::local_addr)
            .transpose()?
            .into_iter()
            .collect();
        let speaker = sockets.first().map(UdpSocket::try_clone).transpose()?;
        let keeper = keeper(&config, &shared, speaker)?;
        let (tun_name, queues) = match config.tun_name {
            Some(name) => {
                let address = Ipv6Addr::from(config.address);
                let wanted = TunConfig {
                    name,
                    mtu: config.tun_mtu,
                    address,
                    queues: lanes,
                };
                let (name, queues) = tun::open(&wanted).map_err(StartError::Tun)?;
                (Some(name), queues)
            }
            None => (None, Vec::new()),
        };
        let remote = RemoteConfig {
            listen: config.quic_listen,
            firewall_mark: mark,
            router_id_text: config.router_id_text,
            reset_seed: quic::reset_seed(&config.secret.0),
        };
        // Its work is done; the rest of starting takes a while.
        drop(config.secret);
        let remote = quic::start(remote, Arc::new(Hub(Arc::clone(&shared)))).map_err(StartError::Quic)?;
        let quic = remote.listening();
        // Set once, here.
        drop(shared.remote.set(remote));
        let node = Self {
            shared,
            threads: Mutex::default(),
            tun_name,
            tcp,
            quic,
            udp,
        };
        node.start_threads(lanes, listeners, queues, sockets, keeper)
            .inspect_err(|_| node.close())?;
        Ok(node)
    }

    fn start_threads(
        &self,
        lanes: usize,
        listeners: Vec<std::net::TcpListener>,
        queues: Vec<tun::TunQueue>,
        sockets: Vec<UdpSocket>,
        keeper: Keeper,
    ) -> io::Result<()> {
        let (mut listeners, mut queues) = (Some(listeners), queues.into_iter());
        let mut sockets = sockets.into_iter();
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name("zosnet-keeper".to_owned())
            .spawn(move || guard(&shared, "the keeper of the data plane failed", || keeper.run()))?;
        lock(&self.threads).push(thread);
        for number in 0..lanes {
            let listeners = listeners.take().unwrap_or_default();
            let shared = Arc::clone(&self.shared);
            let lane = Lane::new(shared, number, queues.next(), listeners, sockets.next())?;
            let name = format!("zosnet-lane-{number}");
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new()
                .name(name)
                .spawn(move || guard(&shared, "a lane of the data plane failed", || lane.run()))?;
            lock(&self.threads).push(thread);
        }
        // After the threads, which would inherit it.
        sys::give_way();
        Ok(())
    }

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
        self.shared.filter.replace(open, packed)
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

/// Run a thread; a panic in it becomes an event, so that Python can stop the node.
fn guard(shared: &Shared, what: &str, run: impl FnOnce()) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    if outcome.is_err() {
        shared.events.push_one(Event::Failed(what.to_owned()));
    }
}

/// The keeper with its machines.
fn keeper(config: &Config, shared: &Arc<Shared>, socket: Option<UdpSocket>) -> io::Result<Keeper> {
    let lanes = config.lanes.clamp(1, 16) as u8;
    let has_aes = sys::has_aes();
    let mut links = datagram::Config::new(*config.secret.0);
    (links.lanes, links.has_aes, links.max_packet) = (lanes, has_aes, config.max_packet);
    let links = datagram::Endpoint::new(links, random());
    let mut sessions = session::Config::new(*config.secret.0, config.address);
    (sessions.lanes, sessions.has_aes, sessions.pins) = (lanes, has_aes, config.pins.clone());
    for key in &config.pins {
        shared.peers.of(key).pinned.store(true, Ordering::Relaxed);
    }
    let sessions = session::Keeper::new(sessions, random());
    Keeper::new(Arc::clone(shared), socket, links, sessions)
}

/// The source of what must be secret.
fn random() -> Fill {
    Box::new(|bytes| sys::random(bytes).map_err(|_| SuiteError::Random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_32_bytes_and_is_overwritten() {
        assert!(Secret::copied(&[7; 31]).is_none());
        let secret = Secret::copied(&[7; 32]);
        assert!(secret.is_some_and(|mut secret| {
            secret.wipe();
            *secret.0 == [0; 32]
        }));
    }
}
