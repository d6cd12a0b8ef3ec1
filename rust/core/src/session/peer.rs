//! What the keeper knows of one node.

use std::collections::VecDeque;
use std::sync::Arc;

use super::handshake::Initiating;
use super::transport::Transport;
use crate::cookies::Cookie;
use crate::datagram::crypt::KEY;

/// Keys are gone after so long, whatever happened.
const LIFETIME: f64 = 180.0;
/// Old keys open so many seconds longer, for what is on its way.
const LINGER: f64 = 15.0;
/// Old keys of one node: more are made only by one that shakes hands all the time.
const PREVIOUS: usize = 4;
/// Keys granted wait so long for their first frame.
pub(super) const CONFIRM_WITHIN: f64 = 20.0;
/// Sessions granted to one node and not confirmed.
const GRANTED: usize = 4;
/// With so many of them the next one must show that it isn't a replay.
const DOUBTFUL: usize = 2;
/// Wishes remembered, so that one that comes again gets the same answer or none.
const WISHES: usize = 32;
/// What the peer began within so many seconds crossed ours, while ours isn't confirmed.
const CROSSING: f64 = 5.0;

/// A session in use.
pub(super) struct Session {
    pub(super) transport: Arc<Transport>,
    /// When its keys were made.
    pub(super) made: f64,
    /// When this end began to use them.
    pub(super) since: f64,
    /// When the first frame of the peer came under them.
    pub(super) confirmed: Option<f64>,
    /// When the peer was last shown that this end has them.
    pub(super) shown: f64,
    /// This end began it.
    pub(super) ours: bool,
}

impl Session {
    /// The other end is known to have the keys.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed.is_some() || self.transport.frames().1 > 0
    }

    /// When its keys are gone. The other end doesn't keep longer what isn't confirmed.
    pub(super) fn ends(&self) -> f64 {
        self.made
            + if self.is_confirmed() {
                LIFETIME
            } else {
                CONFIRM_WITHIN
            }
    }

    fn is_over(&self, now: f64) -> bool {
        self.ends() <= now || self.transport.is_dead()
    }

    /// Replaced at `now`: when its keys are gone.
    fn lingers(&self, now: f64) -> f64 {
        (now + LINGER).min(self.made + LIFETIME)
    }
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
    /// When its initiation was made, which may be another one by now.
    pub(super) made: f64,
    pub(super) retry_at: f64,
    pub(super) pause: f64,
    pub(super) told: bool,
    /// Cookies taken for this initiation, and responses to it that failed.
    pub(super) cookies: u8,
    pub(super) forged: u8,
}

