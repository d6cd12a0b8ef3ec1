//! A lane: one thread, one poll loop for a TUN queue and some TCP links, both directions.
//!
//! | module | owns |
//! |---|---|
//! | [`bounds`] | what strangers may cause, and how often |
//! | [`carrier`] | the lane's links, and the way to all others |
//! | [`connect`] | accepting and dialling |
//! | [`link`] | one of these links: its socket and its queue |
//! | [`health`] | whether links make progress, and how they end |
//! | [`pace`] | when it rests |
//! | [`port`], [`datagrams`] | the UDP port; from it to the TUN, to other links |
//! | [`frames`] | session frames to links |
//! | [`sharing`] | frames of several packets |
//! | [`repair`] | frames that lossy links swallow, given back |
//! | [`relay`] | data packets of others to datagram links |
//! | [`receive`] | from links to the TUN, to other links, to Python |
//! | [`transmit`] | from the TUN to links |
//! | [`sessions`] | the session of each key |
//! | [`token`] | what epoll tells a lane of |
//!
//! A turn: wait, take what is ready, write what came of it, rest if small packets come fast, sleep until something is
//! due. A lane with nothing to do has no timer.

mod bounds;
pub mod carrier;
mod connect;
mod datagrams;
mod door;
mod frames;
mod health;
mod link;
mod pace;
mod port;
mod receive;
mod relay;
mod repair;
mod road;
mod sessions;
mod sharing;
mod token;
mod transmit;
mod waiting;

use std::collections::HashMap;
use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use zosnet_core::datagram::LinkKeys;
use zosnet_core::fib::Table;
use zosnet_core::forward::Node;
use zosnet_core::fragments::Fragments;
use zosnet_core::offload::Coalescer;
use zosnet_core::session::EntryKind;
use zosnet_core::waiting::{Limits, Waiting};

use crate::counters::Counter;
use crate::handoff::LinkId;
use crate::packets::count_packets;
use crate::shared::{Shared, ToLane};
use crate::sys::{self, Epoll, Ready};
use crate::tun::TunQueue;

use bounds::{Allowance, Hopeless};
use carrier::Carrier;
use connect::Connecting;
use door::Door;
use pace::Pace;
use port::Port;
use relay::Relay;
use repair::Repair;
use road::Latest;
use sessions::Sessions;
use sharing::OpenFrame;
use token::Token;

/// A lane. Made by the starting thread, run by its own.
pub struct Lane {
    shared: Arc<Shared>,
    number: usize,
    node: Node,
    epoll: Epoll,
    tun: Option<TunQueue>,
    connecting: Connecting,
    carrier: Carrier,
    sessions: Sessions,
    door: Door,
    coalescer: Coalescer,
    /// The UDP port, if this node has one.
    port: Option<Port>,
    /// A session frame that still takes packets of this burst.
    open_frame: Option<OpenFrame>,
    latest_road: Option<Latest>,
    /// The link that packets of others took last in this turn, and the one they came from.
    latest_relay: Option<Relay>,
    latest_inbound: Option<(u32, LinkId, Arc<LinkKeys>)>,
    /// Memory for the next one.
    spare_entries: Vec<u8>,
    /// Memory for the entries of one frame.
    entry_list: Vec<(EntryKind, Range<usize>)>,
    fragments: Fragments,
    repair: Repair,
    errors: Allowance,
    /// Handshakes of links from remote ends that no link leads to.
    knocks: Allowance,
    /// Hints to strangers about frames of sessions that this node hasn't.
    hints: Allowance,
    hopeless: Hopeless,
    probes: Arc<Vec<[u8; 8]>>,
    table: Arc<Table>,
    table_generation: u64,
    links_generation: u64,
    /// Packets that wait for a route, outgoing and transit.
    outgoing: Waiting,
    /// Packets that wait for the key of their sender.
    incoming: Waiting,
    /// Packets of this host that wait for a session.
    unsealed: Waiting,
    /// What one read of a link gives, with the leftover of the last in front.
    scratch: Vec<u8>,
    /// What one read of the TUN gives.
    tun_buffer: Vec<u8>,
    inbox: Vec<ToLane>,
    /// Control packets that came before a transport beside the lanes stopped reading a paused link, by link.
    held: HashMap<LinkId, Vec<u8>>,
    stop_at: Option<f64>,
    pace: Pace,
}

