//! What the tests build on: a recorder in the place of the lanes, packets, a relay that can be cut.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use zosnet_core::frame;

use crate::handoff::{LinkId, LinkUp, RemoteConfig, RemoteSink, Upcalls};
use crate::quic;

/// What a transport reported.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Up(LinkUp),
    Down(LinkId, String),
    DialFailed(i64, i32),
    Packets(LinkId, Vec<u8>),
    Stalled(LinkId, bool),
}

/// Keeps what a transport reports.
#[derive(Default)]
pub struct Recorder {
    next: AtomicU32,
    pub crowded: AtomicBool,
    events: Mutex<Vec<Event>>,
    arrived: Condvar,
}

impl Recorder {
    fn add(&self, event: Event) {
        self.events.lock().unwrap().push(event);
        self.arrived.notify_all();
    }

    /// Wait until `pick` finds something in all that was reported so far.
    pub fn wait<T>(&self, mut pick: impl FnMut(&[Event]) -> Option<T>) -> T {
        self.try_wait(Duration::from_secs(15), &mut pick)
            .expect("the awaited event did not come")
    }

    pub fn try_wait<T>(&self, limit: Duration, mut pick: impl FnMut(&[Event]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut events = self.events.lock().unwrap();
        loop {
            if let Some(found) = pick(&events) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            events = self.arrived.wait_timeout(events, left).unwrap().0;
        }
    }

    pub fn up(&self) -> LinkUp {
        self.wait(|events| {
            events.iter().find_map(|event| match event {
                Event::Up(up) => Some(up.clone()),
                _ => None,
            })
        })
    }

    pub fn down(&self, link: LinkId) -> String {
        self.wait(|events| {
            events.iter().find_map(|event| match event {
                Event::Down(gone, reason) if *gone == link => Some(reason.clone()),
                _ => None,
            })
        })
    }

    pub fn stalled(&self, link: LinkId, stalled: bool) {
        self.wait(|events| events.contains(&Event::Stalled(link, stalled)).then_some(()));
    }

    /// Wait for so many packets on a link; returns all there are.
    pub fn packets(&self, link: LinkId, count: usize) -> Vec<Vec<u8>> {
        self.wait(|events| {
            let all = received(events, link);
            (all.len() >= count).then_some(all)
        })
    }

    pub fn now(&self, link: LinkId) -> Vec<Vec<u8>> {
        received(&self.events.lock().unwrap(), link)
    }
}

fn received(events: &[Event], link: LinkId) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for event in events {
        match event {
            Event::Packets(on, packets) if *on == link => {
                let mut at = 0;
                while at < packets.len() {
                    let found = frame::next(packets, at)
                        .unwrap()
                        .expect("a batch of whole packets");
                    all.push(packets[found.start..found.end].to_vec());
                    at = found.end;
                }
            }
            _ => {}
        }
    }
    all
}

impl Upcalls for Recorder {
    fn crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    fn new_link(&self) -> LinkId {
        self.next.fetch_add(1, Relaxed) + 1
    }
    fn link_up(&self, up: LinkUp) {
        self.add(Event::Up(up));
    }
    fn link_down(&self, link: LinkId, reason: &str) {
        self.add(Event::Down(link, reason.to_owned()));
    }
    fn dial_failed(&self, token: i64, errno: i32, _reason: &str) {
        self.add(Event::DialFailed(token, errno));
    }
    fn deliver(&self, link: LinkId, packets: Vec<u8>, _at: f64) {
        self.add(Event::Packets(link, packets));
    }
    fn stalled(&self, link: LinkId, stalled: bool) {
        self.add(Event::Stalled(link, stalled));
    }
}

/// A transport and what it reports.
pub struct Node {
    pub sink: Arc<dyn RemoteSink>,
    pub log: Arc<Recorder>,
}

impl Node {
    pub fn new(listen: &[SocketAddr]) -> Self {
        let log = Arc::new(Recorder::default());
        let config = RemoteConfig {
            listen: listen.to_vec(),
            firewall_mark: 0,
            router_id_text: format!("{:082}", 0),
            reset_seed: [7; 32],
        };
        Self {
            sink: quic::start(config, log.clone()).unwrap(),
            log,
        }
    }

    pub fn listening(&self) -> SocketAddr {
        self.sink.listening()[0]
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.sink.counters().iter().find(|(is, _)| *is == name).unwrap().1
    }
}

pub fn v4() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub fn v6() -> SocketAddr {
    (Ipv6Addr::LOCALHOST, 0).into()
}

/// A link between two nodes: (dialler, its link, acceptor, its link). The dialler has sent one Hello.
pub fn pair(listen: SocketAddr) -> (Node, LinkId, Node, LinkId) {
    let (a, b) = (Node::new(&[]), Node::new(&[listen]));
    let (ours, theirs) = connect(&a, &b, b.listening());
    (a, ours, b, theirs)
}

pub fn connect(a: &Node, b: &Node, remote: SocketAddr) -> (LinkId, LinkId) {
    a.sink.dial(1, remote, 5.0);
    let ours = a.log.up().link;
    a.sink.push_control(ours, hello());
    let theirs = b.log.up().link;
    assert_eq!(b.log.packets(theirs, 1), [hello()]);
    (ours, theirs)
}

/// A Hello.
pub fn hello() -> Vec<u8> {
    vec![1, 1, 0, 0, 42, 3, 0, 8, 4, 6, 0x80, 0, 0, 7, 0x07, 0xd0]
}

/// A data packet with `size` bytes of payload that begin with `number`.
pub fn data(number: u32, size: usize) -> Vec<u8> {
    let mut packet = vec![1, 0, 0, 0, 0];
    packet.extend_from_slice(&(size as u16).to_be_bytes());
    packet.push(64);
    packet.extend_from_slice(&[5; 32]);
    packet.extend_from_slice(&number.to_be_bytes());
    packet.resize(40 + size, 0xaa);
    packet
}

/// The number of a data packet.
pub fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[40..44].try_into().unwrap())
}

/// Passes UDP between one client and `server`, or, when cut, swallows it.
pub struct Relay {
    pub address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    cut: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Relay {
    pub fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(v4()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let (cut, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_cut, is_over) = (cut.clone(), end.clone());
        let server = Arc::new(Mutex::new(server));
        let current = server.clone();
        let thread = thread::spawn(move || {
            let (mut client, mut buffer) = (None, [0; 65_536]);
            while !is_over.load(Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let server = *current.lock().unwrap();
                let to = if from == server { client } else { Some(server) };
                if from != server {
                    client = Some(from);
                }
                if let Some(to) = to.filter(|_| !is_cut.load(Relaxed)) {
                    let _ = socket.send_to(&buffer[..length], to);
                }
            }
        });
        Self {
            address,
            server,
            cut,
            end,
            thread: Some(thread),
        }
    }

    /// From now on another server is behind the address.
    pub fn move_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
    }

    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end.store(true, Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}
