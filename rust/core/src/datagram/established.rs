//! Links that come up, what their frames lead to, and how they end.

use std::net::SocketAddr;

use super::channel::Refusal;
use super::config::{Action, Id};
use super::endpoint::{Endpoint, Slot};
use super::half::Stage;
use super::link::{After, Link, Surroundings};
use super::wire;

/// A closed link repeats that it is closed for so long, and so often at most.
const CLOSING: f64 = 5.0;
const CLOSING_REPLIES: u32 = 10;
const MAX_CLOSING: usize = 64;

/// A link that was closed here, until the peer must know.
pub(super) struct Closing {
    link: Box<Link>,
    reason: String,
    pub(super) until: f64,
    replies: u32,
}

impl Endpoint {
    /// Type 0x15.
    pub(super) fn control(&mut self, datagram: &mut [u8], from: SocketAddr, now: f64) {
        let Some((_, index, _, _)) = wire::control(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        let opened = match self.slots.get(&index).copied() {
            Some(Slot::Link(id)) => self.frame(id, datagram, from, now),
            Some(Slot::Dial(key)) => self.confirm_dial(key, index, datagram, from, now),
            Some(Slot::Half) => self.confirm_half(index, datagram, from, now),
            Some(Slot::Closing) => self.repeat_close(index, datagram, now),
            None => {
                self.counters.unknown += 1;
                return;
            }
        };
        match opened {
            Ok(()) => {}
            Err(Refusal::Malformed) => self.counters.malformed += 1,
            Err(Refusal::Forged) => self.counters.forged += 1,
            Err(Refusal::Replayed) => self.counters.replayed += 1,
        }
    }

    fn frame(&mut self, id: Id, datagram: &mut [u8], from: SocketAddr, now: f64) -> Result<(), Refusal> {
        let link = self.links.get_mut(&id).ok_or(Refusal::Forged)?;
        let (plaintext, newest) = link.open(datagram, Some(&mut self.actions), now)?;
        self.handle(id, (&plaintext, newest), from, now);
        Ok(())
    }

    fn handle(&mut self, id: Id, plaintext: (&[u8], bool), from: SocketAddr, now: f64) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let mut around = Surroundings {
            actions: &mut self.actions,
            counters: &mut self.counters,
            random: &mut self.random,
        };
        let after = link.handle(plaintext, from, &mut around, now);
        let revival = link.revival.take();
        if let Some(key) = revival {
            self.forget_dial(key);
        }
        match after {
            After::Stays => self.touch(id),
            After::Closed(reason) => self.drop_link(id, &format!("closed by the peer: {reason}")),
        }
    }

    /// The responder's first frame: the dial has led to a link.
    fn confirm_dial(
        &mut self,
        key: u64,
        index: u32,
        datagram: &mut [u8],
        from: SocketAddr,
        now: f64,
    ) -> Result<(), Refusal> {
        let open = self
            .dials
            .get_mut(&key)
            .and_then(|dial| dial.unconfirmed.as_mut());
        let open = open
            .filter(|open| open.link.shared.local_index == index)
            .ok_or(Refusal::Forged)?;
        let (plaintext, newest) = open.link.open(datagram, None, now)?;
        let Some(dial) = self.forget_dial(key) else {
            return Ok(());
        };
        if let Some(id) = dial.revives {
            if let Some(old) = self.links.get_mut(&id) {
                old.revival = None;
            }
            self.drop_link(id, "the peer didn't answer any more: linked anew");
        }
        if let Some(open) = dial.unconfirmed
            && let Some(id) = self.establish(open.link, dial.token, now)
        {
            self.handle(id, (&plaintext, newest), from, now);
        }
        Ok(())
    }

    /// The initiator's first frame: its handshake wasn't a replay.
    fn confirm_half(
        &mut self,
        index: u32,
        datagram: &mut [u8],
        from: SocketAddr,
        now: f64,
    ) -> Result<(), Refusal> {
        let Some(Stage::Confirm(link)) = self.halves.get_mut(index).map(|half| &mut half.stage) else {
            return Err(Refusal::Forged);
        };
        let (plaintext, newest) = link.open(datagram, None, now)?;
        if let Some(Stage::Confirm(link)) = self.forget_half(index).map(|half| half.stage)
            && let Some(id) = self.establish(link, None, now)
        {
            self.handle(id, (&plaintext, newest), from, now);
        }
        Ok(())
    }

