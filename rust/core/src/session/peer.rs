//! What the keeper knows of one node.

use std::collections::VecDeque;
use std::sync::Arc;

use super::handshake::Initiating;
use super::mac::Cookie;
use super::transport::Transport;
use crate::datagram::crypt::KEY;

/// Old keys open so many seconds longer, for what is on its way.
pub(super) const LINGER: f64 = 15.0;
/// Keys granted wait so long for their first frame.
const CONFIRM_WITHIN: f64 = 20.0;
/// Sessions granted to one node and not confirmed: a replayed wish can't push out the true one at once.
const GRANTED: usize = 4;
/// Wishes remembered, so that one that comes again gets the same answer or none.
const WISHES: usize = 32;
/// Two sessions made within so many seconds of one another, one from each end, were begun at the same time.
const SIMULTANEOUS: f64 = 5.0;

/// A session in use.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) transport: Arc<Transport>,
    pub(super) since: f64,
    /// This end began it.
    pub(super) ours: bool,
}

/// A session granted, and the response that said so.
pub(super) struct Granted {
    pub(super) transport: Arc<Transport>,
    pub(super) since: f64,
    pub(super) wish: [u8; 16],
    pub(super) response: Vec<u8>,
}

/// A handshake that this end began.
pub(super) struct Attempt {
    pub(super) handshake: Initiating,
    pub(super) began: f64,
    pub(super) retry_at: f64,
    pub(super) pause: f64,
    pub(super) told: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Peer {
    pub(super) current: Option<Session>,
    pub(super) previous: Vec<(Arc<Transport>, f64)>,
    pub(super) granted: VecDeque<Granted>,
    pub(super) wishes: VecDeque<[u8; 16]>,
    pub(super) attempt: Option<Attempt>,
    pub(super) cookie: Option<(Cookie, f64)>,
    pub(super) pinned: bool,
    /// No attempt before this.
    pub(super) not_before: f64,
    /// A hint was followed, a downgrade was told, at this time.
    pub(super) hinted: f64,
    pub(super) downgraded: f64,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            hinted: f64::NEG_INFINITY,
            downgraded: f64::NEG_INFINITY,
            not_before: f64::NEG_INFINITY,
            ..Self::default()
        }
    }

    /// Whether nothing is lost by forgetting it.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none()
            && self.attempt.is_none()
            && self.granted.is_empty()
            && self.previous.is_empty()
            && !self.pinned
    }

    /// Whether `wish` was seen before; it is from now on.
    pub(super) fn saw(&mut self, wish: [u8; 16]) -> bool {
        if self.wishes.contains(&wish) {
            return true;
        }
        if self.wishes.len() >= WISHES {
            self.wishes.pop_front();
        }
        self.wishes.push_back(wish);
        false
    }

    /// Keep a granted session. Gives back the one that had to make room.
    pub(super) fn grant(&mut self, granted: Granted) -> Option<Arc<Transport>> {
        let evicted = match self.granted.len() >= GRANTED {
            true => self.granted.pop_front(),
            false => None,
        };
        self.granted.push_back(granted);
        evicted.map(|granted| granted.transport)
    }

    /// A session is complete: begin to use it, or keep it only for receiving. Whether it is used now.
    ///
    /// Of two that were begun at the same time both ends use the one that the smaller key began.
    pub(super) fn install(&mut self, fresh: Session, own: &[u8; KEY]) -> bool {
        let now = fresh.since;
        let Some(current) = self.current.take() else {
            self.current = Some(fresh);
            return true;
        };
        let crossed = current.ours != fresh.ours && now - current.since < SIMULTANEOUS;
        let mine_wins = own < fresh.transport.peer();
        if crossed && current.ours == mine_wins {
            self.previous.push((fresh.transport, now + LINGER));
            self.current = Some(current);
            return false;
        }
        self.previous.push((current.transport, now + LINGER));
        self.current = Some(fresh);
        true
    }

    /// Keys that are to be forgotten now.
    pub(super) fn expired(&mut self, now: f64) -> Vec<Arc<Transport>> {
        let mut gone = Vec::new();
        self.previous.retain(|(transport, until)| {
            let over = *until <= now;
            if over {
                gone.push(Arc::clone(transport));
            }
            !over
        });
        self.granted.retain(|granted| {
            let over = now - granted.since >= CONFIRM_WITHIN;
            if over {
                gone.push(Arc::clone(&granted.transport));
            }
            !over
        });
        gone
    }

    /// All keys of the peer, which is about to be forgotten.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Transport>> {
        self.current
            .iter()
            .map(|session| &session.transport)
            .chain(self.previous.iter().map(|(transport, _)| transport))
            .chain(self.granted.iter().map(|granted| &granted.transport))
    }
}
