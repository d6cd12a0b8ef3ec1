//! The keeper: one thread for everything about links and sessions that isn't moving packets.
//!
//! It runs the pure machines (`zosnet_core::session`, `zosnet_core::datagram`), gives them time and randomness, and
//! carries out what they want. Handshakes, timers, probes and the control packets of datagram links pass through
//! here; lanes only hand over, and find keys and links in what is shared.
//!
//! | module | owns |
//! |---|---|
//! | [`queue`] | what waits for the keeper |
//! | `links` | what the machine of datagram links wants |
//! | `paths` | what frames get through relays |
//! | `port` | sending through the UDP port |
//! | `sessions` | what the machine of sessions wants |

mod links;
mod paths;
mod port;
pub mod queue;
mod sessions;

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use zosnet_core::datagram::Endpoint;
use zosnet_core::session;

use crate::shared::{Shared, lock};
use crate::sys::{self, Epoll, Ready};

pub use queue::{Queue, ToKeeper};

use links::Links;
use port::Port;
use sessions::Sessions;

/// What strangers sent that is looked at between two looks at this node's own matters.
const STRANGERS: usize = 16;

/// The keeper of one node. Made by the starting thread, run by its own.
pub struct Keeper {
    shared: Arc<Shared>,
    links: Links,
    sessions: Sessions,
    epoll: Epoll,
}

impl Keeper {
    /// A keeper that has not begun to run. Without a socket there are no datagram links, only sessions over others.
    pub fn new(
        shared: Arc<Shared>,
        socket: Option<UdpSocket>,
        links: Endpoint,
        sessions: session::Keeper,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new()?;
        let read = Ready {
            read: true,
            ..Ready::default()
        };
        epoll.add(shared.keeper.fd().as_fd(), read, 0)?;
        let socket = socket.map(Arc::new);
        Ok(Self {
            links: Links::new(Arc::clone(&shared), Port::new(socket.clone()), links),
            sessions: Sessions::new(Arc::clone(&shared), Port::new(socket), sessions),
            shared,
            epoll,
        })
    }

    /// Run until told to stop.
    pub fn run(mut self) {
        let (mut ready, mut items, mut more) = (Vec::new(), Vec::new(), false);
        loop {
            let due = [self.links.deadline(), self.sessions.deadline()];
            let due = due.into_iter().flatten().fold(f64::INFINITY, f64::min);
            let timeout = match more {
                true => Some(0.0),
                false => due.is_finite().then(|| (due - sys::now()).max(0.0)),
            };
            if let Err(error) = self.epoll.wait(timeout, &mut ready) {
                let text = format!("epoll: {error}");
                return self.shared.events.push_one(crate::events::Event::Failed(text));
            }
            let now = sys::now();
            more = self.shared.keeper.take(&mut items, STRANGERS);
            for item in items.drain(..) {
                if matches!(item, ToKeeper::Stop) {
                    self.links.close_all(now);
                    return self.links.act(now);
                }
                self.take(item, now);
            }
            if self.links.deadline().is_some_and(|at| at <= now) {
                self.links.wake(now);
            }
            if self.sessions.deadline().is_some_and(|at| at <= now) {
                self.sessions.wake(now);
            }
            self.links.act(now);
            self.sessions.act(now);
            let mut counters = lock(&self.shared.keeper_counters);
            counters.clear();
            counters.extend(self.links.counters());
            counters.extend(self.sessions.counters());
        }
    }

    fn take(&mut self, item: ToKeeper, now: f64) {
        match item {
            ToKeeper::Datagram(mut bytes, from, _) => self.links.receive(&mut bytes, from, now),
            ToKeeper::Watch => self.links.wake(now),
            ToKeeper::Dial(token, remote, key, timeout) => {
                // Only the settings have keys of nodes to dial.
                if let Some(key) = key {
                    self.sessions.named(&key);
                }
                self.links.dial(token, remote, key, timeout, now);
            }
            ToKeeper::Control(link, packets, hello) => self.links.control(link, &packets, hello, now),
            ToKeeper::Pause(link, paused) => self.links.pause(link, paused),
            ToKeeper::Close(link) => self.links.close(link, now),
            ToKeeper::Allow(keys) => self.links.allow(keys, now),
            ToKeeper::Stop => self.shared.closed.store(true, Ordering::SeqCst),
            other => self.sessions.take(other, now),
        }
    }
}