impl Lane {
    /// A lane that has not begun to run. `listeners` only for one of them.
    pub fn new(
        shared: Arc<Shared>,
        number: usize,
        tun: Option<TunQueue>,
        listeners: Vec<TcpListener>,
        socket: Option<UdpSocket>,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new()?;
        let read = Ready {
            read: true,
            ..Ready::default()
        };
        if let Some(inbox) = shared.inboxes.get(number) {
            epoll.add(inbox.fd(), read, Token::Wake.pack())?;
        }
        if let Some(tun) = &tun {
            epoll.add(tun.fd(), read, Token::Tun.pack())?;
        }
        if let Some(socket) = &socket {
            epoll.add(socket.as_fd(), read, Token::Udp.pack())?;
        }
        for (at, listener) in (0..).zip(&listeners) {
            epoll.add(listener.as_fd(), read, Token::Listener(at).pack())?;
        }
        let mut seed = [0; 8];
        sys::random(&mut seed)?;
        let carrier = Carrier::new(Arc::clone(&shared), number, u64::from_ne_bytes(seed));
        let coalescer = Coalescer::new(tun.as_ref().is_some_and(TunQueue::takes_udp));
        Ok(Self {
            node: Node {
                address: shared.address,
            },
            epoll,
            tun,
            connecting: Connecting::new(listeners),
            carrier,
            sessions: Sessions::new(Arc::clone(&shared)),
            door: Door::new(Arc::clone(&shared.filter)),
            coalescer,
            port: socket.map(|socket| Port::new(socket, &shared.key.public())),
            open_frame: None,
            latest_road: None,
            latest_relay: None,
            latest_inbound: None,
            spare_entries: Vec::new(),
            entry_list: Vec::new(),
            fragments: Fragments::new(),
            repair: Repair::default(),
            errors: Allowance::default(),
            hints: Allowance::default(),
            knocks: Allowance::default(),
            hopeless: Hopeless::default(),
            probes: shared.probes.get(),
            table: shared.table.get(),
            table_generation: 0,
            links_generation: 0,
            outgoing: Waiting::new(Limits::OUTGOING),
            incoming: Waiting::new(Limits::INCOMING),
            unsealed: Waiting::new(Limits::OUTGOING),
            scratch: vec![0; receive::SCRATCH],
            tun_buffer: vec![0; crate::tun::LONGEST_READ],
            inbox: Vec::new(),
            held: HashMap::new(),
            stop_at: None,
            pace: Pace::default(),
            shared,
            number,
        })
    }

    /// Run until told to stop.
    pub fn run(mut self) {
        sys::exact_timers();
        let mut ready = Vec::with_capacity(sys::EVENTS);
        loop {
            let timer = self.carrier.timer;
            let timeout = timer.is_finite().then(|| (timer - sys::now()).max(0.0));
            if let Err(error) = self.epoll.wait(timeout, &mut ready) {
                let text = format!("epoll: {error}");
                return self.shared.events.push_one(crate::events::Event::Failed(text));
            }
            self.carrier.now = sys::now();
            self.pace.begin(self.carrier.now);
            self.refresh();
            for (token, what) in ready.drain(..) {
                self.handle(Token::unpack(token), what);
            }
            if self.carrier.now >= self.carrier.timer {
                self.tick();
            }
            self.finish_turn();
            if self
                .stop_at
                .is_some_and(|at| sys::now() >= at || self.carrier.drained())
            {
                return self.end();
            }
            if let Some(rest) = self.pace.rest(self.carrier.now) {
                std::thread::sleep(rest);
            }
            self.pace.end(sys::now());
        }
    }

    fn handle(&mut self, token: Token, what: Ready) {
        match token {
            Token::Wake => self.read_inbox(),
            Token::Tun => self.read_tun(),
            Token::Listener(at) => self.accept(at),
            Token::Udp => {
                if what.write {
                    self.settle_outbox(true);
                }
                if what.read || what.error {
                    self.read_udp();
                }
            }
            Token::Dial(number) => self.dial_ready(number),
            Token::Link(id) => {
                if what.write {
                    self.carrier.flush_link(id);
                    self.carrier.rewatch(&self.epoll, id);
                }
                if what.read || what.error {
                    self.read_link(id, what.error);
                }
            }
        }
    }