    fn repeat_close(&mut self, index: u32, datagram: &mut [u8], now: f64) -> Result<(), Refusal> {
        let closing = self.closing.get_mut(&index).ok_or(Refusal::Forged)?;
        closing.link.open(datagram, None, now)?;
        closing.replies += 1;
        if closing.replies <= CLOSING_REPLIES && now < closing.until {
            closing.link.say_close(&closing.reason, &mut self.actions, now);
        }
        Ok(())
    }

    /// A handshake is complete, and both ends have shown that they are there: the link is up.
    pub(super) fn establish(&mut self, mut link: Box<Link>, token: Option<i64>, now: f64) -> Option<Id> {
        if !self.is_allowed(&link.peer) || !self.make_room(&link) {
            return None;
        }
        let id = Id(self.next_link);
        self.next_link += 1;
        (link.id, link.token, link.since, link.ping_due) = (id, token, now, true);
        self.counters.completed += 1;
        self.slots.insert(link.shared.local_index, Slot::Link(id));
        self.actions.push_back(Action::Up {
            link: id,
            token,
            peer: link.peer,
            remote: link.remote,
            keys: link.lane_keys(),
        });
        self.links.insert(id, link);
        self.touch(id);
        Some(id)
    }

    /// End links that a new one replaces. False if there is no room for one more.
    fn make_room(&mut self, new: &Link) -> bool {
        let of_peer = |link: &Link| link.peer == new.peer;
        let restarted: Vec<Id> = self
            .links
            .values()
            .filter(|link| of_peer(link) && link.instance != new.instance)
            .map(|link| link.id)
            .collect();
        for id in restarted {
            self.drop_link(id, "the peer restarted");
        }
        let siblings = self.links.values().filter(|link| of_peer(link));
        let siblings: Vec<Id> = siblings.map(|link| link.id).collect();
        for id in &siblings {
            // The peer may have lost this one: ask.
            if let Some(link) = self.links.get_mut(id) {
                link.ping_due = true;
            }
            self.touch(*id);
        }
        if siblings.len() >= self.config.limits.links_per_peer.max(1) {
            let silent = siblings
                .iter()
                .filter_map(|id| self.links.get(id))
                .min_by(|one, other| one.live.heard_at().total_cmp(&other.live.heard_at()))
                .map(|link| link.id);
            if let Some(id) = silent {
                self.drop_link(id, "too many links with this peer");
            }
        }
        let has_room = self.links.len() < self.config.limits.links;
        self.counters.flooded += u64::from(!has_room);
        has_room
    }

    /// End a link and tell the peer why, more than once if need be.
    pub(super) fn end(&mut self, link: Id, reason: &str, now: f64) {
        let Some(mut closed) = self.remove_link(link, reason) else {
            return;
        };
        closed.say_close(reason, &mut self.actions, now);
        if self.closing.len() < MAX_CLOSING {
            let index = closed.shared.local_index;
            self.slots.insert(index, Slot::Closing);
            let until = now + CLOSING;
            self.closing.insert(
                index,
                Closing {
                    link: closed,
                    reason: reason.into(),
                    until,
                    replies: 0,
                },
            );
            self.soon(until);
        }
    }

    /// Take a link away; the driver is told.
    fn remove_link(&mut self, id: Id, reason: &str) -> Option<Box<Link>> {
        let link = self.links.remove(&id)?;
        self.slots.remove(&link.shared.local_index);
        self.dirty.remove(&id);
        if let Some(key) = link.revival {
            self.forget_dial(key);
        }
        self.actions.push_back(Action::Down {
            link: id,
            reason: reason.into(),
        });
        Some(link)
    }

    fn drop_link(&mut self, id: Id, reason: &str) {
        drop(self.remove_link(id, reason));
    }
}
