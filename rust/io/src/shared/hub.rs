//! What a transport beside the lanes reports to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::events::Event;
use crate::handoff::{LinkId, LinkUp, Upcalls};
use crate::link::{Home, LinkState};
use crate::packets::only_control;
use crate::sys;

use super::{Shared, ToLane};

/// What a transport beside the lanes reports to.
pub struct Hub(pub Arc<Shared>);

impl Hub {
    fn with(&self, link: LinkId, act: impl FnOnce(&Arc<LinkState>, usize)) {
        let links = self.0.links.get();
        if let Some((state, Home::Remote(lane))) = links.get(&link).map(|state| (state, state.home)) {
            act(state, lane);
        }
    }
}

impl Upcalls for Hub {
    fn new_link(&self) -> LinkId {
        self.0.fresh_link()
    }

    fn link_up(&self, up: LinkUp) {
        let home = Home::Remote(self.0.least_loaded());
        self.0.add_link(Arc::new(LinkState::new(
            up,
            home,
            sys::now(),
            std::sync::Weak::new(),
        )));
    }

    fn link_down(&self, link: LinkId, reason: &str) {
        if let Some(Home::Remote(lane)) = self.0.remove_link(link, reason).map(|state| state.home) {
            self.0.unload(lane);
            self.0.wake_all();
        }
    }

    fn crowded(&self) -> bool {
        self.0.events.crowded()
    }

    fn dial_failed(&self, token: i64, errno: i32, reason: &str) {
        self.0
            .events
            .push_one(Event::DialFailed(token, errno, reason.to_owned()));
    }

    fn deliver(&self, link: LinkId, packets: Vec<u8>, at: f64) {
        self.with(link, |_, lane| {
            let Some(inbox) = self.0.inboxes.get(lane) else {
                return;
            };
            // A lane that is too far behind loses data, but never control, which must be reliable.
            let packets = if inbox.has_room(packets.len()) {
                packets
            } else {
                only_control(&packets)
            };
            let _ = inbox.post(ToLane::Bytes(link, packets, at));
        });
    }

    fn stalled(&self, link: LinkId, stalled: bool) {
        self.with(link, |state, _| {
            state.stalled.store(stalled, Ordering::Relaxed);
            self.0.events.push_one(Event::Stalled(link, stalled, sys::now()));
            self.0.wake_all();
        });
    }
}
