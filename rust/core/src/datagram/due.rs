//! The endpoint's part of time: what is due on links and in handshakes, and when the next thing is.

use super::config::Id;
use super::dial::Dial;
use super::endpoint::Endpoint;

impl Endpoint {
    /// Do what is due at `now`. Earlier than [`Endpoint::deadline`] does no harm.
    pub fn wake(&mut self, now: f64) {
        self.now = now;
        while self.halves.deadline().is_some_and(|at| at <= now) {
            let Some(index) = self.halves.oldest() else { break };
            self.forget_half(index);
            self.counters.expired += 1;
        }
        let due: Vec<u64> = self
            .dials
            .iter()
            .filter(|(_, dial)| dial.due() <= now)
            .map(|(key, _)| *key)
            .collect();
        due.into_iter().for_each(|key| self.step_dial(key, now));
        let slots = &mut self.slots;
        self.closing.retain(|index, closing| {
            let stays = closing.until > now;
            if !stays {
                slots.remove(index);
            }
            stays
        });
        let due = self
            .links
            .values()
            .filter(|link| link.due <= now || link.is_stirred());
        self.dirty.extend(due.map(|link| link.id));
        self.flush();
        self.next = self.earliest();
    }

    fn earliest(&mut self) -> f64 {
        let links = self.links.values().map(|link| link.due);
        let dials = self.dials.values().map(Dial::due);
        let closing = self.closing.values().map(|closing| closing.until);
        let earliest = links.chain(dials).chain(closing).fold(f64::INFINITY, f64::min);
        earliest.min(self.halves.deadline().unwrap_or(f64::INFINITY))
    }

    /// When to call [`Endpoint::wake`] at the latest; `None` without links and handshakes. With links it is
    /// never far away. Also call it when [`LinkKeys::sent`](super::LinkKeys::sent) says so.
    #[must_use]
    pub fn deadline(&self) -> Option<f64> {
        if !self.dirty.is_empty() {
            return Some(self.now);
        }
        self.next.is_finite().then_some(self.next)
    }

    /// Let links that something happened to do what they have to.
    pub(super) fn flush(&mut self) {
        let now = self.now;
        while let Some(id) = self.dirty.pop_first() {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            let due = link.step(&mut self.actions, &mut self.counters, now);
            let next = link.due;
            if due.dead {
                self.close(id, "nothing heard for a minute", now);
                continue;
            }
            if due.revive {
                self.revive(id, now);
            }
            self.soon(next);
        }
    }

    /// Something happened to a link.
    pub(super) fn touch(&mut self, id: Id) {
        self.dirty.insert(id);
    }

    /// Something is due then.
    pub(super) fn soon(&mut self, at: f64) {
        self.next = self.next.min(at);
    }
}
