//! What all links of the transport share: their register, the totals, the way up to the lanes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use super::link::Link;
use crate::handoff::{LinkId, Upcalls};

/// Totals of the transport since it started, links that are gone included.
#[derive(Debug, Default)]
pub struct Totals {
    /// Data packets dropped on the way out: the queue was full, or they were too old.
    pub queue: AtomicU64,
    /// Datagrams received faster than they could be taken on.
    pub received: AtomicU64,
    /// Data packets that were too large for a datagram, or followed one that was.
    pub on_stream: AtomicU64,
    /// Datagrams that held no single whole packet.
    pub undecodable: AtomicU64,
    /// Control packets in datagrams on paused links.
    pub unwanted: AtomicU64,
    /// Inbound connections refused: too many.
    pub refused: AtomicU64,
    /// Inbound connections whose address had to prove itself first.
    pub retried: AtomicU64,
}

impl Totals {
    /// By name.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("drop.quic_queue", self.queue.load(Relaxed)),
            ("drop.quic_received", self.received.load(Relaxed)),
            ("drop.quic_datagram", self.undecodable.load(Relaxed)),
            ("drop.quic_control_paused", self.unwanted.load(Relaxed)),
            ("quic.data_on_stream", self.on_stream.load(Relaxed)),
            ("quic.refused", self.refused.load(Relaxed)),
            ("quic.retried", self.retried.load(Relaxed)),
        ]
    }
}

/// The shared state of the transport.
pub struct Hub {
    /// The lanes.
    pub upcalls: Arc<dyn Upcalls>,
    /// Totals of all links.
    pub totals: Totals,
    links: RwLock<HashMap<LinkId, Arc<Link>>>,
}

impl Hub {
    /// A hub without links.
    pub fn new(upcalls: Arc<dyn Upcalls>) -> Self {
        Self {
            upcalls,
            totals: Totals::default(),
            links: RwLock::default(),
        }
    }

    /// The link of this number.
    pub fn link(&self, id: LinkId) -> Option<Arc<Link>> {
        self.links
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// All links.
    pub fn links(&self) -> Vec<Arc<Link>> {
        self.links
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Enter a link and report it. It stays until the returned guard goes, even if its task panics.
    pub fn register(self: &Arc<Self>, link: Arc<Link>) -> Registered {
        let up = link.up.clone();
        self.links
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(up.link, link);
        let registered = Registered {
            hub: self.clone(),
            link: up.link,
            reported: false,
        };
        self.upcalls.link_up(up);
        registered
    }

    /// Close what an earlier process at the same address left behind: a restarted peer comes from its old port.
    pub fn replace(&self, remote: SocketAddr) {
        for link in self.links() {
            if link.up.token.is_none() && link.up.remote == remote {
                link.close("replaced by a new connection of the peer");
            }
        }
    }
}

/// A link's place in the register.
pub struct Registered {
    hub: Arc<Hub>,
    link: LinkId,
    reported: bool,
}

impl Registered {
    /// Take the link out and say why it is gone.
    pub fn down(mut self, reason: &str) {
        self.remove(reason);
    }

    fn remove(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.reported, true) {
            self.hub
                .links
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&self.link);
            self.hub.upcalls.link_down(self.link, reason);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.remove("the link's task was aborted");
    }
}