/// See the module.
pub(super) struct Peer {
    pub(super) current: Option<Session>,
    previous: Vec<(Arc<Transport>, f64)>,
    granted: VecDeque<Granted>,
    wishes: VecDeque<[u8; 16]>,
    pub(super) attempt: Option<Box<Attempt>>,
    pub(super) cookie: Option<(Cookie, f64)>,
    pub(super) pinned: bool,
    /// It was pinned, and the operator ended that.
    pub(super) unpinned: bool,
    /// No attempt before this.
    pub(super) not_before: f64,
    /// When a nudge was followed, and when the next one is.
    pub(super) nudged: f64,
    pub(super) nudge_at: f64,
    /// A downgrade was told at this time.
    pub(super) downgraded: f64,
    /// When the keeper looks at it, in bits.
    pub(super) due: Option<u64>,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            previous: Vec::new(),
            granted: VecDeque::new(),
            wishes: VecDeque::new(),
            attempt: None,
            cookie: None,
            pinned: false,
            unpinned: false,
            not_before: f64::NEG_INFINITY,
            nudged: f64::NEG_INFINITY,
            nudge_at: f64::INFINITY,
            downgraded: f64::NEG_INFINITY,
            due: None,
        }
    }

    /// Whether nothing is lost by forgetting it.
    pub(super) fn is_idle(&self, now: f64) -> bool {
        self.current.is_none()
            && self.attempt.is_none()
            && self.granted.is_empty()
            && self.previous.is_empty()
            && !self.pinned
            && !self.unpinned
            && self.not_before <= now
    }

    /// Whether `wish` was granted before.
    pub(super) fn saw(&self, wish: &[u8; 16]) -> bool {
        self.wishes.contains(wish)
    }

    /// What was answered, while it may still be of use.
    pub(super) fn answer_to(&self, wish: &[u8; 16]) -> Option<Vec<u8>> {
        let granted = self.granted.iter().find(|granted| granted.wish == *wish)?;
        Some(granted.response.clone())
    }

    /// Whether so much was granted in vain that wishes may be replays.
    pub(super) fn is_doubtful(&self) -> bool {
        self.granted.len() >= DOUBTFUL
    }

    /// Keep a granted session. Gives back the one that had to make room.
    pub(super) fn grant(&mut self, granted: Granted) -> Option<Arc<Transport>> {
        if self.wishes.len() >= WISHES {
            self.wishes.pop_front();
        }
        self.wishes.push_back(granted.wish);
        let full = self.granted.len() >= GRANTED;
        let evicted = if full { self.granted.pop_front() } else { None };
        self.granted.push_back(granted);
        evicted.map(|granted| granted.transport)
    }

    /// Take out the granted session whose first frame came.
    pub(super) fn confirm(&mut self, index: u32) -> Option<Granted> {
        let is_it = |granted: &Granted| granted.transport.local_index() == index;
        let at = self.granted.iter().position(is_it)?;
        self.granted.remove(at)
    }

    /// A session is complete: begin to use it, or keep it only for receiving. Whether it is used now, and keys that
    /// had to make room.
    pub(super) fn install(&mut self, fresh: Session, own: &[u8; KEY]) -> (bool, Option<Arc<Transport>>) {
        let now = fresh.since;
        let Some(current) = self.current.take() else {
            self.current = Some(fresh);
            return (true, None);
        };
        let keeps = keeps(&current, &fresh, own);
        let (used, spare) = if keeps { (current, fresh) } else { (fresh, current) };
        self.previous
            .push((Arc::clone(&spare.transport), spare.lingers(now)));
        self.current = Some(used);
        let evicted = (self.previous.len() > PREVIOUS).then(|| self.previous.remove(0).0);
        (!keeps, evicted)
    }

    /// Keys that are to be forgotten now.
    pub(super) fn expired(&mut self, now: f64) -> Vec<Arc<Transport>> {
        let previous = self.previous.extract_if(.., |(_, until)| *until <= now);
        let mut gone: Vec<_> = previous.map(|(transport, _)| transport).collect();
        self.granted.retain(|granted| {
            let over = granted.since + CONFIRM_WITHIN <= now;
            if over {
                gone.push(Arc::clone(&granted.transport));
            }
            !over
        });
        let over = self.current.take_if(|session| session.is_over(now));
        gone.extend(over.map(|session| session.transport));
        gone
    }

    /// When the next of the keys that aren't in use are to be forgotten.
    pub(super) fn first_end(&self) -> Option<f64> {
        let previous = self.previous.iter().map(|(_, until)| *until);
        let granted = self.granted.iter().map(|granted| granted.since + CONFIRM_WITHIN);
        previous.chain(granted).min_by(f64::total_cmp)
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

/// Whether `current` stays in use.
///
/// What the peer began after it was heard under keys of ours replaces them. What it began before that crossed ours:
/// of the two both ends use the one that the smaller key began. And a first frame that was held back doesn't bring
/// back what has been replaced.
fn keeps(current: &Session, fresh: &Session, own: &[u8; KEY]) -> bool {
    match (current.ours, fresh.ours) {
        (_, true) => false,
        (false, false) => fresh.made < current.made,
        (true, false) => {
            let until = current.confirmed.unwrap_or(current.made + CROSSING);
            fresh.made <= until && own < fresh.transport.peer()
        }
    }
}
