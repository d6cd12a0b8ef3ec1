//! What waits for the keeper: a queue that strangers can fill only to their part.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;

use zosnet_core::session::EntryKind;

use crate::handoff::LinkId;
use crate::shared::lock;
use crate::sys;

/// What strangers sent that may wait: more than is looked at in some ten milliseconds would come too late (a guess).
const STRANGERS: usize = 256;
/// What links and sessions sent that may wait.
const PEERS: usize = 8192;

/// Something for the keeper to do.
#[derive(Debug)]
pub enum ToKeeper {
    /// A packet wants a session with the node of this key.
    Want([u8; 32]),
    /// That node has started anew: its sessions are no more.
    Renew([u8; 32]),
    /// The first frame was opened under this index.
    Heard(u32),
    /// Packets for the node of this key go another way now.
    Rerouted([u8; 32]),
    /// The keys for the node are used up, or gone.
    UsedUp([u8; 32]),
    /// A frame came under an index that isn't in use, from this remote end.
    Strange(u32, SocketAddr),
    /// A session handshake, as a datagram.
    Frame(Vec<u8>, SocketAddr),
    /// A session handshake inside a data packet from this address of the overlay.
    Wrapped(Vec<u8>, [u8; 16]),
    /// An entry of a frame opened under this index that isn't for the host, and the link that brought it.
    Entry(u32, EntryKind, Vec<u8>, Option<LinkId>),
    /// A handshake or control frame of a link; the flag says that a link is known there.
    Datagram(Vec<u8>, SocketAddr, bool),
    /// Data went out over a link that was quiet.
    Watch,
    /// A Mycelium-suite packet from the node of this key was authentic; the flag: it says that it speaks sessions.
    Plain([u8; 32], bool),
    /// Link to a remote end: token, end, key if it must be this one, seconds.
    Dial(i64, SocketAddr, Option<[u8; 32]>, f64),
    /// Send whole control packets; the flag says that the last is a Hello.
    Control(LinkId, Vec<u8>, bool),
    /// Python is behind with this link, or has caught up.
    Pause(LinkId, bool),
    /// End a link.
    Close(LinkId),
    /// Who may link; none: anyone.
    Allow(Option<Vec<[u8; 32]>>),
    /// Forget that the node of this key was ever pinned.
    Unpin([u8; 32]),
    /// Flush, close all, end.
    Stop,
}

impl ToKeeper {
    /// How many of its like may wait; none: it is this node's own, and never refused.
    fn bound(&self) -> Option<usize> {
        match self {
            Self::Frame(..) | Self::Wrapped(..) | Self::Strange(..) | Self::Datagram(_, _, false) => {
                Some(STRANGERS)
            }
            Self::Rerouted(_)
            | Self::Datagram(_, _, true)
            | Self::Entry(..)
            | Self::Want(_)
            | Self::Plain(..)
            | Self::Watch => Some(PEERS),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    own: VecDeque<ToKeeper>,
    strangers: VecDeque<ToKeeper>,
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    wake: File,
}

impl Queue {
    /// Nothing waits.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            waiting: Mutex::default(),
            wake: sys::eventfd()?,
        })
    }

    /// Leave something. False: too much of its kind waits, and it was dropped.
    #[must_use]
    pub fn post(&self, item: ToKeeper) -> bool {
        let bound = item.bound();
        let mut waiting = lock(&self.waiting);
        let idle = waiting.own.is_empty() && waiting.strangers.is_empty();
        let queue = match bound {
            Some(STRANGERS) => &mut waiting.strangers,
            _ => &mut waiting.own,
        };
        if bound.is_some_and(|bound| queue.len() >= bound) {
            return false;
        }
        queue.push_back(item);
        drop(waiting);
        if idle {
            drop((&self.wake).write(&1u64.to_ne_bytes()));
        }
        true
    }

    /// Take everything that is this node's own, and `strangers` of the rest. Whether more waits.
    pub fn take(&self, into: &mut Vec<ToKeeper>, strangers: usize) -> bool {
        drop((&self.wake).read(&mut [0; 8]));
        let mut waiting = lock(&self.waiting);
        into.extend(waiting.own.drain(..));
        let most = strangers.min(waiting.strangers.len());
        into.extend(waiting.strangers.drain(..most));
        !waiting.strangers.is_empty()
    }

    /// Readable when something was left while nothing waited.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_fill_only_their_part_and_wait_their_turn() -> io::Result<()> {
        let queue = Queue::new()?;
        let end = SocketAddr::from(([127, 0, 0, 1], 1));
        let taken = (0..1000)
            .filter(|_| queue.post(ToKeeper::Frame(vec![1], end)))
            .count();
        assert_eq!(taken, STRANGERS);
        assert!(queue.post(ToKeeper::Datagram(vec![1], end, true)));
        assert!(queue.post(ToKeeper::Close(1)));
        let mut items = Vec::new();
        assert!(queue.take(&mut items, 16));
        assert_eq!(items.len(), 18);
        assert!(matches!(items[1], ToKeeper::Close(1)), "own matters come first");
        while queue.take(&mut items, 16) {}
        assert_eq!(items.len(), STRANGERS + 2);
        Ok(())
    }
}
