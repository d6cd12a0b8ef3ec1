//! The data plane of one node, as the binding sees it: start, command, listen to, close.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use zosnet_core::fib::FibError;
use zosnet_core::filter::refusals::Refusal;
use zosnet_core::filter::rules::RulesError;
use zosnet_core::suite::StaticKey;

use crate::events::Event;
use crate::handoff::{LinkId, LinkInfo, RemoteConfig};
use crate::lane::Lane;
use crate::lane::carrier::is_hello;
use crate::link::Home;
use crate::shared::{Hub, Shared, ToLane, lock};
use crate::tun::{self, TunConfig};
use crate::{quic, sys, tcp};

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
        )?);
        let listeners = tcp::listen(&config.tcp_listen, mark).map_err(StartError::Tcp)?;
        let tcp = listeners
            .iter()
            .map(|listener| listener.local_addr())
            .collect::<io::Result<_>>()?;
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
        };
        node.start_lanes(lanes, listeners, queues)
            .inspect_err(|_| node.close())?;
        Ok(node)
    }

    fn start_lanes(
        &self,
        lanes: usize,
        listeners: Vec<std::net::TcpListener>,
        queues: Vec<tun::TunQueue>,
    ) -> io::Result<()> {
        let (mut listeners, mut queues) = (Some(listeners), queues.into_iter());
        for number in 0..lanes {
            let listeners = listeners.take().unwrap_or_default();
            let lane = Lane::new(Arc::clone(&self.shared), number, queues.next(), listeners)?;
            let name = format!("zosnet-lane-{number}");
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new()
                .name(name)
                .spawn(move || run(lane, &shared))?;
            lock(&self.threads).push(thread);
        }
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
                    let (Home::Lane(lane) | Home::Remote(lane)) = link.home;
                    self.post(lane, ToLane::ReadAgain(link.up.link));
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

    /// Connect; `LinkUp` with `token`, or `DialFailed`, follows.
    pub fn dial(&self, token: i64, quic: bool, remote: SocketAddr, timeout: f64) {
        if !quic {
            return self.post(self.shared.least_loaded(), ToLane::Dial(token, remote, timeout));
        }
        if let Some(transport) = self.shared.remote.get() {
            transport.dial(token, remote, timeout);
        }
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

    /// Replace the keys of those who may link to this node, where a transport can tell; None: anyone.
    pub fn replace_allowed_links(&self, keys: Option<Vec<[u8; 32]>>) {
        let keys = keys.map(|keys| keys.into_iter().collect());
        self.shared.allowed_links.replace(|_| Arc::new(keys));
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
            .filter(|state| matches!(state.home, Home::Lane(_)))
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

    /// Where it listens: TCP, QUIC.
    pub fn listening(&self) -> (&[SocketAddr], &[SocketAddr]) {
        (&self.tcp, &self.quic)
    }

    /// Write what waits for at most half a second, close all, end the threads. May be called again.
    pub fn close(&self) {
        if self.shared.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let until = sys::now() + FLUSH;
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

/// Run a lane; a panic in it becomes an event, so that Python can stop the node.
fn run(lane: Lane, shared: &Shared) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lane.run()));
    if outcome.is_err() {
        shared
            .events
            .push_one(Event::Failed("a lane of the data plane failed".to_owned()));
    }
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
