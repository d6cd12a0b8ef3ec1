//! How a node starts: devices, sockets and machines first, then the threads.

use std::io;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;

use zosnet_core::suite::{Fill, StaticKey, SuiteError};
use zosnet_core::{datagram, session};

use crate::events::Event;
use crate::handoff::RemoteConfig;
use crate::keeper::Keeper;
use crate::lane::Lane;
use crate::shared::{Hub, Shared, lock};
use crate::tun::{self, TunConfig};
use crate::{quic, sys, tcp, udp};

use super::{Config, Node, StartError};

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
            config.repair,
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
        listeners: Vec<TcpListener>,
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