    /// See tables that were replaced. What waits for a route may have one now.
    fn refresh(&mut self) {
        self.sessions.let_go();
        self.repair.let_go();
        let (table, links) = (self.shared.table.generation(), self.shared.links.generation());
        if table == self.table_generation && links == self.links_generation {
            return;
        }
        self.carrier.refresh();
        self.latest_road = None;
        self.held.retain(|id, _| self.carrier.known.contains_key(id));
        self.table = self.shared.table.get();
        (self.table_generation, self.links_generation) = (table, links);
        self.retry_waiting();
    }

    fn read_inbox(&mut self) {
        let mut items = std::mem::take(&mut self.inbox);
        if let Some(inbox) = self.shared.inboxes.get(self.number) {
            inbox.take(&mut items);
        }
        // What was just posted may speak of links and routes that came with it.
        self.refresh();
        self.probes = self.shared.probes.get();
        for item in items.drain(..) {
            self.act(item);
        }
        self.inbox = items;
    }

    fn act(&mut self, item: ToLane) {
        match item {
            ToLane::Adopt(stream, remote) => self.adopt_inbound(stream, remote),
            ToLane::Dial(token, remote, timeout) => self.dial(token, remote, timeout),
            ToLane::Send(link, packets) => {
                let count = count_packets(&packets);
                self.carrier.pass_on(link, &packets, count);
            }
            ToLane::Control(link, packets, hello) => self.carrier.control(link, &packets, hello),
            ToLane::Bytes(link, packets, at) => self.bytes_in(link, packets, at),
            ToLane::Close(link, reason) => self.carrier.doom(link, reason),
            ToLane::ReadAgain(link) => self.read_again(link),
            ToLane::Inject(packet) => self.inject(packet),
            ToLane::Message(destination, body) => self.message(destination, &body),
            ToLane::Frame(prefix, frame) => self.frame_by_route(prefix, &frame),
            ToLane::Entry(key, kind, body) => self.entry_by_route(&key, kind, &body),
            ToLane::Retry(key) => self.retry_session(&key),
            ToLane::Stop(at) => {
                self.stop_at = Some(at);
                self.carrier.wake_at(at);
            }
        }
    }

    fn tick(&mut self) {
        self.carrier.timer = f64::INFINITY;
        self.connecting_tick();
        self.expire_waiting();
        self.repair_tick();
        for packets in self.carrier.tick() {
            self.reroute(packets);
        }
        if let Some(at) = self.stop_at {
            self.carrier.wake_at(at);
        }
    }

    /// Write what the turn queued; close links that failed, which may queue more for others.
    fn finish_turn(&mut self) {
        self.finish_frames();
        self.carrier.finish(&self.epoll);
        // What came in over a link goes up before the news that it is gone.
        self.shared.events.push(&mut self.carrier.events);
        let mut doomed = self.carrier.take_doomed();
        while !doomed.is_empty() {
            for (id, reason) in doomed {
                let stranded = self.carrier.close(&self.epoll, id, &reason);
                self.shared.wake_all();
                for packets in stranded {
                    self.reroute(packets);
                }
            }
            self.finish_frames();
            self.carrier.finish(&self.epoll);
            doomed = self.carrier.take_doomed();
        }
        let waiting = [&self.outgoing, &self.incoming, &self.unsealed];
        for deadline in waiting.into_iter().filter_map(Waiting::deadline) {
            self.carrier.wake_at(deadline);
        }
        self.shared.events.push(&mut self.carrier.events);
    }

    fn end(mut self) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for id in self.carrier.ids() {
            self.carrier.part(id, &mut scratch);
            self.carrier.close(&self.epoll, id, "this node stops");
        }
        self.shared.events.push(&mut self.carrier.events);
    }

    fn count(&self, what: Counter, by: u64) {
        self.carrier.count(what, by);
    }
}
